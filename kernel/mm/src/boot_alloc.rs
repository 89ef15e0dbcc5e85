//! The boot allocator: a bump allocator over boot memory that runs before the buddy (Linux: memblock), and the record
//! of who owns each frame it handed out.
//!
//! ```text
//!  boot range   [ firmware | hole | loader, kernel | ........ largest hole ........ ]
//!                                                    taken ->
//! ```
//!
//! Frames come from the largest hole, bottom up and without gaps, so that they share pages of 2 MiB: a host that backs
//! memory with those zeroes one for the first byte written in it. [`BootAllocator::taken`] lists every allocated frame as
//! a few ranges with an owner, which `boot` carves out of its regions as pinned. Invariants: holes, taken ranges and the
//! loader's ranges never overlap, and no frame is allocated twice.
//!
//! Neighbours: `page_table` allocates through [`FrameSource`]; `boot` takes over and ends its use.

use core::fmt;

use arrayvec::ArrayVec;

use crate::addr::{Pfn, PfnRange};
use crate::page_table::FrameSource;

/// Capacity of the list of taken ranges and of the list of holes.
const RANGES: usize = 128;

/// The owner of frames that are occupied since boot. It fits in a descriptor's owner word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Owner {
    /// The firmware's tables and data.
    Firmware,
    /// The loader's leftovers, no longer used.
    Boot,
    /// The kernel image.
    Kernel,
    /// The kernel heap.
    Heap,
    /// Kernel stacks.
    Stack,
    /// Page tables.
    PageTables,
    /// The memmap of boot memory.
    Memmap,
}

impl Owner {
    /// All owners, each at the index that is its code.
    pub const ALL: [Owner; 7] = [
        Owner::Firmware,
        Owner::Boot,
        Owner::Kernel,
        Owner::Heap,
        Owner::Stack,
        Owner::PageTables,
        Owner::Memmap,
    ];
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Owner::Firmware => "firmware",
            Owner::Boot => "boot",
            Owner::Kernel => "kernel",
            Owner::Heap => "heap",
            Owner::Stack => "stack",
            Owner::PageTables => "page tables",
            Owner::Memmap => "memmap",
        })
    }
}

/// Frames that are in use at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// The frames.
    pub range: PfnRange,
    /// Their owner.
    pub owner: Owner,
}

/// The bump allocator; see the module's head.
#[derive(Debug, Default)]
pub struct BootAllocator {
    holes: ArrayVec<PfnRange, RANGES>,
    taken: ArrayVec<Occupied, RANGES>,
}

impl BootAllocator {
    /// Manages the frames of `ranges` (the firmware's usable memory, in any order, not overlapping) without those in
    /// `occupied` (which may overlap each other and reach outside the ranges). Keeps the 128 largest holes; smaller
    /// ones are not used.
    pub fn new(ranges: &[PfnRange], occupied: &[Occupied]) -> BootAllocator {
        let mut frames = BootAllocator::default();
        ranges.iter().for_each(|range| frames.add_hole(*range));
        for piece in occupied {
            while let Some(index) = frames.holes.iter().position(|hole| hole.overlaps(piece.range)) {
                let part = frames.holes[index].intersection(piece.range);
                frames.cut(index, part);
            }
        }
        frames
    }

