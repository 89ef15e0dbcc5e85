//! The System Resource Affinity Table (ACPI 6.5, section 5.2.16): the node of each memory range and processor, and the
//! hot-pluggable ranges.
//!
//! ```text
//!  header (36) | reserved (12) | entry: type, length, ... | entry | ...
//!                                type 0, 16 bytes: processor affinity, APIC identity of 8 bits
//!                                type 1, 40 bytes: memory affinity
//!                                type 2, 24 bytes: processor affinity, APIC identity of 32 bits
//! ```
//!
//! The table is read before the heap exists, so every query walks its bytes. Invariants: a walk ends for any bytes;
//! disabled and empty entries (QEMU makes both) are skipped.

use crate::bytes::{u8_at, u32_at, u64_at};
use crate::madt::ApicId;
use carapace_mm::addr::{NodeId, PAGE_SIZE, Pfn, PfnRange, PhysAddr};
use carapace_mm::merge::merged;
use core::fmt;
use core::ops::Range;

/// The offset of the first entry.
const ENTRIES: usize = 48;
/// The type of a memory affinity entry, and its length in bytes.
const MEMORY_AFFINITY: u8 = 1;
const MEMORY_AFFINITY_BYTES: usize = 40;
/// The types of processor affinity entries.
const PROCESSOR_AFFINITY: u8 = 0;
const X2APIC_AFFINITY: u8 = 2;
/// Flags of a memory affinity entry. The first is also a processor's.
const ENABLED: u32 = 1 << 0;
const HOT_PLUGGABLE: u32 = 1 << 1;

/// Whether memory is hot-pluggable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugging {
    /// Present since boot, permanently.
    Fixed,
    /// Hot-pluggable; may be empty at boot.
    Hot,
}

/// An enabled, non-empty memory affinity entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryAffinity {
    /// Its first byte.
    pub base: PhysAddr,
    /// Its size in bytes, not 0. `base` + `length` may overflow.
    pub length: u64,
    /// The proximity domain.
    pub node: NodeId,
    /// Whether the range is hot-pluggable.
    pub plugging: Plugging,
}

impl MemoryAffinity {
    /// The bytes of the range, cut at the end of the address space.
    fn bytes(&self) -> Range<u64> {
        self.base.0..self.base.0.saturating_add(self.length)
    }

    /// The whole frames of the range.
    pub fn frames(&self) -> PfnRange {
        whole_frames(self.bytes())
    }
}

fn whole_frames(bytes: Range<u64>) -> PfnRange {
    PfnRange::new(Pfn(bytes.start.div_ceil(PAGE_SIZE)), Pfn(bytes.end / PAGE_SIZE))
}

/// Why the walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SratError {
    /// An entry is too short for its kind, or extends beyond the table.
    BadEntry {
        /// The entry's offset in the table.
        offset: usize,
        /// The entry's length byte.
        length: u8,
    },
}

impl fmt::Display for SratError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SratError::BadEntry { offset, length } => {
                write!(f, "SRAT: the entry at offset {offset} has the impossible length {length}")
            }
        }
    }
}

/// The table's bytes, header included, checksum verified by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Srat<'a>(pub &'a [u8]);

