//! The shim's frame allocator, and the memory map for the kernel.
//!
//! ```text
//! usable   |..........|shim|..................|module|............|
//! holes    (below 1 MiB:   [taken ->    next   )       [taken ->   )   above 4 GiB: left alone
//!           left alone)
//! ```
//!
//! Frames come from the low end of the first large enough hole. The shim's own image is not
//! allocated while it runs, and is usable memory for the kernel; its trampoline page and the
//! kernel's file stay allocated. Invariant: allocated frames never overlap the shim, the module or
//! each other.

use crate::memory_map::{MAX_ENTRIES, MapError, MemoryMap, Ranges, subtract};
use crate::range::{PAGE, PhysRange};
use crate::start_info::READABLE;
use arrayvec::ArrayVec;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};

/// The most regions of the kernel's memory map.
pub const MAX_REGIONS: usize = 2 * MAX_ENTRIES;
/// Memory below stays free for real-mode code.
const FIRST: u64 = 1 << 20;

/// Memory that must not be allocated, in addition to the memory map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occupied {
    /// The shim's image: free again when the kernel runs.
    pub shim: PhysRange,
    /// The page of the shim that the kernel's page tables map: stays taken.
    pub trampoline: PhysRange,
    /// The kernel's file: stays taken.
    pub module: PhysRange,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    range: PhysRange,
    next: u64,
}

/// Contiguous allocated frames, owned exclusively by the holder of this value. It cannot be copied.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken(PhysRange);

impl Taken {
    /// The frames.
    pub const fn range(&self) -> PhysRange {
        self.0
    }
}

/// The bump allocator.
#[derive(Debug)]
pub struct Frames {
    holes: ArrayVec<Hole, MAX_ENTRIES>,
    kept: [PhysRange; 2],
}

impl Frames {
    /// All usable memory of `map` from 1 MiB to 4 GiB, except what is `occupied`.
    ///
    /// # Safety
    ///
    /// `map` is the machine's, only the `occupied` part of its usable memory is in use, and no other `Frames` manages it.
    /// [`Taken`] proves ownership only then.
    pub unsafe fn new(map: &MemoryMap, occupied: Occupied) -> Result<Frames, MapError> {
        let mut free = Ranges::new();
        for range in map.usable() {
            let range = range.intersection(PhysRange::new(FIRST, READABLE.end));
            if !range.is_empty() {
                free.push(range); // not more than `usable` has, so it fits
            }
        }
        let kept = [occupied.trampoline.rounded_outward(), occupied.module.rounded_outward()];
        for taken in [occupied.shim.rounded_outward(), kept[0], kept[1]] {
            subtract(&mut free, taken)?;
        }
        let holes = free.iter().map(|range| Hole { range: *range, next: range.start }).collect();
        Ok(Frames { holes, kept })
    }

    /// Allocates `pages` contiguous frames below 4 GiB, uninitialised.
    pub fn take(&mut self, pages: u64) -> Option<Taken> {
        let size = pages.checked_mul(PAGE)?;
        let hole = self.holes.iter_mut().find(|hole| hole.range.end - hole.next >= size)?;
        let start = hole.next;
        hole.next += size;
        Some(Taken(PhysRange::new(start, hole.next)))
    }

