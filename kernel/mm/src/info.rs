//! Statistics of the memory core: plain values that the shell prints and tests compare.
//!
//! They are snapshots, taken under the necessary locks, and hold no references. Neighbours: `query` fills them in; the
//! shell's `resources`, `sections`, `page`, `meminfo` and `map` print them.

use core::fmt;

use arrayvec::ArrayVec;

use crate::addr::{NodeId, Order, Pfn, PfnRange, PhysAddr, SectionNr, VirtAddr};
use crate::boot_alloc::Owner;

/// Limit of ranges per device. A device whose `_CRS` has more is refused.
pub const MAX_DEVICE_RANGES: usize = 16;

/// The device that a resource belongs to: a number assigned by the caller, who maps it to an ACPI name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

impl DeviceId {
    /// Boot memory, which belongs to no device.
    pub const BOOT: DeviceId = DeviceId(u32::MAX);
}

/// A resource: one range of memory with its own memmap and buddy. Numbered from 0, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub u32);

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The allocations that a resource accepts. Linux: `ZONE_NORMAL`, `ZONE_MOVABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Preferred for pinned allocations: boot memory, and memory onlined by `online --kernel`.
    Kernel,
    /// Movable allocations only, so that the memory can be removed again.
    Movable,
    /// All allocations; pinned ones only as a last resort. The default for hot-added memory.
    Any,
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Zone::Kernel => "kernel",
            Zone::Movable => "movable",
            Zone::Any => "any",
        })
    }
}

/// What happens to hot-added memory: the shell's `policy`. Linux: `auto_online_blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is brought online in this zone.
    Online(Zone),
    /// It stays offline: added, but none of its frames can be allocated.
    Offline,
}

impl Policy {
    /// All policies; the first is the default.
    pub const ALL: [Policy; 4] = [
        Policy::Online(Zone::Any),
        Policy::Offline,
        Policy::Online(Zone::Movable),
        Policy::Online(Zone::Kernel),
    ];

    /// The name that `policy` accepts.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Online(Zone::Any) => "online",
            Policy::Offline => "offline",
            Policy::Online(Zone::Movable) => "movable",
            Policy::Online(Zone::Kernel) => "kernel",
        }
    }

    /// The policy with that name.
    pub fn named(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The zone of added memory. Memory that stays offline gets its zone when it is brought online.
    pub const fn zone(self) -> Zone {
        match self {
            Policy::Online(zone) => zone,
            Policy::Offline => Zone::Any,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How the node of a movable allocation without a node is chosen: the shell's `policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChoice {
    /// The fastest memory first, where the firmware tells speeds (HMAT).
    Fastest,
    /// The CPU's node first, then by free frames, whatever the speed.
    MostFree,
}

impl NodeChoice {
    /// Both; the first is the default.
    pub const ALL: [NodeChoice; 2] = [NodeChoice::Fastest, NodeChoice::MostFree];

    /// The name that `policy` accepts.
    pub const fn name(self) -> &'static str {
        match self {
            NodeChoice::Fastest => "fastest",
            NodeChoice::MostFree => "most-free",
        }
    }

    /// The choice with that name.
    pub fn named(name: &str) -> Option<NodeChoice> {
        NodeChoice::ALL.into_iter().find(|choice| choice.name() == name)
    }
}

impl fmt::Display for NodeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a resource's usable frames can be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceState {
    /// All can.
    Online,
    /// None can.
    Offline,
    /// Some sections are offline.
    Partial,
}

impl fmt::Display for ResourceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResourceState::Online => "online",
            ResourceState::Offline => "offline",
            ResourceState::Partial => "partial",
        })
    }
}

/// The cost of adding a resource. Entries are page-table entries of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddStats {
    /// Nanoseconds for the checks.
    pub check_ns: u64,
    /// Nanoseconds for direct map and vmemmap.
    pub map_ns: u64,
    /// Nanoseconds for writing the header and initial groups, and publishing the resource.
    pub online_ns: u64,
    /// Page-table entries written, in direct map and vmemmap together.
    pub entries_written: u64,
    /// Page tables allocated inside the resource.
    pub tables: u64,
    /// Descriptor slots written: those of the memmap's own frames that hold the initial groups, one per group. No other
    /// descriptor is written, because no block is held yet.
    pub descriptors_written: u64,
    /// Frames that the add wrote to, which a host must provide: page tables, header, groups, and the first frame.
    pub frames_written: u64,
    /// Aligned runs of 2 MiB that contain these: what a host with huge pages must provide.
    pub large_frames_written: u64,
    /// Frames of other resources that the add consumed: those that its CPU allocated meanwhile. Expected to be 0.
    pub existing_pages_used: u64,
}

/// A resource, as `resources` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    /// Its number.
    pub id: ResourceId,
    /// Its device; [`DeviceId::BOOT`] for boot memory.
    pub device: DeviceId,
    /// All its frames.
    pub range: PfnRange,
    /// Its node.
    pub node: NodeId,
    /// Its zone.
    pub zone: Zone,
    /// Whether it is online.
    pub state: ResourceState,
    /// The first frame of its metadata.
    pub memmap_start: Pfn,
    /// Frames of its metadata, which are not usable; for boot memory including frames pinned since boot.
    pub memmap_pages: u64,
    /// The first frame of the usable run.
    pub usable_start: Pfn,
    /// Usable frames, including offline ones.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
    /// Offline frames.
    pub offline_pages: u64,
    /// Frames of the range that are not plugged; no other field counts them.
    pub unplugged_pages: u64,
    /// Frames of movable allocations.
    pub movable_pages: u64,
    /// Frames of pinned allocations, without those pinned since boot.
    pub pinned_pages: u64,
    /// Frames of the largest free block.
    pub largest_free_pages: u64,
    /// The highest order a block of this resource can have.
    pub max_order: Order,
    /// The cost of adding it.
    pub add: AddStats,
}