impl<'a> Srat<'a> {
    /// The memory affinity entries. An error is the last item.
    pub fn memory(&self) -> impl Iterator<Item = Result<MemoryAffinity, SratError>> + use<'a> {
        Entries { table: self.0, at: ENTRIES }
    }

    /// The hot-pluggable ranges, ascending, with adjacent and overlapping ones merged, since a DIMM may span several.
    /// Entries after a malformed one are ignored.
    pub fn hot_pluggable(&self) -> impl Iterator<Item = PfnRange> + use<'a> {
        let srat = *self;
        let pieces = move || {
            let entries = srat.memory().map_while(Result::ok);
            entries.filter(|entry| entry.plugging == Plugging::Hot).map(|entry| entry.bytes())
        };
        merged(pieces).map(whole_frames).filter(|frames| !frames.is_empty())
    }

    /// Splits `range` where the node changes and calls `piece` with each part, in ascending order. Frames without an
    /// entry belong to node 0, as does all memory of a machine without an SRAT.
    pub fn split(&self, range: PfnRange, piece: &mut dyn FnMut(PfnRange, NodeId)) {
        let mut start = range.start;
        // Adjacent parts of one node are merged.
        let mut open: Option<(PfnRange, NodeId)> = None;
        while start < range.end {
            let (end, node) = self.run_from(start);
            let cut = PfnRange::new(start, end.min(range.end));
            open = match open {
                Some((before, same)) if same == node => Some((PfnRange::new(before.start, cut.end), node)),
                Some((before, other)) => {
                    piece(before, other);
                    Some((cut, node))
                }
                None => Some((cut, node)),
            };
            start = cut.end;
        }
        if let Some((last, node)) = open {
            piece(last, node);
        }
    }

    /// The node of a processor. Node 0 if no enabled entry names it. Entries after a malformed one are ignored.
    pub fn node_of(&self, processor: ApicId) -> NodeId {
        let mut entries = Entries { table: self.0, at: ENTRIES };
        while let Some(Ok((offset, end))) = entries.step() {
            let entry = self.0.get(offset..end).unwrap_or_default();
            if let Some((id, node)) = self.processor(entry)
                && id == processor
            {
                return node;
            }
        }
        NodeId(0)
    }

    /// The processor and the node that an entry names. `None` for an entry of another kind, a short or a disabled one.
    fn processor(&self, entry: &[u8]) -> Option<(ApicId, NodeId)> {
        let (id, node, flags) = match u8_at(entry, 0)? {
            PROCESSOR_AFFINITY => {
                let low = u8_at(entry, 2)?;
                // Revision 1 has eight bits of proximity domain (Linux: acpi_numa_processor_affinity_init).
                let wide = u8_at(self.0, 8)? > 1;
                let high = [u8_at(entry, 9)?, u8_at(entry, 10)?, u8_at(entry, 11)?];
                let [a, b, c] = if wide { high } else { [0; 3] };
                (u8_at(entry, 3)?.into(), u32::from_le_bytes([low, a, b, c]), u32_at(entry, 4)?)
            }
            X2APIC_AFFINITY => (u32_at(entry, 8)?, u32_at(entry, 4)?, u32_at(entry, 12)?),
            _ => return None,
        };
        (flags & ENABLED != 0).then_some((ApicId(id), NodeId(node)))
    }

    /// The node of `at`, and the first frame above it where the node may change.
    fn run_from(&self, at: Pfn) -> (Pfn, NodeId) {
        let mut end = Pfn(u64::MAX);
        for frames in self.memory().map_while(Result::ok).map(|entry| (entry.frames(), entry.node)) {
            let (frames, node) = frames;
            if frames.contains(at) {
                return (frames.end, node);
            }
            if frames.start > at && !frames.is_empty() {
                end = end.min(frames.start);
            }
        }
        (end, NodeId(0))
    }
}

struct Entries<'a> {
    table: &'a [u8],
    at: usize,
}

