//! Resources, sections, sums and free blocks: `resources`, `sections`, `meminfo`, `numa`, `buddyinfo`.

use crate::{Device, Holder, Text, Word, is_streamed};
use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

/// What adding a resource cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    /// Microseconds in the device's AML.
    pub aml_us: u64,
    /// Microseconds for checks, direct map and vmemmap.
    pub map_us: u64,
    /// Microseconds for free blocks and going online.
    pub online_us: u64,
    /// Nanoseconds from the interrupt to the end of `_OST`; 0 where there was none. The next four are parts of it.
    pub answer_ns: u64,
    /// All of the firmware's code in that time: its scan of the slots, the device's own, `_OST`.
    pub aml_ns: u64,
    pub check_ns: u64,
    /// Direct map and vmemmap.
    pub map_ns: u64,
    /// Free blocks and going online.
    pub online_ns: u64,
    /// Frames taken from memory that was there before.
    pub existing_pages_used: u64,
    /// Bytes of the kernel's heap that the add left in use; 0 where there was no `_OST`.
    pub existing_heap_bytes_used: u64,
    /// Page-table entries written.
    pub entries_written: u64,
    /// Page-table pages made inside the resource.
    pub tables: u64,
    /// Descriptors written: those that the allocator's first groups lie in.
    pub descriptors_written: u64,
    /// Frames written, so that the host must provide them.
    #[serde(default)]
    pub frames_written: u64,
    /// Aligned runs of 2 MiB with a written frame: the pages of a host with huge pages.
    #[serde(default)]
    pub large_frames_written: u64,
}

/// A row of `dimms`: a memory device that has memory, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimm {
    /// QEMU's name for it, where the host has told it.
    pub id: Option<Text<48>>,
    pub slot: Option<u32>,
    pub device: Device,
    /// Its first byte; `None` without memory in the memory core, as the next two.
    pub base: Option<u64>,
    pub size: Option<u64>,
    pub node: Option<u32>,
    /// As that of `acpi`.
    pub state: Text<160>,
    pub resources: ArrayVec<u32, 16>,
}

/// The answer of `plug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plug {
    pub id: Text<48>,
    pub size: u64,
    pub node: u32,
    pub state: Word,
}

/// The answer of `unplug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unplug {
    pub id: Text<48>,
}

/// A row of `resources`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Never reused.
    pub id: u32,
    pub device: Device,
    pub base: u64,
    pub size: u64,
    pub node: u32,
    /// "kernel", "movable" or "any".
    pub zone: Word,
    /// "online", "offline" or "partial".
    pub state: Word,
    pub memmap_start_pfn: u64,
    /// Frames with the resource's own data; in boot memory also the frames pinned since boot.
    pub memmap_pages: u64,
    pub usable_start_pfn: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    /// The largest free block.
    pub largest_free_pages: u64,
    pub offline_pages: u64,
    /// Frames of `size` that are not plugged; no other field counts them.
    #[serde(default)]
    pub unplugged_pages: u64,
    pub movable_pages: u64,
    pub pinned_pages: u64,
    /// Whether its content lets its device be removed: it is no boot memory, and nothing is pinned.
    pub removable: bool,
    /// The first pinned frame.
    pub pinned_pfn: Option<u64>,
    /// Who pins it.
    pub pinned_by: Option<Holder>,
    pub add: Add,
}

/// A row of `sections`: a section as far as one resource has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    pub section: u64,
    /// The section's first frame, present or not.
    pub start_pfn: u64,
    /// The section's frames, present or not.
    pub pages: u64,
    /// The first frame of the resource's part.
    #[serde(default)]
    pub first_pfn: u64,
    /// The resource's part of them.
    pub present_pages: u64,
    pub memmap_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub node: u32,
    /// "online", "offline", "memmap" (no usable frame) or "unplugged" (no plugged one).
    pub state: Word,
    /// The resource's number.
    pub resource: u32,
}

/// The answer of `meminfo`: sums over all resources, and by node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeminfoOf<Nodes> {
    pub total_pages: u64,
    /// Offline ones included.
    pub usable_pages: u64,
    pub free_pages: u64,
    pub offline_pages: u64,
    pub memmap_pages: u64,
    /// Page tables outside of the resources' own frames.
    pub page_table_pages: u64,
    pub heap_bytes: u64,
    pub heap_used: u64,
    #[serde(skip_serializing_if = "is_streamed")]
    pub nodes: Nodes,
}

/// `meminfo` with its nodes.
#[cfg(feature = "alloc")]
pub type Meminfo = MeminfoOf<alloc::vec::Vec<Node>>;

/// A node of `meminfo` and `numa`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub node: u32,
    pub total_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
}

/// The answer of `numa`.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numa {
    pub nodes: alloc::vec::Vec<Node>,
    /// From the row's node to the column's.
    pub distances: alloc::vec::Vec<alloc::vec::Vec<u8>>,
    /// Whether the firmware has a SLIT; else the distances are what Linux assumes.
    pub slit: bool,
    /// What the firmware's HMAT says.
    #[serde(default)]
    pub hmat: alloc::vec::Vec<Speed>,
}

/// How fast a node's memory is for a node's CPUs: a row of `numa`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Speed {
    /// The node with CPUs.
    pub initiator: u32,
    /// The node with memory.
    pub target: u32,
    pub latency_ps: Option<u64>,
    /// In MB/s.
    pub bandwidth: Option<u64>,
    /// How many targets are faster for this initiator.
    pub rank: u8,
}

/// Orders that a buddy allocator has at most.
pub const ORDERS_MAX: usize = 48;

/// A row of `buddyinfo`: the free blocks of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buddyinfo {
    pub resource: u32,
    pub node: u32,
    pub zone: Word,
    /// Blocks of order 0, 1, ...
    pub free: ArrayVec<u64, ORDERS_MAX>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streamed;

    // Proves that the kernel's form of an answer leaves its list out, and that the host reads it with the list added.
    #[test]
    fn streamed_lists() {
        let sums = MeminfoOf {
            total_pages: 1,
            usable_pages: 2,
            free_pages: 3,
            offline_pages: 4,
            memmap_pages: 5,
            page_table_pages: 6,
            heap_bytes: 7,
            heap_used: 8,
            nodes: Streamed,
        };
        let mut json = serde_json::to_value(sums).unwrap();
        assert_eq!(json.get("nodes"), None);
        json["nodes"] =
            serde_json::json!([{"node": 1, "total_pages": 1, "usable_pages": 2, "free_pages": 3}]);
        let read: MeminfoOf<std::vec::Vec<Node>> = serde_json::from_value(json.clone()).unwrap();
        assert_eq!((read.free_pages, read.nodes[0].node), (3, 1));
        assert_eq!(serde_json::to_value(read).unwrap(), json);
    }
}
