//! Which pieces of a chunk of virtio-mem memory are plugged. A piece is 2 MiB; a chunk lies in one GiB.
//!
//! ```text
//!  chunk      | 0  1 ... 7 | 8 ........ 63 | 64 .... 127 | ... |448 .... 511|
//!             |  memmap    |   section 0   |  section 1  |     |  section 7 |
//!  piece k of the memmap describes section k (64 pieces), itself included where k = 0
//! ```
//!
//! The map lies outside of the chunk, because the chunk's own bytes may be unplugged. A region that is not a chunk has no
//! unplugged piece. Invariants: a piece of a section is plugged only while the section's piece of the memmap is; the map
//! changes under the region's lock. Neighbours: `buddy::Summary` holds the map, `chunk` changes it, `buddy` reads it
//! instead of the descriptors of unplugged frames.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::addr::{PAGE_SIZE, Pfn, PfnRange};
use crate::address_space::DESCRIPTOR_SIZE;

/// Frames in a piece.
pub const PIECE_PAGES: u64 = 512;
/// Frames in a GiB.
const GIB_PAGES: u64 = 512 * 512;
/// Descriptors in one frame of the memmap.
const DESCRIPTORS_PER_PAGE: u64 = PAGE_SIZE / DESCRIPTOR_SIZE;
/// Pieces in a GiB.
const PIECES: u64 = GIB_PAGES / PIECE_PAGES;
const WORDS: usize = PIECES as usize / 64;

/// The unplugged pieces of the GiB in which a chunk lies.
#[derive(Debug)]
pub struct PieceMap {
    /// Bit n is set when piece n of the GiB is not plugged.
    unplugged: [AtomicU64; WORDS],
    /// Whether a bit is set.
    any: AtomicU64,
}

/// Whether pieces are plugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plug {
    /// They are.
    In,
    /// They are not.
    Out,
}

impl PieceMap {
    /// Everything is plugged.
    pub const fn new() -> Self {
        PieceMap { unplugged: [const { AtomicU64::new(0) }; WORDS], any: AtomicU64::new(0) }
    }

    /// Whether every piece is plugged.
    #[inline]
    pub fn is_whole(&self) -> bool {
        self.any.load(Ordering::Relaxed) == 0
    }

    /// Whether the piece that contains `pfn` is not plugged.
    #[inline]
    pub fn is_unplugged(&self, pfn: Pfn) -> bool {
        if self.is_whole() {
            return false;
        }
        let piece = pfn.0 / PIECE_PAGES % PIECES;
        self.unplugged[piece as usize / 64].load(Ordering::Relaxed) >> (piece % 64) & 1 == 1
    }

    /// Records that the pieces of `range`, which lies in the chunk, are plugged or not.
    pub fn set(&self, range: PfnRange, plug: Plug) {
        for piece in range.start.0 / PIECE_PAGES..range.end.0.div_ceil(PIECE_PAGES) {
            let (piece, word) = (piece % PIECES, piece % PIECES / 64);
            let word = &self.unplugged[word as usize];
            match plug {
                Plug::In => word.fetch_and(!(1 << (piece % 64)), Ordering::Relaxed),
                Plug::Out => word.fetch_or(1 << (piece % 64), Ordering::Relaxed),
            };
        }
        let any = self.unplugged.iter().any(|word| word.load(Ordering::Relaxed) != 0);
        self.any.store(u64::from(any), Ordering::Relaxed);
    }

    /// Records that everything is plugged.
    pub fn clear(&self) {
        self.unplugged.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        self.any.store(0, Ordering::Relaxed);
    }

    /// The first run of pieces in this state in `range`, cut at its borders.
    pub fn next_run(&self, range: PfnRange, plug: Plug) -> Option<PfnRange> {
        if self.is_whole() {
            return (plug == Plug::In && !range.is_empty()).then_some(range);
        }
        let matches = |pfn: Pfn| self.is_unplugged(pfn) == (plug == Plug::Out);
        let next = |pfn: Pfn| Pfn((pfn.0 / PIECE_PAGES + 1) * PIECE_PAGES);
        let mut start = range.start;
        while start < range.end && !matches(start) {
            start = next(start);
        }
        let mut end = start;
        while end < range.end && matches(end) {
            end = next(end);
        }
        (start < range.end).then(|| PfnRange::new(start, end.min(range.end)))
    }

