//! What always has to hold of a guest's answers, whatever was done to it.

use crate::guest::Guest;
use crate::schema::{Buddyinfo, Check, Node, Resource, Section};

impl Guest {
    /// That `check` finds nothing, and that resources, sections, buddies, nodes and sums agree.
    #[track_caller]
    pub fn assert_sound(&mut self) {
        let check: Check = self.json("check -J");
        assert!(check.ok && check.errors.is_empty(), "{check:?}");
        assert!(check.checked > 0, "check looked at nothing");
        let (resources, meminfo) = (self.resources(), self.meminfo());
        let sections: Vec<Section> = self.json("sections -J");
        let buddies: Vec<Buddyinfo> = self.json("buddyinfo -J");
        let sum = |field: fn(&Resource) -> u64| resources.iter().map(field).sum::<u64>();
        assert_eq!(sum(|r| r.usable_pages), meminfo.usable_pages, "usable frames of resources and their sum");
        assert_eq!(sum(|r| r.free_pages), meminfo.free_pages, "free frames of resources and their sum");
        let nodes = |field: fn(&Node) -> u64| meminfo.nodes.iter().map(field).sum::<u64>();
        assert_eq!(nodes(|n| n.usable_pages), meminfo.usable_pages, "usable frames of nodes and their sum");
        assert_eq!(nodes(|n| n.free_pages), meminfo.free_pages, "free frames of nodes and their sum");
        for resource in &resources {
            let mine: Vec<_> = sections.iter().filter(|section| section.resource == resource.id).collect();
            let part = |field: fn(&Section) -> u64| mine.iter().map(|&section| field(section)).sum::<u64>();
            assert_eq!(
                part(|s| s.usable_pages),
                resource.usable_pages,
                "usable frames of {resource:?} by section"
            );
            assert_eq!(part(|s| s.free_pages), resource.free_pages, "free frames of {resource:?} by section");
            assert_eq!(part(|s| s.memmap_pages), resource.memmap_pages, "memmap of {resource:?} by section");
            let buddy = buddies.iter().find(|buddy| buddy.resource == resource.id);
            let buddy = buddy.unwrap_or_else(|| panic!("no buddyinfo of {resource:?}"));
            let blocks = buddy.free.iter().enumerate();
            let free: u64 = blocks.map(|(order, count)| count << order).sum();
            assert_eq!(free, resource.free_pages, "free blocks of {resource:?}: {:?}", buddy.free);
            let largest = buddy.free.iter().rposition(|&count| count > 0).map_or(0, |order| 1 << order);
            assert_eq!(largest, resource.largest_free_pages, "largest free block of {resource:?}");
        }
    }
}