/// The state of a resource's part of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionState {
    /// Its usable frames can be allocated.
    Online,
    /// Its usable frames cannot be allocated.
    Offline,
    /// It has no usable frames, only the resource's metadata.
    Memmap,
    /// None of its frames is plugged.
    Unplugged,
}

impl fmt::Display for SectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SectionState::Online => "online",
            SectionState::Offline => "offline",
            SectionState::Memmap => "memmap",
            SectionState::Unplugged => "unplugged",
        })
    }
}

/// One resource's part of one section, as `sections` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionRow {
    /// The section.
    pub section: SectionNr,
    /// The resource.
    pub resource: ResourceId,
    /// The resource's node.
    pub node: NodeId,
    /// Frames of the resource in the section; the next three fields are subsets of them.
    pub present_pages: u64,
    /// Frames of the resource's metadata.
    pub memmap_pages: u64,
    /// Usable frames.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
    /// Its state.
    pub state: SectionState,
}

/// The state of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Metadata of its resource: memmap, header or page tables.
    Memmap,
    /// Free, including frames in the frame cache.
    Free,
    /// Allocated, can be migrated.
    Movable,
    /// Allocated, cannot be migrated.
    Pinned,
    /// Excluded from allocation.
    Offline,
    /// Not plugged into its chunk of virtio-mem memory.
    Unplugged,
    /// No resource contains it.
    Absent,
}

impl fmt::Display for PageState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PageState::Memmap => "memmap",
            PageState::Free => "free",
            PageState::Movable => "movable",
            PageState::Pinned => "pinned",
            PageState::Offline => "offline",
            PageState::Unplugged => "unplugged",
            PageState::Absent => "absent",
        })
    }
}

/// The owner of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// None recorded: free and offline blocks, and blocks whose allocator recorded none.
    None,
    /// A mapping: the block's first frame is mapped at this address (the reverse map).
    Mapping(VirtAddr),
    /// A vmalloc page table for this address (0: one in reserve).
    Table(VirtAddr),
    /// Free memory that the host is being told of, see `reporting`.
    Reported,
    /// Pinned since boot.
    Boot(Owner),
}

/// A frame, as `page` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// The frame.
    pub pfn: Pfn,
    /// Address of its descriptor, mapped or not.
    pub descriptor: VirtAddr,
    /// Its state.
    pub state: PageState,
    /// The order of its block; `None` for memmap and absent frames.
    pub order: Option<Order>,
    /// The first frame of its block; `None` for memmap and absent frames.
    pub head: Option<Pfn>,
    /// Its resource.
    pub resource: Option<ResourceId>,
    /// The owner of its block.
    pub holder: Holder,
}

/// A block of a resource, in a walk by ascending address. Metadata in front of a hot-added resource's usable run is
/// reported as a block with `order` `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its frames.
    pub range: PfnRange,
    /// Their state; never [`PageState::Absent`].
    pub state: PageState,
    /// Its order; `None` for memmap.
    pub order: Option<Order>,
    /// Its owner.
    pub holder: Holder,
}

/// Totals over all resources, as `meminfo` prints them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Present frames.
    pub total_pages: u64,
    /// Usable frames, including offline ones.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
    /// Offline frames.
    pub offline_pages: u64,
    /// Frames of metadata or pinned since boot.
    pub memmap_pages: u64,
    /// Page tables outside the resources' metadata (those populated at boot).
    pub page_table_pages: u64,
    /// Number of resources.
    pub resources: u64,
}

/// Totals over the resources of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeTotals {
    /// The node.
    pub node: NodeId,
    /// Present frames.
    pub total_pages: u64,
    /// Usable frames, including offline ones.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
}

/// A range of memory to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddRequest {
    /// Its first byte.
    pub base: PhysAddr,
    /// Its bytes.
    pub size: u64,
    /// The node that the firmware reports (`_PXM`, SRAT).
    pub node: NodeId,
}

/// When an add makes sure that a range is as long as the firmware says: it writes to the last frame and reads it back,
/// which costs a host a page, of 2 MiB if it uses huge ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnd {
    /// During the add, which is refused when no memory answers.
    AtOnce,
    /// Before the first allocation from the range. When no memory answers then, all of it goes offline, unused.
    AtFirstUse,
}

/// A resource that went offline because its last frame does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingEnd {
    /// The resource.
    pub resource: ResourceId,
    /// Its last frame.
    pub pfn: Pfn,
}

/// The result of an add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The new resources, in the order of the requests.
    pub ids: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// Usable frames of all of them, including offline ones.
    pub usable_pages: u64,
    /// The sums of their costs.
    pub stats: AddStats,
}

/// A usable range of the firmware's memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRange {
    /// Its whole frames.
    pub range: PfnRange,
    /// The node that SRAT reports.
    pub node: NodeId,
}