impl Entries<'_> {
    /// The offsets of the entry at `self.at` and of the next one. `None` at the table's end.
    fn step(&mut self) -> Option<Result<(usize, usize), SratError>> {
        let offset = self.at;
        u8_at(self.table, offset)?;
        let length = u8_at(self.table, offset.saturating_add(1)).unwrap_or(0);
        let end = offset.saturating_add(usize::from(length));
        if length < 2 || end > self.table.len() {
            self.at = self.table.len();
            return Some(Err(SratError::BadEntry { offset, length }));
        }
        self.at = end;
        Some(Ok((offset, end)))
    }

    /// The memory affinity in `entry`. `Ok(None)` for a disabled or empty one.
    fn decode(&self, offset: usize, entry: &[u8]) -> Result<Option<MemoryAffinity>, SratError> {
        let fields = || {
            // Revision 1 has a proximity domain of eight bits and three reserved bytes (Linux:
            // acpi_numa_memory_affinity_init).
            let wide = u8_at(self.table, 8)? > 1;
            let domain = u32_at(entry, 2)?;
            let node = NodeId(if wide { domain } else { domain & 0xff });
            Some((u32_at(entry, 28)?, PhysAddr(u64_at(entry, 8)?), u64_at(entry, 16)?, node))
        };
        let bad = SratError::BadEntry { offset, length: entry.len().try_into().unwrap_or(u8::MAX) };
        if entry.len() < MEMORY_AFFINITY_BYTES {
            return Err(bad);
        }
        let (flags, base, length, node) = fields().ok_or(bad)?;
        if flags & ENABLED == 0 || length == 0 {
            return Ok(None);
        }
        let plugging = if flags & HOT_PLUGGABLE == 0 { Plugging::Fixed } else { Plugging::Hot };
        Ok(Some(MemoryAffinity { base, length, node, plugging }))
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<MemoryAffinity, SratError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (offset, end) = match self.step()? {
                Ok(bounds) => bounds,
                Err(error) => return Some(Err(error)),
            };
            let entry = self.table.get(offset..end)?;
            if u8_at(entry, 0) != Some(MEMORY_AFFINITY) {
                continue;
            }
            match self.decode(offset, entry) {
                Ok(None) => {}
                Ok(Some(affinity)) => return Some(Ok(affinity)),
                Err(error) => {
                    self.at = self.table.len();
                    return Some(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const REVISION_AT: usize = 8;

    fn table(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = std::vec![0; ENTRIES];
        bytes[REVISION_AT] = 3;
        entries.iter().for_each(|entry| bytes.extend(entry));
        bytes
    }

    fn memory(node: u32, base: u64, length: u64, flags: u32) -> Vec<u8> {
        let mut entry = std::vec![MEMORY_AFFINITY, MEMORY_AFFINITY_BYTES as u8];
        entry.extend(node.to_le_bytes());
        entry.extend([0; 2]);
        entry.extend(base.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry.extend([0; 4]);
        entry.extend(flags.to_le_bytes());
        entry.extend([0; 8]);
        entry
    }

    fn pieces(table: &[u8], start: u64, end: u64) -> Vec<(u64, u64, u32)> {
        let mut out = Vec::new();
        Srat(table).split(PfnRange::new(Pfn(start), Pfn(end)), &mut |range, node| {
            out.push((range.start.0, range.end.0, node.0));
        });
        out
    }

    // Proves that processor entries, disabled entries and QEMU's empty entry are skipped, and that the hot-pluggable range
    // is distinguished from boot memory. Fails when a flag is ignored.
    #[test]
    fn reads_what_qemu_writes() {
        let processor = std::vec![0, 16, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let bytes = table(&[
            processor,
            memory(0, 0, 0xa0000, ENABLED),
            memory(0, 0x10_0000, 0x1ff0_0000, ENABLED),
            memory(1, 0, 0, 0),
            memory(1, 0x2000_0000, 0, ENABLED),
            memory(0, 0x4000_0000, 0x1000, 0),
            memory(1, 0x1_0000_0000, 0x40_0000_0000, ENABLED | HOT_PLUGGABLE),
        ]);
        let all: Vec<_> = Srat(&bytes).memory().map(Result::unwrap).collect();
        assert_eq!(all.iter().map(|entry| entry.node.0).collect::<Vec<_>>(), [0, 0, 1]);
        let hot: Vec<_> = Srat(&bytes).hot_pluggable().collect();
        assert_eq!(hot, [PfnRange::new(Pfn(0x10_0000), Pfn(0x410_0000))]);
    }

    // Proves that a processor's node is found in entries of both kinds, with all bits of both numbers, that disabled
    // entries are ignored, and that the default is node 0. Fails when an offset is wrong.
    #[test]
    fn processors_have_nodes() {
        let old = |domain: [u8; 4], id, flags| {
            let [a, b, c, d] = domain;
            std::vec![0, 16, a, id, flags, 0, 0, 0, 0, b, c, d, 0, 0, 0, 0]
        };
        let x2 = |domain: u32, id: u32, flags| {
            let mut entry = std::vec![2, 24, 0, 0];
            entry.extend(domain.to_le_bytes());
            entry.extend(id.to_le_bytes());
            entry.extend([flags, 0, 0, 0]);
            entry.extend([0; 8]);
            entry
        };
        let mut bytes = table(&[
            old([1, 0, 0, 0], 7, 1),
            memory(3, 0, 0x1000, ENABLED),
            old([2, 0, 1, 0], 8, 1),
            old([5, 0, 0, 0], 9, 0),
            x2(6, 300, 1),
            x2(7, 301, 0),
        ]);
        let node = |bytes: &[u8], id| Srat(bytes).node_of(ApicId(id)).0;
        let nodes: Vec<_> = [7, 8, 9, 300, 301, 0, 1].into_iter().map(|id| node(&bytes, id)).collect();
        assert_eq!(nodes, [1, 0x1_0002, 0, 6, 0, 0, 0]);
        bytes[REVISION_AT] = 1;
        assert_eq!(node(&bytes, 8), 2);
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                node(&changed, 301);
                node(&bytes[..at], 300);
            }
        }
    }

    // Proves that a boot range is split exactly where the node changes, that gaps belong to node 0, and that adjacent parts
    // of one node are merged. Fails when a border is off by one.
    #[test]
    fn splits_at_borders() {
        let bytes = table(&[
            memory(1, 0x4000_0000, 0x1000_0000, ENABLED),
            memory(1, 0x5000_0000, 0x1000_0000, ENABLED),
            memory(2, 0x7000_0000, 0x1000_0000, ENABLED),
        ]);
        assert_eq!(
            pieces(&bytes, 0x3_0000, 0x8_0000),
            [
                (0x3_0000, 0x4_0000, 0),
                (0x4_0000, 0x6_0000, 1),
                (0x6_0000, 0x7_0000, 0),
                (0x7_0000, 0x8_0000, 2)
            ]
        );
        assert_eq!(pieces(&bytes, 0x4_1000, 0x4_2000), [(0x4_1000, 0x4_2000, 1)]);
        assert_eq!(pieces(&bytes, 0x4_1000, 0x4_1000), []);
    }

    // Proves that the pieces of a hot-pluggable range (adjacent, sharing a frame, overlapping, repeated, unordered) are
    // merged, and that a separate range stays separate. Fails when pieces are only counted, or merged only with the
    // previous one.
    #[test]
    fn hot_pluggable_pieces_are_joined() {
        const PIECE: u64 = 0x800_0800;
        let piece =
            |n: u64, extra: u64| memory(1, 0x1_0000_0000 + n * PIECE, PIECE + extra, ENABLED | HOT_PLUGGABLE);
        let mut entries: Vec<_> = (0..40).rev().step_by(2).map(|n| piece(n, 0)).collect();
        entries.push(memory(2, 0x100_0000_0000, 0x4000_0000, ENABLED | HOT_PLUGGABLE));
        entries.extend((0..40).step_by(2).map(|n| piece(n, if n % 4 == 0 { PIECE } else { 0 })));
        entries.push(piece(3, 0));
        // Fixed memory is not merged.
        entries.push(memory(0, 0x1_0000_0000 + 40 * PIECE, PIECE, ENABLED));
        let hot: Vec<_> = Srat(&table(&entries)).hot_pluggable().collect();
        assert_eq!(
            hot,
            [
                PfnRange::new(Pfn(0x10_0000), Pfn(0x10_0000 + 40 * PIECE / PAGE_SIZE)),
                PfnRange::of(Pfn(0x1000_0000), 0x4_0000),
            ]
        );
    }

    // Proves that only whole frames of a range count: a partial frame at either end is dropped, a range without a whole
    // frame is ignored, and an overflowing range is cut at the last address. Fails when a bound is rounded the wrong way.
    #[test]
    fn frames_are_whole() {
        let frames = |base, length| {
            let entry = memory(0, base, length, ENABLED | HOT_PLUGGABLE);
            let hot: Vec<_> = Srat(&table(&[entry])).hot_pluggable().collect();
            hot.first().map(|range| (range.start.0, range.end.0))
        };
        assert_eq!(frames(0x1000, 0x2000), Some((1, 3)));
        assert_eq!(frames(0x1001, 0x2000), Some((2, 3)));
        assert_eq!(frames(0xfff, 0x2000), Some((1, 2)));
        assert_eq!(frames(0x1001, 0x1ffe), None);
        assert_eq!(frames(u64::MAX - 0x1fff, u64::MAX), Some(((1 << 52) - 2, (1 << 52) - 1)));
    }

    // Proves that revision 1 has proximity domains of eight bits. Fails when its reserved bytes are read.
    #[test]
    fn revision_one_domains_are_bytes() {
        let mut bytes = table(&[memory(0xffff_ff01, 0, 0x1000, ENABLED)]);
        assert_eq!(Srat(&bytes).memory().next().unwrap().unwrap().node, NodeId(0xffff_ff01));
        bytes[REVISION_AT] = 1;
        assert_eq!(Srat(&bytes).memory().next().unwrap().unwrap().node, NodeId(1));
    }

    // Proves that lengths of 0, 1, too short for the kind, and beyond the end end the walk with an error, after the entries
    // before. Fails when the walk continues or loses an entry.
    #[test]
    fn bad_lengths_end_the_walk() {
        for length in [0, 1, 39, 41, 255] {
            let mut bad = memory(2, 0x2000, 0x1000, ENABLED);
            bad[1] = length;
            let bytes = table(&[memory(1, 0x1000, 0x1000, ENABLED | HOT_PLUGGABLE), bad]);
            let all: Vec<_> = Srat(&bytes).memory().collect();
            assert_eq!(all.len(), 2, "length {length}");
            assert_eq!(all[1], Err(SratError::BadEntry { offset: ENTRIES + MEMORY_AFFINITY_BYTES, length }));
            assert_eq!(Srat(&bytes).hot_pluggable().count(), 1);
        }
    }

    // Proves that no prefix of a table, no overflowing range and no changed byte makes a walk panic or run forever.
    #[test]
    fn any_bytes_are_read_to_their_end() {
        let whole = table(&[memory(1, u64::MAX - 5, u64::MAX, ENABLED), memory(0, 0x1000, 0x5000, 3)]);
        for end in 0..whole.len() {
            assert!(Srat(&whole[..end]).memory().count() <= 3);
        }
        for at in 0..whole.len() {
            for value in 0..=255 {
                let mut bytes = whole.clone();
                bytes[at] = value;
                assert!(Srat(&bytes).memory().count() <= 40);
                pieces(&bytes, 0, u64::MAX >> 12);
            }
        }
    }
}