    /// The memory map for the kernel, sorted: usable frames, allocated ones (kind `Bootloader`), and
    /// the firmware's other entries unchanged (kind `UnknownBios` with the e820 kind).
    pub fn regions(&self, map: &MemoryMap) -> Result<ArrayVec<MemoryRegion, MAX_REGIONS>, MapError> {
        let mut taken: Ranges = self.kept.iter().copied().filter(|range| !range.is_empty()).collect();
        for hole in &self.holes {
            if hole.next > hole.range.start {
                let range = PhysRange::new(hole.range.start, hole.next);
                taken.try_push(range).map_err(|_| MapError::TooLong)?;
            }
        }
        taken.sort_unstable_by_key(|range| range.start);
        let mut regions = ArrayVec::new();
        let mut add = |range: PhysRange, kind| {
            if range.is_empty() {
                return Ok(());
            }
            let region = MemoryRegion { start: range.start, end: range.end, kind };
            regions.try_push(region).map_err(|_| MapError::TooLong)
        };
        for usable in map.usable() {
            let mut at = usable.start;
            for used in taken.iter().map(|range| range.intersection(*usable)).filter(|used| !used.is_empty())
            {
                add(PhysRange::new(at, used.start), MemoryRegionKind::Usable)?;
                add(used, MemoryRegionKind::Bootloader)?;
                at = used.end;
            }
            add(PhysRange::new(at, usable.end), MemoryRegionKind::Usable)?;
        }
        for other in map.others() {
            add(other.range, MemoryRegionKind::UnknownBios(other.kind))?;
        }
        regions.sort_unstable_by_key(|region| region.start);
        Ok(regions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::start_info::RawMapEntry;

    const MIB: u64 = 1 << 20;

    fn map(list: &[(u64, u64, u32)]) -> MemoryMap {
        let entry = |&(addr, size, kind): &_| RawMapEntry { addr, size, kind, reserved: 0 };
        MemoryMap::new(list.iter().map(entry)).unwrap()
    }

    fn occupied(module: PhysRange) -> Occupied {
        let shim = PhysRange::new(MIB, MIB + 0x2_0000);
        Occupied { shim, trampoline: PhysRange::new(MIB, MIB + PAGE), module }
    }

    fn frames(map: &MemoryMap, module: PhysRange) -> Frames {
        // SAFETY: the map is made up, and so are the frames: nothing here reads or writes them.
        unsafe { Frames::new(map, occupied(module)) }.unwrap()
    }

    /// Proves that frames come from the first large enough hole, never from below 1 MiB, above
    /// 4 GiB, the shim or the module, until none are left. Fails when an occupied frame is allocated.
    #[test]
    fn taken_frames_avoid_what_is_occupied() {
        let module = PhysRange::new(2 * MIB, 2 * MIB + 0x1234);
        let map = map(&[(0, 0x9_f000, 1), (MIB, 3 * MIB, 1), (1 << 32, 1 << 32, 1)]);
        let mut frames = frames(&map, module);
        let first = frames.take(16).unwrap().range();
        assert_eq!(first, PhysRange::new(MIB + 0x2_0000, MIB + 0x3_0000));
        // does not fit before the module
        let large = frames.take(256).unwrap().range();
        assert_eq!(large.start, 2 * MIB + 0x2000);
        // but small ones still do
        assert_eq!(frames.take(1).unwrap().range().start, first.end);
        let mut taken = vec![first, large];
        while let Some(range) = frames.take(1).map(|taken| taken.range()) {
            let avoid = [module, PhysRange::new(0, MIB + 0x2_0000), PhysRange::new(4 * MIB, u64::MAX)];
            assert!(avoid.iter().chain(&taken).all(|other| other.intersection(range).is_empty()), "{range}");
            taken.push(range);
        }
        assert!(frames.take(u64::MAX).is_none());
    }

    /// Proves that the kernel's regions tile the usable memory, with exactly the allocated frames,
    /// the trampoline and the module as `Bootloader`, and the other entries unchanged. Fails when a
    /// frame is missing or listed twice.
    #[test]
    fn regions_tile_the_usable_memory() {
        let module = PhysRange::new(3 * MIB, 3 * MIB + 0x1234);
        let map = map(&[(MIB, 3 * MIB, 1), (0xf_0000, 0x1_0000, 2), (5 * MIB, 10, 4)]);
        let mut frames = frames(&map, module);
        frames.take(3).unwrap();
        frames.take(4).unwrap();
        let regions = frames.regions(&map).unwrap();
        let shim_end = MIB + 0x2_0000;
        use MemoryRegionKind::{Bootloader, UnknownBios, Usable};
        let expected = [
            (0xf_0000, MIB, UnknownBios(2)),
            (MIB, MIB + PAGE, Bootloader),
            (MIB + PAGE, shim_end, Usable),
            (shim_end, shim_end + 7 * PAGE, Bootloader),
            (shim_end + 7 * PAGE, 3 * MIB, Usable),
            (3 * MIB, 3 * MIB + 0x2000, Bootloader),
            (3 * MIB + 0x2000, 4 * MIB, Usable),
            (5 * MIB, 5 * MIB + 10, UnknownBios(4)),
        ];
        let got: Vec<_> = regions.iter().map(|region| (region.start, region.end, region.kind)).collect();
        assert_eq!(got, expected);
    }

    /// Proves that a module outside of usable memory or of size zero makes no region. Fails when an
    /// empty region is listed.
    #[test]
    fn empty_module() {
        let map = map(&[(MIB, 3 * MIB, 1)]);
        let frames = frames(&map, PhysRange::new(0, 0));
        let regions = frames.regions(&map).unwrap();
        assert_eq!(regions.iter().filter(|region| region.kind == MemoryRegionKind::Bootloader).count(), 1);
    }
}