    /// The runs of pieces in this state in `range`, ascending.
    pub fn runs(&self, range: PfnRange, plug: Plug) -> impl Iterator<Item = PfnRange> {
        let mut rest = range;
        core::iter::from_fn(move || {
            let run = self.next_run(rest, plug)?;
            rest.start = run.end;
            Some(run)
        })
    }

    /// Frames of `range` that are not plugged.
    pub fn unplugged_pages(&self, range: PfnRange) -> u64 {
        if self.is_whole() { 0 } else { self.runs(range, Plug::Out).map(|run| run.pages()).sum() }
    }
}

impl Default for PieceMap {
    fn default() -> Self {
        PieceMap::new()
    }
}

/// A chunk as its device plugs it: in units of one or more pieces, which may also cover several blocks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The frames of the chunk.
    pub range: PfnRange,
    /// The frames of its metadata, from `range.start` on.
    pub data: PfnRange,
    /// Frames of a unit: a power of two, at least [`PIECE_PAGES`].
    pub unit: u64,
}

impl Shape {
    /// The frames whose metadata lies in the same GiB's memmap piece: what one unit of memmap opens.
    const fn opened_by_unit(&self) -> u64 {
        self.unit * DESCRIPTORS_PER_PAGE
    }

    /// Units of metadata, the last one perhaps partly usable.
    pub const fn metadata_units(&self) -> u64 {
        self.data.pages().div_ceil(self.unit)
    }

    /// The unit of metadata `index`.
    pub fn metadata_unit(&self, index: u64) -> PfnRange {
        self.unit_at(index)
    }

    /// The unit number `index` of the chunk, cut at its end.
    fn unit_at(&self, index: u64) -> PfnRange {
        PfnRange::of(self.range.start.offset(index * self.unit), self.unit).intersection(self.range)
    }

    /// The usable frames that the unit of metadata `index` opens; those of metadata units are left out.
    pub fn opened_by(&self, index: u64) -> PfnRange {
        let opened = self.opened_by_unit();
        let all = PfnRange::of(self.range.start.offset(index * opened), opened).intersection(self.range);
        let start = all.start.max(self.range.start.offset(self.metadata_units() * self.unit));
        PfnRange::new(start.min(all.end), all.end)
    }

    /// The run of frames to plug next, of at most `want` frames below `limit`, rounded down to units. `None` when nothing
    /// is left to plug there, or `want` is less than a unit. `map` is `None` for a chunk that does not exist yet.
    ///
    /// Holes in open sections come first: they cost no memmap. Then the memmap of as many sections as the rest of `want`
    /// needs is plugged in one run.
    pub fn next_to_plug(&self, map: Option<&PieceMap>, want: u64, limit: Pfn) -> Option<PfnRange> {
        let want = want / self.unit * self.unit;
        let whole = PfnRange::new(self.range.start, self.range.end.min(limit));
        if want == 0 || whole.pages() < self.unit && whole.end < self.range.end {
            return None;
        }
        let out = |pfn: Pfn| map.is_none_or(|map| map.is_unplugged(pfn));
        let units = self.metadata_units();
        let is_open = |index: u64| !out(self.unit_at(index).start);
        let mut index = 0;
        while index < units {
            let mut opened = self.opened_by(index);
            let open = is_open(index);
            index += 1;
            // Adjacent open sections are one range.
            while open && index < units && is_open(index) {
                opened.end = self.opened_by(index).end;
                index += 1;
            }
            let hole =
                map.filter(|_| open).and_then(|map| map.next_run(opened.intersection(whole), Plug::Out));
            if let Some(run) = hole.and_then(|hole| self.cut(hole, want)) {
                return Some(run);
            }
        }
        // Open the first closed section, and those behind it that `want` reaches.
        let first = (0..units).find(|&index| !is_open(index))?;
        let (mut last, mut left) = (first, want);
        while last < units && !is_open(last) && left > 0 && self.unit_at(last).end <= whole.end {
            left = left.saturating_sub(self.unit);
            left = left.saturating_sub(self.opened_by(last).intersection(whole).pages());
            last += 1;
        }
        let end = if last == units && first == 0 {
            // All of the metadata: what is behind it follows in the same run.
            self.range.start.offset(want)
        } else {
            self.unit_at(last).start.min(self.unit_at(first).start.offset(want))
        };
        let run = PfnRange::new(self.unit_at(first).start, end.min(whole.end));
        self.cut(run, want)
    }

