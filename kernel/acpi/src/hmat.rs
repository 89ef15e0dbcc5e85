//! The Heterogeneous Memory Attribute Table (ACPI 6.5, section 5.2.28): latency and bandwidth from initiators (nodes
//! with processors) to targets (nodes with memory).
//!
//! ```text
//!  header (36) | reserved (4) | structure: type (2), reserved (2), length (4), ... | structure | ...
//!   type 1: flags (1) | data type (1) | transfer size (1) | reserved (1) | I (4) | T (4) | reserved (4) | unit (8)
//!           | I initiators (4 each) | T targets (4 each) | I rows of T entries (2 each)
//! ```
//!
//! An entry times the unit is a latency in picoseconds or a bandwidth in MB/s; 0 is "not provided", 0xffff "not
//! reachable". Type 0 (which initiator is attached to a target) and type 2 (memory-side caches) are skipped: the values of
//! type 1 rank the targets without them. Invariants: a walk ends for any bytes; a table of revision 1 has no values, since
//! its units were redefined by revision 2 and Linux and firmware disagree about them.

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};
use arrayvec::ArrayVec;
use carapace_mm::MAX_NODES;
use carapace_mm::addr::NodeId;
use core::cmp::Ordering;
use core::fmt;

/// The offset of the first structure.
const STRUCTURES: usize = 40;
const HEADER_BYTES: usize = 8;
/// The structure with latencies or bandwidths.
const LOCALITY: u16 = 1;
/// The offset of its first initiator.
const INITIATORS: usize = 32;
/// Its flags: the values are those of memory, not of one of its caches.
const HIERARCHY: u8 = 0xf;
const UNREACHABLE: u16 = 0xffff;
/// Structures that are read, and initiators or targets that one may have: a lookup is linear in all of them. Real tables
/// have a few.
const MAX_STRUCTURES: usize = 64;
const MAX_DOMAINS: usize = 256;
/// The first revision with these units.
const REVISION: u8 = 2;

/// A time in picoseconds; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Picoseconds(pub u64);

impl fmt::Display for Picoseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ns", self.0 / 1000, self.0 % 1000 / 100)
    }
}

/// A bandwidth in MB/s; at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bandwidth(pub u64);

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB/s", self.0)
    }
}

/// What the table says about a pair of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Performance {
    /// Of a read, if reads and writes differ.
    pub latency: Option<Picoseconds>,
    /// Of reads, if reads and writes differ.
    pub bandwidth: Option<Bandwidth>,
}

impl Performance {
    /// Which of two targets is faster, seen from one initiator: `Less` if it is `self`. By the quotient of latency and
    /// bandwidth (Linux: `mt_perf_to_adistance`), so memory with a slightly longer latency and several times the
    /// bandwidth, as HBM has, is faster. If a value is missing on either side, the other one decides; a target without
    /// values is slower than all that have some.
    pub fn compare(&self, other: &Performance) -> Ordering {
        let product = |latency: Picoseconds, bandwidth: Bandwidth| {
            u128::from(latency.0).saturating_mul(bandwidth.0.into())
        };
        let latencies = self.latency.zip(other.latency);
        match (latencies, self.bandwidth.zip(other.bandwidth)) {
            (Some((latency, other_latency)), Some((bandwidth, other_bandwidth))) => {
                product(latency, other_bandwidth).cmp(&product(other_latency, bandwidth))
            }
            (Some((latency, other)), None) => latency.cmp(&other),
            (None, Some((bandwidth, other))) => other.cmp(&bandwidth),
            (None, None) => other.is_known().cmp(&self.is_known()),
        }
    }

    /// Whether there is any value.
    pub const fn is_known(&self) -> bool {
        self.latency.is_some() || self.bandwidth.is_some()
    }
}

/// The kind of value of a structure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Latency,
    ReadLatency,
    Bandwidth,
    ReadBandwidth,
}

impl Kind {
    /// Values of writes alone are not used.
    const fn of(data_type: u8) -> Option<Kind> {
        Some(match data_type {
            0 => Kind::Latency,
            1 => Kind::ReadLatency,
            3 => Kind::Bandwidth,
            4 => Kind::ReadBandwidth,
            _ => return None,
        })
    }
}

/// The table's bytes, header included, checksum verified by the caller.
#[derive(Clone, Copy, Debug)]
pub struct Hmat<'a>(pub &'a [u8]);

impl<'a> Hmat<'a> {
    /// The latency and the bandwidth from `initiator` to `target`. The first structure with a value counts.
    pub fn performance(&self, initiator: NodeId, target: NodeId) -> Performance {
        let value = |kinds: [Kind; 2]| {
            kinds.into_iter().find_map(|kind| {
                let mut structures = self.localities().filter(|locality| locality.kind == kind);
                structures.find_map(|locality| locality.value(initiator, target))
            })
        };
        Performance {
            latency: value([Kind::Latency, Kind::ReadLatency]).map(Picoseconds),
            bandwidth: value([Kind::Bandwidth, Kind::ReadBandwidth]).map(Bandwidth),
        }
    }

