//! Verifies every invariant of the memory core; the shell's `check` and the tests run it.
//!
//! It walks blocks, not frames. For each resource: the blocks tile the usable run; groups, lists and counters agree
//! with the walk; no open group is entirely free; frames and descriptors are mapped to the right addresses, descriptors
//! with 2 MiB leaves exactly where the layout plans them. Across resources: the index is sorted and matches the slots'
//! ranges, and each node's totals are the sums over its regions.
//!
//! A resource is verified step by step under its lock; errors are reported after the lock is released. Neighbours:
//! `buddy` and `layout` state the invariants.

mod error;

use arrayvec::ArrayVec;

use crate::addr::{Order, PAGE_SHIFT, PfnRange};
use crate::buddy::{Buddy, Found};
use crate::descriptor::BlockState;
use crate::hot_add::{direct_mapping, vmemmap_mapping};
use crate::info::{Holder, ResourceId};
use crate::layout::Layout;
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::{Caching, Leaf, Mapping, Rights};
use crate::pieces::Plug;
use crate::region::{IndexEntry, Region};
use crate::zonelist::NodeNr;

pub use error::CheckError;

/// Errors reported per resource; later ones are probably consequences.
const MOST_ERRORS: usize = 16;
/// Attempts to see a node's counter and its regions at one moment.
const SUMS: u32 = 64;

/// The result for one resource.
struct Findings {
    errors: ArrayVec<CheckError, MOST_ERRORS>,
    checked: u64,
}