    /// Allocated ranges with their owners: in no particular order, not overlapping.
    pub fn taken(&self) -> impl Iterator<Item = Occupied> + '_ {
        self.taken.iter().copied()
    }

    /// Free ranges, in no particular order.
    pub fn holes(&self) -> &[PfnRange] {
        &self.holes
    }

    /// Number of free frames.
    pub fn free_pages(&self) -> u64 {
        self.holes.iter().map(|hole| hole.pages()).sum()
    }

    /// Allocates `pages` contiguous frames: the first ones of the largest hole. `None` when it is smaller, or when the list
    /// of taken ranges is full.
    pub fn alloc_run(&mut self, pages: u64, owner: Owner) -> Option<PfnRange> {
        let (index, hole) = self.holes.iter().enumerate().max_by_key(|(_, hole)| hole.pages())?;
        let run = PfnRange::of(hole.start, pages);
        if pages == 0 || !hole.contains_range(run) || !self.can_record(run, owner) {
            return None;
        }
        self.cut(index, run);
        self.record(run, owner);
        Some(run)
    }

    /// Allocates `pages` contiguous frames below `limit`, and none of frame 0: the highest ones of a hole. For what a CPU
    /// can reach before it has paging. `None` as for [`BootAllocator::alloc_run`].
    pub fn alloc_below(&mut self, limit: Pfn, pages: u64, owner: Owner) -> Option<PfnRange> {
        let run_in = |hole: &PfnRange| {
            let end = hole.end.min(limit);
            let start = end.0.checked_sub(pages).filter(|&start| start > 0)?;
            let run = PfnRange::new(Pfn(start), end);
            (pages > 0 && hole.contains_range(run)).then_some(run)
        };
        let (index, run) =
            self.holes.iter().enumerate().find_map(|(index, hole)| Some((index, run_in(hole)?)))?;
        if !self.can_record(run, owner) {
            return None;
        }
        self.cut(index, run);
        self.record(run, owner);
        Some(run)
    }

    /// Allocates single frames for `owner`. ([`BootAllocator`] itself does so for page tables.)
    pub fn source(&mut self, owner: Owner) -> BootSource<'_> {
        BootSource { frames: self, owner }
    }

    /// Removes `part` from the hole at `index`, which contains it.
    fn cut(&mut self, index: usize, part: PfnRange) {
        let hole = self.holes.swap_remove(index);
        self.add_hole(PfnRange::new(hole.start, part.start));
        self.add_hole(PfnRange::new(part.end, hole.end));
    }

    /// Adds a hole. When the list is full, the smallest hole is dropped.
    fn add_hole(&mut self, hole: PfnRange) {
        if hole.is_empty() {
            return;
        }
        if let Err(full) = self.holes.try_push(hole) {
            let smallest = self.holes.iter_mut().min_by_key(|hole| hole.pages());
            if let Some(smallest) = smallest.filter(|smallest| smallest.pages() < hole.pages()) {
                *smallest = full.element();
            }
        }
    }

    fn joins(piece: &Occupied, range: PfnRange, owner: Owner) -> bool {
        piece.owner == owner && (piece.range.end == range.start || range.end == piece.range.start)
    }

    fn can_record(&self, range: PfnRange, owner: Owner) -> bool {
        !self.taken.is_full() || self.taken.iter().any(|piece| Self::joins(piece, range, owner))
    }

    fn record(&mut self, range: PfnRange, owner: Owner) {
        match self.taken.iter_mut().find(|piece| Self::joins(piece, range, owner)) {
            Some(piece) => {
                piece.range.start = piece.range.start.min(range.start);
                piece.range.end = piece.range.end.max(range.end);
            }
            None => self.taken.push(Occupied { range, owner }),
        }
    }

    /// Frees `frame` if it was allocated for `owner`. It stays taken when the list of taken ranges is full, because
    /// freeing may split a range.
    fn free(&mut self, frame: Pfn, owner: Owner) {
        let one = PfnRange::of(frame, 1);
        let taken = |piece: &Occupied| piece.owner == owner && piece.range.contains(frame);
        let Some(index) = self.taken.iter().position(taken) else { return };
        let joined = self.holes.iter_mut().find(|hole| hole.start == one.end || hole.end == one.start);
        if self.taken.is_full() {
            return;
        }
        match joined {
            Some(hole) => *hole = PfnRange::new(hole.start.min(one.start), hole.end.max(one.end)),
            None => self.add_hole(one),
        }
        let range = self.taken.swap_remove(index).range;
        let rest = [PfnRange::new(range.start, one.start), PfnRange::new(one.end, range.end)];
        let rest = rest.into_iter().filter(|rest| !rest.is_empty());
        self.taken.extend(rest.map(|range| Occupied { range, owner }));
    }
}

impl FrameSource for BootAllocator {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.source(Owner::PageTables).alloc_frame()
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.free(frame, Owner::PageTables);
    }
}

/// Single frames of a [`BootAllocator`] for one owner.
#[derive(Debug)]
pub struct BootSource<'a> {
    frames: &'a mut BootAllocator,
    owner: Owner,
}

