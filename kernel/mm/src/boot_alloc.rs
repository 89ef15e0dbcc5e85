//! Frames before there is a buddy: a bump allocator over boot memory, and the record of who has what.
//!
//! ```text
//!  boot range   [ firmware | hole | loader, kernel | ........ largest hole ........ ]
//!                                                    taken ->
//! ```
//!
//! Frames come from the largest hole, upwards. Everything handed out is in [`BootAllocator::taken`] as a few
//! ranges with their owner, so that `boot` carves them out of its regions as pinned. Invariants: holes,
//! taken ranges and what the loader occupies never overlap, and no frame is handed out twice.
//!
//! Neighbours: `page_table` takes frames through [`FrameSource`]; `boot` ends its use.

use core::fmt;

use arrayvec::ArrayVec;

use crate::addr::{Pfn, PfnRange};
use crate::page_table::FrameSource;

/// The most ranges that can be remembered as taken, and the most holes.
const RANGES: usize = 128;

/// Who occupies frames since boot, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Owner {
    /// Tables and data of the firmware.
    Firmware,
    /// What the loader left and nobody looks at again.
    Boot,
    /// The kernel image.
    Kernel,
    /// The kernel heap.
    Heap,
    /// Kernel stacks.
    Stack,
    /// Page tables.
    PageTables,
    /// A memmap of boot memory.
    Memmap,
}

impl Owner {
    /// All owners, each at the index that is its number.
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

/// Frames that are not free at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// Which.
    pub range: PfnRange,
    /// By whom.
    pub owner: Owner,
}

/// The bump allocator. See the module's head.
#[derive(Debug, Default)]
pub struct BootAllocator {
    holes: ArrayVec<PfnRange, RANGES>,
    taken: ArrayVec<Occupied, RANGES>,
}

impl BootAllocator {
    /// Frames of `ranges` (the firmware's usable memory, in any order, not overlapping) that are not in
    /// `occupied` (which may overlap itself and reach outside of the ranges). Where more than 128 holes
    /// are left, the small ones are not used.
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

    /// What was given out and not given back, as ranges with their owners: in no particular order, without
    /// overlap.
    pub fn taken(&self) -> impl Iterator<Item = Occupied> + '_ {
        self.taken.iter().copied()
    }

    /// What is still free, as ranges in no particular order.
    pub fn holes(&self) -> &[PfnRange] {
        &self.holes
    }

    /// How many frames are free.
    pub fn free_pages(&self) -> u64 {
        self.holes.iter().map(|hole| hole.pages()).sum()
    }

    /// Takes `pages` frames in one run whose first frame is a multiple of `align` frames, from the largest
    /// hole that has it, as low in it as can be. `None` when no hole has it.
    pub fn take_run(&mut self, pages: u64, align: u64, owner: Owner) -> Option<PfnRange> {
        let run_in = |hole: &PfnRange| {
            let start = Pfn(hole.start.0.checked_next_multiple_of(align.max(1))?);
            let run = PfnRange::of(start, pages);
            (pages > 0 && hole.contains_range(run)).then_some(run)
        };
        let fitting = self.holes.iter().enumerate().filter_map(|(index, hole)| Some((index, run_in(hole)?)));
        let (index, run) = fitting.max_by_key(|(index, _)| self.holes[*index].pages())?;
        if !self.can_record(run, owner) {
            return None;
        }
        self.cut(index, run);
        self.record(run, owner);
        Some(run)
    }

    /// A source of single frames for `owner`. ([`BootAllocator`] itself is one for page tables.)
    pub fn source(&mut self, owner: Owner) -> BootSource<'_> {
        BootSource { frames: self, owner }
    }

    /// Removes `part`, which lies inside the hole at `index`.
    fn cut(&mut self, index: usize, part: PfnRange) {
        let hole = self.holes.swap_remove(index);
        self.add_hole(PfnRange::new(hole.start, part.start));
        self.add_hole(PfnRange::new(part.end, hole.end));
    }

    /// Remembers a hole; with too many, the smallest is forgotten.
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

    /// Makes `frame` free again, when it was taken for `owner`; where that would need a range too many, it
    /// stays taken.
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