    /// The rank of `target` among all targets, seen from `initiator`: how many are faster. `None` if nothing is known
    /// about the pair.
    pub fn rank(&self, initiator: NodeId, target: NodeId) -> Option<u8> {
        let own = self.performance(initiator, target);
        let is_faster = |&other: &NodeId| self.performance(initiator, other).compare(&own) == Ordering::Less;
        let faster = self.targets().iter().filter(|other| is_faster(other)).count();
        own.is_known().then(|| u8::try_from(faster).unwrap_or(u8::MAX))
    }

    /// The nodes that are initiators, in the table's order; at most [`MAX_NODES`].
    pub fn initiators(&self) -> ArrayVec<NodeId, MAX_NODES> {
        let of = |locality: Locality<'a>| {
            (0..locality.initiators).filter_map(move |number| locality.initiator(number))
        };
        distinct(self.localities().flat_map(of))
    }

    /// The nodes that are targets, in the table's order; at most [`MAX_NODES`].
    pub fn targets(&self) -> ArrayVec<NodeId, MAX_NODES> {
        let of =
            |locality: Locality<'a>| (0..locality.targets).filter_map(move |number| locality.target(number));
        distinct(self.localities().flat_map(of))
    }

    fn localities(&self) -> impl Iterator<Item = Locality<'a>> + use<'a> {
        let known = u8_at(self.0, 8).is_some_and(|revision| revision >= REVISION);
        let structures = Structures(self.0.get(STRUCTURES..).filter(|_| known).unwrap_or_default());
        structures.take(MAX_STRUCTURES).filter_map(Locality::read)
    }
}

fn distinct(nodes: impl Iterator<Item = NodeId>) -> ArrayVec<NodeId, MAX_NODES> {
    let mut list = ArrayVec::new();
    for node in nodes {
        if !list.contains(&node) && list.try_push(node).is_err() {
            break;
        }
    }
    list
}

/// A walk over the structures; it ends at the first with an impossible length.
struct Structures<'a>(&'a [u8]);

impl<'a> Iterator for Structures<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32_at(self.0, 4)?).ok()?;
        let (structure, rest) = self.0.split_at_checked(length.max(HEADER_BYTES))?;
        self.0 = rest;
        Some(structure)
    }
}

/// A structure of type 1 whose lists and entries are all there.
#[derive(Clone, Copy)]
struct Locality<'a> {
    bytes: &'a [u8],
    kind: Kind,
    initiators: usize,
    targets: usize,
    unit: u64,
}