    /// The first at most `want` frames of a run, in whole units (the chunk's last one may be shorter).
    fn cut(&self, run: PfnRange, want: u64) -> Option<PfnRange> {
        let pages = run.pages().min(want);
        let end = run.start.offset(pages);
        let end = if end == self.range.end { end } else { run.start.offset(pages / self.unit * self.unit) };
        (end > run.start).then(|| PfnRange::new(run.start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 256;
    const UNIT: u64 = PIECE_PAGES;

    fn shape(unit: u64) -> Shape {
        let start = Pfn(4 * GIB_PAGES);
        Shape { range: PfnRange::of(start, GIB_PAGES), data: PfnRange::of(start, GIB_PAGES / 64), unit }
    }

    /// Plugs `want` frames as the planner says; returns the runs in frames from the chunk's start.
    fn plug(shape: &Shape, map: &PieceMap, mut want: u64, limit: Pfn) -> std::vec::Vec<(u64, u64)> {
        let mut runs = std::vec::Vec::new();
        let mut exists = !map.is_unplugged(shape.range.start);
        while let Some(run) = shape.next_to_plug(exists.then_some(map), want, limit) {
            assert!(map.runs(run, Plug::In).next().is_none(), "{run} is plugged already");
            for index in 0..shape.metadata_units() {
                let needed = shape.opened_by(index).overlaps(run);
                let there =
                    !map.is_unplugged(shape.unit_at(index).start) || run.contains(shape.unit_at(index).start);
                assert!(there || !needed, "{run} has no memmap");
            }
            map.set(run, Plug::In);
            exists = true;
            want -= run.pages();
            runs.push((run.start.0 - shape.range.start.0, run.pages()));
        }
        runs
    }

    /// Proves that a whole chunk takes one run, that a part takes its memmap and then itself, and that 2 MiB more take
    /// 2 MiB. Fails when the planner plugs usable pieces without their memmap, or one piece at a time.
    #[test]
    fn few_runs_and_memmap_first() {
        let (shape, limit) = (shape(UNIT), Pfn(u64::MAX));
        let fresh = || {
            let map = PieceMap::new();
            map.set(shape.range, Plug::Out);
            map
        };
        assert_eq!(plug(&shape, &fresh(), GIB_PAGES, limit), [(0, GIB_PAGES)]);
        let map = fresh();
        assert_eq!(plug(&shape, &map, 2 * MIB, limit), [(0, UNIT)]);
        assert_eq!(plug(&shape, &map, 2 * MIB, limit), [(16 * MIB, UNIT)]);
        assert_eq!(plug(&shape, &map, 110 * MIB, limit), [(18 * MIB, 110 * MIB)]);
        // The next section: its memmap, then itself.
        assert_eq!(plug(&shape, &map, 6 * MIB, limit), [(2 * MIB, UNIT), (128 * MIB, 4 * MIB)]);
        // A hole comes first.
        map.set(PfnRange::of(shape.range.start.offset(64 * MIB), 4 * MIB), Plug::Out);
        assert_eq!(plug(&shape, &map, 2 * MIB, limit), [(64 * MIB, UNIT)]);
        // 300 MiB: three sections.
        assert_eq!(plug(&shape, &fresh(), 300 * MIB, limit), [(0, 6 * MIB), (16 * MIB, 294 * MIB)]);
        // Nothing beyond the usable part.
        let map = fresh();
        let runs = plug(&shape, &map, GIB_PAGES, shape.range.start.offset(256 * MIB));
        assert_eq!(runs.iter().map(|run| run.1).sum::<u64>(), 256 * MIB);
    }

    /// Proves that units of several pieces are plugged whole, up to the whole chunk. Fails when a run is no multiple.
    #[test]
    fn larger_units() {
        for unit in [2 * UNIT, 8 * UNIT, 64 * UNIT, GIB_PAGES] {
            let shape = shape(unit);
            let map = PieceMap::new();
            map.set(shape.range, Plug::Out);
            for step in [unit, unit - 1, 3 * unit, GIB_PAGES] {
                for (start, pages) in plug(&shape, &map, step, Pfn(u64::MAX)) {
                    assert!(start.is_multiple_of(unit) && pages.is_multiple_of(unit), "{start} {pages}");
                }
            }
            assert!(map.is_whole());
        }
    }
}