/// Single frames of an [`BootAllocator`] for one owner.
#[derive(Debug)]
pub struct BootSource<'a> {
    frames: &'a mut BootAllocator,
    owner: Owner,
}

impl FrameSource for BootSource<'_> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        Some(self.frames.take_run(1, 1, self.owner)?.start)
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

    /// Frames come from the largest hole upwards, runs are aligned, and neighbours of one owner are one range.
    #[test]
    fn frames_come_from_the_largest_hole() {
        let occupied = [
            Occupied { range: range(0, 3), owner: Owner::Firmware },
            Occupied { range: range(100, 120), owner: Owner::Boot },
        ];
        let mut early = BootAllocator::new(&[range(1, 50), range(64, 1000)], &occupied);
        assert_eq!(early.free_pages(), 47 + 36 + 880);
        assert_eq!((early.alloc_frame(), early.alloc_frame()), (Some(Pfn(120)), Some(Pfn(121))));
        assert_eq!(early.take_run(512, 256, Owner::Heap), Some(range(256, 768)));
        assert_eq!(early.take_run(500, 1, Owner::Heap), None);
        let taken: Vec<_> = early.taken().collect();
        let expected = [
            Occupied { range: range(120, 122), owner: Owner::PageTables },
            Occupied { range: range(256, 768), owner: Owner::Heap },
        ];
        assert_eq!(taken, expected);
        early.free_frame(Pfn(120));
        let expected = [expected[1], Occupied { range: range(121, 122), owner: Owner::PageTables }];
        assert_eq!(early.taken().collect::<Vec<_>>(), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// No frame is handed out twice, none that the loader occupies or that is no memory, and `taken` with
        /// the holes is exactly what there was: through takes, aligned runs and frames given back.
        #[test]
        fn every_frame_is_in_one_place(
            occupied in prop::collection::vec((0u64..600, 0u64..40), 0..12),
            steps in prop::collection::vec((0usize..3, 1u64..20, 0u32..5, any::<prop::sample::Index>()), 1..80),
        ) {
            let ranges = [range(5, 200), range(210, 640)];
            let pieces = occupied.iter().map(|(start, pages)| range(*start, start + pages));
            let occupied: Vec<_> = pieces.map(|range| Occupied { range, owner: Owner::Boot }).collect();
            let mut early = BootAllocator::new(&ranges, &occupied);
            let occupied = frames_of(occupied.iter().map(|piece| piece.range));
            let all: BTreeSet<u64> = &frames_of(ranges) - &occupied;
            let mut tables: Vec<Pfn> = Vec::new();
            let mut runs = BTreeSet::new();
            for (action, pages, align, pick) in steps {
                match action {
                    0 => tables.extend(early.alloc_frame()),
                    1 => {
                        if let Some(run) = early.take_run(pages, 1 << align, Owner::Heap) {
                            prop_assert_eq!((run.pages(), run.start.0 % (1 << align)), (pages, 0));
                            runs.extend(frames_of([run]));
                        }
                    }
                    _ if tables.is_empty() => {}
                    _ => early.free_frame(tables.swap_remove(pick.index(tables.len()))),
                }
                let of = |owner| frames_of(early.taken().filter(move |p| p.owner == owner).map(|p| p.range));
                prop_assert_eq!(&of(Owner::Heap), &runs);
                prop_assert_eq!(of(Owner::PageTables), tables.iter().map(|pfn| pfn.0).collect::<BTreeSet<_>>());
                let taken: u64 = early.taken().map(|piece| piece.range.pages()).sum();
                let holes = frames_of(early.holes().iter().copied());
                prop_assert_eq!(early.free_pages(), holes.len() as u64);
                prop_assert_eq!(taken + early.free_pages(), all.len() as u64);
                let both = &holes | &frames_of(early.taken().map(|piece| piece.range));
                prop_assert_eq!(&both, &all);
            }
        }
    }
}