impl Findings {
    /// Counts a check, and records `error` unless it holds.
    fn expect(&mut self, hold: bool, error: CheckError) {
        self.checked += 1;
        if !hold {
            // A full list is fine: see MOST_ERRORS.
            let _ = self.errors.try_push(error);
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Verifies every invariant, reports each violation, and returns the number of checks.
    pub fn check(&self, report: &mut dyn FnMut(CheckError)) -> u64 {
        let mut checked = self.check_sums(report);
        self.for_each_entry(|entry| {
            checked += self.check_entry(entry, report);
            let (looked, _) = self
                .check_poison(entry.id, entry.range.start, u64::MAX, &mut |f| report(CheckError::Poison(f)));
            checked += looked;
        });
        checked
    }

    /// The part of [`Memory::check`] that concerns one resource, for checking in steps. Returns 0 when there is no such
    /// resource.
    pub fn check_resource(&self, id: ResourceId, report: &mut dyn FnMut(CheckError)) -> u64 {
        self.entry(id).map_or(0, |entry| self.check_entry(entry, report))
    }

    /// The part of [`Memory::check`] that concerns all resources together: index and nodes.
    pub fn check_sums(&self, report: &mut dyn FnMut(CheckError)) -> u64 {
        let mut checked = 0;
        let mut before = PfnRange::default();
        self.for_each_entry(|entry| {
            checked += 1;
            if before.end > entry.range.start || entry.range.is_empty() {
                report(CheckError::Index { range: entry.range });
            }
            before = entry.range;
        });
        for nr in self.nodes.named() {
            let node = self.nodes.id(nr);
            checked += 1;
            if let Some((counted, found)) = self.wrong_sum(nr) {
                report(CheckError::Node { node, counted, found });
            }
        }
        checked
    }

    /// A node's counter and the sum over its regions, when they differ for good. While other CPUs allocate and free,
    /// the two are of different moments: a difference counts when it is the same twice, and the counter did not move.
    fn wrong_sum(&self, nr: NodeNr) -> Option<(u64, u64)> {
        let sum = || {
            let mut found = 0;
            self.for_each_entry(|entry| {
                let of_node = self.nodes.of(entry.slot) == Some(self.nodes.id(nr));
                let free = self.with_region(entry, |_, buddy| buddy.summary.free());
                found += free.filter(|_| of_node).unwrap_or(0);
            });
            (self.nodes.free(nr), found)
        };
        let mut last = sum();
        for _ in 0..SUMS {
            if last.0 == last.1 {
                return None;
            }
            let now = sum();
            if now == last {
                return Some(now);
            }
            last = now;
        }
        None
    }

    fn check_entry(&self, entry: IndexEntry, report: &mut dyn FnMut(CheckError)) -> u64 {
        let mut findings = Findings { errors: ArrayVec::new(), checked: 0 };
        let region = self.with_region(entry, |region, buddy| {
            check_blocks(region, buddy, &mut findings);
            check_lists(region, buddy, &mut findings);
            let isolated = buddy.pages_in(BlockState::Isolated) > 0;
            let fits = (!isolated || !buddy.isolated.is_empty())
                && self.nodes.lists(entry.slot) != region.is_fully_isolated();
            findings.expect(fits, CheckError::Leaving { resource: region.id });
            *region
        });
        let matching = region.filter(|region| region.id == entry.id && region.layout.range == entry.range);
        findings.expect(matching.is_some(), CheckError::Index { range: entry.range });
        if let Some(Region { id, layout, .. }) = matching {
            let may_be_written = |leaf: &Leaf| match leaf.rights {
                Some(Rights::Data) => true,
                Some(Rights::ReadOnly) => self.is_of_boot(leaf),
                Some(Rights::Code) | None => false,
            };
            self.check_mappings(entry, &layout, &direct_mapping, &mut findings, may_be_written);
            // 2 MiB leaves exactly where no adjacent resource shares the mapped 2 MiB.
            let leaf_fits = |leaf: &Leaf| {
                leaf.rights == Some(Rights::Data) && leaf.size == layout.vmemmap_leaf(leaf.virt)
            };
            self.check_mappings(entry, &layout, &vmemmap_mapping, &mut findings, leaf_fits);
            self.check_shared(id, &layout, &mut findings);
        }
        findings.errors.into_iter().for_each(report);
        findings.checked
    }

    /// Whether everything that a direct-map leaf maps is pinned since boot. The loader may have made such a leaf
    /// read-only, e.g. for the kernel's text.
    fn is_of_boot(&self, leaf: &Leaf) -> bool {
        let frames = PfnRange::of(leaf.phys.pfn(), leaf.size.pages());
        let block = self.block(frames.start);
        block.is_some_and(|block| {
            matches!(block.holder, Holder::Boot(_)) && block.range.contains_range(frames)
        })
    }

    /// Checks that each end table of a hot-added resource (unless populated at boot) lies in a page that one of its
    /// users reserves for it.
    fn check_shared(&self, resource: ResourceId, layout: &Layout, findings: &mut Findings) {
        for table in layout.border_tables().filter(|_| !layout.is_boot()) {
            let (at, level) = (table.address(), table.level());
            let lies_in =
                self.with_tables(|tables, machine| tables.removable_table(machine, at, level)).flatten();
            let Some(pfn) = lies_in else { continue };
            let owner = self.entry_of(pfn);
            let owner = owner.and_then(|owner| self.region(owner)).map(|region| region.layout);
            let kept = owner.filter(|owner| owner.range.overlaps(table.range()));
            let right = kept.and_then(|owner| owner.page_for(table)) == Some(pfn);
            findings.expect(right, CheckError::SharedTable { resource, at, pfn });
        }
    }

    /// Checks one mapping of a resource: that of the plugged frames, and that no other is mapped.
    fn check_mappings(
        &self,
        entry: IndexEntry,
        layout: &Layout,
        whole: &dyn Fn(&Layout) -> Mapping,
        findings: &mut Findings,
        leaf_fits: impl Fn(&Leaf) -> bool,
    ) {
        let whole = whole(layout);
        let frames = PfnRange::of(whole.phys.pfn(), whole.pages);
        let part = |run: PfnRange| {
            let virt = whole.virt.offset((run.start.0 - frames.start.0) << PAGE_SHIFT);
            Mapping { virt, phys: run.start.start(), pages: run.pages(), ..whole }
        };
        let pieces = &self.slots[entry.slot.0 as usize].summary.pieces;
        for run in pieces.runs(frames, Plug::In) {
            self.check_mapping(entry.id, &part(run), findings, &leaf_fits);
        }
        for run in pieces.runs(frames, Plug::Out) {
            let Mapping { virt, pages, .. } = part(run);
            self.with_tables(|tables, machine| {
                tables.for_each_leaf(machine, virt, pages, &mut |leaf| {
                    findings.expect(false, CheckError::Mapping { resource: entry.id, at: leaf.virt });
                });
            });
        }
    }

    /// Checks that the leaves of `mapping`'s range are complete and map the right frames.
    fn check_mapping(
        &self,
        resource: ResourceId,
        mapping: &Mapping,
        findings: &mut Findings,
        leaf_fits: impl Fn(&Leaf) -> bool,
    ) {
        let end = mapping.virt.offset(mapping.pages << PAGE_SHIFT);
        let mut at = mapping.virt;
        self.with_tables(|tables, machine| {
            tables.for_each_leaf(machine, mapping.virt, mapping.pages, &mut |leaf| {
                let phys = mapping.phys.0.wrapping_add(leaf.virt.0.wrapping_sub(mapping.virt.0));
                let right = leaf.virt <= at
                    && leaf.phys.0 == phys
                    && leaf.caching == Caching::Memory
                    && leaf_fits(&leaf);
                findings.expect(right, CheckError::Mapping { resource, at: leaf.virt });
                at = leaf.virt.offset(leaf.size.bytes());
            });
        });
        findings.expect(at >= end, CheckError::Mapping { resource, at });
    }
}

/// Checks that the blocks tile the usable run and that the counters are their sums.
fn check_blocks<M: Machine>(region: &Region, buddy: &Buddy<'_, M>, findings: &mut Findings) {
    let resource = region.id;
    let mut pages = [0u64; BlockState::Unplugged as usize + 1];
    let mut blocks = [0u64; Order::COUNT];
    let usable = region.layout.usable;
    let mut at = usable.start;
    while at < usable.end {
        let Some(Found { head, tag }) = buddy.find(at) else {
            let error = match buddy.tag(at).filter(|tag| tag.state != BlockState::Free) {
                Some(tag) => CheckError::BadBlock { resource, pfn: at, order: tag.order },
                None => CheckError::NoDescriptor { resource, pfn: at },
            };
            return findings.expect(false, error);
        };
        let range = PfnRange::of(head, tag.order.pages());
        let fits = head == at && usable.contains_range(range);
        findings.expect(fits, CheckError::BadBlock { resource, pfn: at, order: tag.order });
        if !fits {
            return;
        }
        pages[tag.state as usize] += range.pages();
        if tag.state == BlockState::Free {
            blocks[tag.order.0 as usize] += 1;
        }
        at = range.end;
    }
    // Frame caches turn cached blocks into movable ones and back without a counter, also now: the sum stays.
    let of = |count: &dyn Fn(BlockState) -> u64| {
        count(BlockState::Movable).wrapping_add(count(BlockState::Cached))
    };
    let counted = of(&|state| buddy.pages_in(state));
    let found = of(&|state| pages[state as usize]);
    let name = "movable and cached frames";
    findings.expect(counted == found, CheckError::Counter { resource, name, counted, found });
    for (state, name) in [
        (BlockState::Free, "free frames"),
        (BlockState::Pinned, "pinned frames"),
        (BlockState::Boot, "frames pinned since boot"),
        (BlockState::Offline, "offline frames"),
        (BlockState::Isolated, "isolated frames"),
        (BlockState::Unplugged, "unplugged frames"),
    ] {
        let (counted, found) = (buddy.pages_in(state), pages[state as usize]);
        findings.expect(counted == found, CheckError::Counter { resource, name, counted, found });
    }
    for order in (0..=region.max.0).map(Order) {
        let (listed, found) = (buddy.free_blocks(order), blocks[order.0 as usize]);
        findings.expect(listed == found, CheckError::List { resource, order, listed, found });
    }
}

/// Checks that each list is doubly linked and holds groups whose largest free block has its order and that are not
/// entirely free; that the summary knows which lists are empty; and that the lists hold all free frames.
fn check_lists<M: Machine>(region: &Region, buddy: &Buddy<'_, M>, findings: &mut Findings) {
    let resource = region.id;
    let mut listed = 0;
    for order in (0..=region.max.0).map(Order) {
        let (mut next, mut before) = (buddy.first(order), None);
        let known = buddy.summary.orders() >> order.0 & 1 == u64::from(next.is_some());
        let first = next.map_or(region.layout.usable.start, |group| group.start());
        findings.expect(known, CheckError::Link { resource, order, pfn: first });
        while let Some(group) = next {
            let pfn = group.start();
            if !region.layout.usable.overlaps(group.frames()) {
                return findings.expect(false, CheckError::Link { resource, order, pfn });
            }
            if let Some(whole) = buddy.unmerged_block(group) {
                let error = CheckError::Unmerged { resource, pfn: whole.0, order: whole.1 };
                return findings.expect(false, error);
            }
            let right = buddy.prev(group) == before && buddy.is_in_right_list(group, order);
            findings.expect(right, CheckError::Link { resource, order, pfn });
            if !right {
                return;
            }
            listed += buddy.free_blocks_of(group).map(|(_, order)| order.pages()).sum::<u64>();
            before = Some(group);
            next = buddy.next(group);
        }
    }
    let counted = buddy.pages_in(BlockState::Free);
    let error = CheckError::Counter { resource, name: "free frames in lists", counted, found: listed };
    findings.expect(counted == listed, error);
}