impl<'a> Locality<'a> {
    fn read(bytes: &'a [u8]) -> Option<Locality<'a>> {
        let kind = Kind::of(u8_at(bytes, 9)?)?;
        let is_of_memory = u16_at(bytes, 0)? == LOCALITY && u8_at(bytes, 8)? & HIERARCHY == 0;
        let initiators = usize::try_from(u32_at(bytes, 12)?).ok()?;
        let targets = usize::try_from(u32_at(bytes, 16)?).ok()?;
        let unit = u64_at(bytes, 24)?;
        let locality = Locality { bytes, kind, initiators, targets, unit };
        let fits = initiators.max(targets) <= MAX_DOMAINS;
        (is_of_memory && fits && locality.end()? <= bytes.len()).then_some(locality)
    }

    /// The offset of the first entry.
    fn entries(&self) -> Option<usize> {
        self.initiators.checked_add(self.targets)?.checked_mul(4)?.checked_add(INITIATORS)
    }

    /// The offset behind the last entry.
    fn end(&self) -> Option<usize> {
        self.initiators.checked_mul(self.targets)?.checked_mul(2)?.checked_add(self.entries()?)
    }

    fn domain(&self, number: usize) -> Option<NodeId> {
        u32_at(self.bytes, number.checked_mul(4)?.checked_add(INITIATORS)?).map(NodeId)
    }

    fn initiator(&self, number: usize) -> Option<NodeId> {
        self.domain(number)
    }

    fn target(&self, number: usize) -> Option<NodeId> {
        self.domain(self.initiators.checked_add(number)?)
    }

    fn value(&self, initiator: NodeId, target: NodeId) -> Option<u64> {
        let row = (0..self.initiators).find(|&at| self.initiator(at) == Some(initiator))?;
        let column = (0..self.targets).find(|&at| self.target(at) == Some(target))?;
        let entry = row.checked_mul(self.targets)?.checked_add(column)?.checked_mul(2)?;
        let entry = u16_at(self.bytes, self.entries()?.checked_add(entry)?)?;
        let value = u64::from(entry).checked_mul(self.unit)?;
        (entry != UNREACHABLE && value > 0).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn locality(data_type: u8, unit: u64, initiators: &[u32], targets: &[u32], entries: &[u16]) -> Vec<u8> {
        let mut bytes = std::vec![1, 0, 0, 0, 0, 0, 0, 0, 0, data_type, 0, 0];
        bytes.extend((initiators.len() as u32).to_le_bytes());
        bytes.extend((targets.len() as u32).to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(unit.to_le_bytes());
        bytes.extend(initiators.iter().chain(targets).flat_map(|domain| domain.to_le_bytes()));
        bytes.extend(entries.iter().flat_map(|entry| entry.to_le_bytes()));
        let length = bytes.len() as u32;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        bytes
    }

    fn table(revision: u8, structures: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = std::vec![0; STRUCTURES];
        bytes[8] = revision;
        bytes.extend(structures.iter().flatten());
        bytes
    }

    fn of(latency: u64, bandwidth: u64) -> Performance {
        Performance {
            latency: (latency > 0).then_some(Picoseconds(latency)),
            bandwidth: (bandwidth > 0).then_some(Bandwidth(bandwidth)),
        }
    }

    // Proves that rows are initiators and columns targets, that the unit is applied, and that an unreachable target, one
    // without a value and one that the table does not name have none. Fails when the lists or the entries are read at a
    // wrong offset.
    #[test]
    fn reads_latency_and_bandwidth() {
        let cache = {
            let mut cache = locality(0, 1, &[0], &[0], &[1]);
            cache[8] = 1; // a memory-side cache's
            cache
        };
        let attributes = {
            let mut bytes = std::vec![0; 40];
            bytes[4] = 40;
            bytes
        };
        let bytes = table(
            2,
            &[
                attributes,
                cache,
                locality(0, 1000, &[0, 5], &[0, 5, 9], &[80, 140, 0xffff, 141, 81, 0]),
                locality(4, 100, &[0], &[0, 9], &[200, 20]),
                locality(2, 1, &[0], &[9], &[1]), // writes alone
            ],
        );
        let hmat = Hmat(&bytes);
        let at = |initiator, target| hmat.performance(NodeId(initiator), NodeId(target));
        assert_eq!(at(0, 0), of(80_000, 20_000));
        assert_eq!(at(0, 5), of(140_000, 0));
        assert_eq!(at(5, 0), of(141_000, 0));
        assert_eq!((at(0, 9), at(5, 9), at(9, 0), at(0, 1)), (of(0, 2_000), of(0, 0), of(0, 0), of(0, 0)));
        let ranks = [0, 5, 9, 1].map(|target| hmat.rank(NodeId(0), NodeId(target)));
        assert_eq!(ranks, [Some(0), Some(1), Some(1), None]);
        assert_eq!(hmat.initiators().as_slice(), [NodeId(0), NodeId(5)]);
        assert_eq!(hmat.targets().as_slice(), [NodeId(0), NodeId(5), NodeId(9)]);
        assert_eq!(
            (Picoseconds(80_150).to_string(), Bandwidth(5).to_string()),
            ("80.1 ns".into(), "5 MB/s".into())
        );
    }

    // Proves that latency and bandwidth decide together, that either decides alone, and that what has no values comes
    // last. Fails when a slower target compares as the faster one.
    #[test]
    fn faster_comes_first() {
        let (dram, hbm, cxl, unknown) =
            (of(90_000, 200_000), of(110_000, 900_000), of(250_000, 30_000), of(0, 0));
        let mut targets = [unknown, cxl, dram, hbm];
        targets.sort_by(Performance::compare);
        assert_eq!(targets, [hbm, dram, cxl, unknown]);
        assert_eq!(of(80, 0).compare(&of(90, 1 << 40)), Ordering::Less);
        assert_eq!(of(0, 80).compare(&of(5, 90)), Ordering::Greater);
        assert_eq!(of(u64::MAX, u64::MAX).compare(&of(u64::MAX, u64::MAX)), Ordering::Equal);
    }

    // Proves that structures which are cut, claim impossible numbers, or stand in a table of revision 1 have no value, and
    // that those before them count. Fails when a length or a count is trusted; no content may cause a panic.
    #[test]
    fn broken_tables() {
        let good = locality(0, 1, &[0], &[0], &[7]);
        let value = |bytes: &[u8]| {
            assert!(Hmat(bytes).initiators().len() <= 1 && Hmat(bytes).targets().len() <= 1);
            Hmat(bytes).performance(NodeId(0), NodeId(0)).latency
        };
        assert_eq!(value(&table(1, core::slice::from_ref(&good))), None);
        let whole = table(2, core::slice::from_ref(&good));
        assert_eq!(value(&whole), Some(Picoseconds(7)));
        for end in 0..whole.len() {
            assert_eq!(value(&whole[..end]), None);
        }
        for (at, bytes) in [(12, u32::MAX), (16, u32::MAX), (12, 2), (16, 2), (4, 0), (4, u32::MAX), (4, 9)] {
            let mut bad = good.clone();
            bad[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
            assert_eq!(value(&table(2, &[bad.clone()])), None, "{at} {bytes:#x}");
            assert_eq!(value(&table(2, &[good.clone(), bad])), Some(Picoseconds(7)), "{at} {bytes:#x}");
        }
        let many: Vec<u32> = (0..=MAX_DOMAINS as u32).collect();
        assert_eq!(value(&table(2, &[locality(0, 1, &many, &[0], &std::vec![7; many.len()])])), None);
        assert_eq!(value(&table(2, &[locality(0, u64::MAX, &[0], &[0], &[2])])), None);
    }
}