impl FrameSource for BootSource<'_> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        Some(self.frames.alloc_run(1, self.owner)?.start)
    }

    fn free_frame(&mut self, frame: Pfn) {
        self.frames.free(frame, self.owner);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> PfnRange {
        PfnRange::new(Pfn(start), Pfn(end))
    }

    fn frames_of(ranges: impl IntoIterator<Item = PfnRange>) -> BTreeSet<u64> {
        ranges.into_iter().flat_map(|range| range.start.0..range.end.0).collect()
    }

    /// Proves that frames come from the largest hole bottom up, and that adjacent frames of one owner are recorded as one
    /// range. Fails when another hole is chosen, a gap is left, or ranges are not joined.
    #[test]
    fn frames_come_from_the_largest_hole() {
        let occupied = [
            Occupied { range: range(0, 3), owner: Owner::Firmware },
            Occupied { range: range(100, 120), owner: Owner::Boot },
        ];
        let mut boot = BootAllocator::new(&[range(1, 50), range(64, 1000)], &occupied);
        assert_eq!(boot.free_pages(), 47 + 36 + 880);
        assert_eq!((boot.alloc_frame(), boot.alloc_frame()), (Some(Pfn(120)), Some(Pfn(121))));
        assert_eq!(boot.alloc_run(840, Owner::Heap), Some(range(122, 962)));
        assert_eq!((boot.alloc_run(48, Owner::Heap), boot.alloc_run(0, Owner::Heap)), (None, None));
        let taken: Vec<_> = boot.taken().collect();
        let expected = [
            Occupied { range: range(120, 122), owner: Owner::PageTables },
            Occupied { range: range(122, 962), owner: Owner::Heap },
        ];
        assert_eq!(taken, expected);
        boot.free_frame(Pfn(120));
        let expected = [expected[1], Occupied { range: range(121, 122), owner: Owner::PageTables }];
        assert_eq!(boot.taken().collect::<Vec<_>>(), expected);
        // 3..50 is larger than 962..1000.
        assert_eq!(boot.alloc_frame(), Some(Pfn(3)));
        assert_eq!(boot.alloc_run(46, Owner::Memmap), Some(range(4, 50)));
        assert_eq!(boot.alloc_frame(), Some(Pfn(962)));
    }

    /// Proves that low frames lie below their limit, are not occupied, and never are frame 0, and that `None` is the
    /// answer where there are too few. Fails when the limit is not looked at, or frame 0 is given out.
    #[test]
    fn low_frames_lie_below_their_limit() {
        let occupied = [Occupied { range: range(150, 152), owner: Owner::Boot }];
        let mut boot = BootAllocator::new(&[range(0, 159), range(256, 1000)], &occupied);
        let low = boot.alloc_below(Pfn(160), 4, Owner::Kernel).expect("there are 157");
        assert!(low.end <= Pfn(159) && !low.overlaps(occupied[0].range), "{low}");
        assert_eq!(boot.alloc_below(Pfn(160), 150, Owner::Kernel), None);
        let rest = boot.alloc_below(Pfn(5), 4, Owner::Kernel);
        assert_eq!(rest, Some(range(1, 5)));
        assert_eq!(boot.alloc_below(Pfn(1), 1, Owner::Kernel), None, "frame 0 is not for use");
        assert_eq!(boot.alloc_below(Pfn(160), 0, Owner::Kernel), None);
        assert_eq!(boot.taken().map(|piece| piece.range.pages()).sum::<u64>(), 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// Proves that no frame is allocated twice, that the loader's frames and frames outside RAM are never
        /// allocated, and that taken ranges plus holes are always exactly the initial free memory. Fails when an
        /// allocation, a run or a free loses or duplicates a frame.
        #[test]
        fn every_frame_is_in_one_place(
            occupied in prop::collection::vec((0u64..600, 0u64..40), 0..12),
            steps in prop::collection::vec((0usize..3, 1u64..20, any::<prop::sample::Index>()), 1..80),
        ) {
            let ranges = [range(5, 200), range(210, 640)];
            let pieces = occupied.iter().map(|(start, pages)| range(*start, start + pages));
            let occupied: Vec<_> = pieces.map(|range| Occupied { range, owner: Owner::Boot }).collect();
            let mut boot = BootAllocator::new(&ranges, &occupied);
            let occupied = frames_of(occupied.iter().map(|piece| piece.range));
            let all: BTreeSet<u64> = &frames_of(ranges) - &occupied;
            let mut tables: Vec<Pfn> = Vec::new();
            let mut runs = BTreeSet::new();
            for (action, pages, pick) in steps {
                match action {
                    0 => tables.extend(boot.alloc_frame()),
                    1 => {
                        if let Some(run) = boot.alloc_run(pages, Owner::Heap) {
                            prop_assert_eq!(run.pages(), pages);
                            runs.extend(frames_of([run]));
                        }
                    }
                    _ if tables.is_empty() => {}
                    _ => boot.free_frame(tables.swap_remove(pick.index(tables.len()))),
                }
                let of = |owner| frames_of(boot.taken().filter(move |p| p.owner == owner).map(|p| p.range));
                prop_assert_eq!(&of(Owner::Heap), &runs);
                prop_assert_eq!(of(Owner::PageTables), tables.iter().map(|pfn| pfn.0).collect::<BTreeSet<_>>());
                let taken: u64 = boot.taken().map(|piece| piece.range.pages()).sum();
                let holes = frames_of(boot.holes().iter().copied());
                prop_assert_eq!(boot.free_pages(), holes.len() as u64);
                prop_assert_eq!(taken + boot.free_pages(), all.len() as u64);
                let both = &holes | &frames_of(boot.taken().map(|piece| piece.range));
                prop_assert_eq!(&both, &all);
            }
        }
    }
}
