//! What the memory core tells about itself: plain values that the shell prints and tests compare.
//!
//! They are snapshots: each is taken under the locks it needs and holds no reference. Neighbours:
//! `memory` fills them, the shell's `resources`, `sections`, `page`, `meminfo` and `map` print them.

use core::fmt;

use arrayvec::ArrayVec;

use crate::addr::{NodeId, Order, Pfn, PfnRange, PhysAddr, SectionNr, VirtAddr};
use crate::boot_alloc::Owner;

/// Ranges a device may have at most (a `_CRS` with more is refused with a reason).
pub const MAX_DEVICE_RANGES: usize = 16;

/// The device a resource belongs to: a number of the caller's, who keeps the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId(pub u32);

impl DeviceId {
    /// Memory that was there at boot and belongs to no device.
    pub const BOOT: DeviceId = DeviceId(u32::MAX);
}

/// A resource: one range of memory with its own memmap and buddy. Counted from 0, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub u32);

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a resource's frames may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Pinned allocations are welcome: boot memory, and what `online --kernel` asked for.
    Kernel,
    /// Movable allocations only, so that it can be removed again.
    Movable,
    /// Every kind; pinned ones come here last. The default for hot-added memory.
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

/// What becomes of memory that is hot-added: the shell's `policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes online, in this zone.
    Online(Zone),
    /// It is added, and none of its frames can be allocated.
    Offline,
}

impl Policy {
    /// All of them; the first is the one after boot.
    pub const ALL: [Policy; 4] = [
        Policy::Online(Zone::Any),
        Policy::Offline,
        Policy::Online(Zone::Movable),
        Policy::Online(Zone::Kernel),
    ];

    /// Its name, as `policy` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Online(Zone::Any) => "online",
            Policy::Offline => "offline",
            Policy::Online(Zone::Movable) => "movable",
            Policy::Online(Zone::Kernel) => "kernel",
        }
    }

    /// The policy of that name.
    pub fn named(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// The zone of what is added. What is offline gets one that suits it when it goes online.
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

/// Whether a resource's usable frames may be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceState {
    /// All of them.
    Online,
    /// None of them.
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

/// What adding a resource cost. Counts of entries are page-table entries of 8 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddStats {
    /// Nanoseconds for the checks.
    pub check_ns: u64,
    /// Nanoseconds for direct map and vmemmap.
    pub map_ns: u64,
    /// Nanoseconds for header, free blocks and going online.
    pub online_ns: u64,
    /// Page-table entries written, for direct map and vmemmap together.
    pub entries_written: u64,
    /// Page-table pages made inside the resource.
    pub tables: u64,
    /// Descriptors written: those of the memmap's own frames that the allocator's first groups lie in, one for each
    /// group. No other is written, as nothing is held yet.
    pub descriptors_written: u64,
    /// Frames of all other resources that the add took: free ones before less free ones after,
    /// measured for each add.
    pub existing_pages_used: u64,
}

/// A resource as `resources` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceInfo {
    /// Its number.
    pub id: ResourceId,
    /// Whose it is; [`DeviceId::BOOT`] for boot memory.
    pub device: DeviceId,
    /// All its frames.
    pub range: PfnRange,
    /// Its node.
    pub node: NodeId,
    /// What it may be used for.
    pub zone: Zone,
    /// Whether it is in use.
    pub state: ResourceState,
    /// The first frame that carries the resource's own data.
    pub memmap_start: Pfn,
    /// Frames that are not usable since they carry the resource's own data (for boot memory also
    /// what is pinned since boot).
    pub memmap_pages: u64,
    /// The first frame of the usable run.
    pub usable_start: Pfn,
    /// Frames that can be allocated, or could if they were online.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
    /// Offline frames.
    pub offline_pages: u64,
    /// Frames of allocations that can be migrated.
    pub movable_pages: u64,
    /// Frames of allocations that stay where they are (without those pinned since boot).
    pub pinned_pages: u64,
    /// Frames of the largest free block.
    pub largest_free_pages: u64,
    /// The highest order a block of this resource can have.
    pub max_order: Order,
    /// What adding it cost.
    pub add: AddStats,
}

/// The state of a resource's part of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionState {
    /// Its usable frames may be allocated.
    Online,
    /// They may not.
    Offline,
    /// It has none: all of it carries the resource's own data.
    Memmap,
}

impl fmt::Display for SectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SectionState::Online => "online",
            SectionState::Offline => "offline",
            SectionState::Memmap => "memmap",
        })
    }
}

/// One resource's part of one section, as `sections` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionRow {
    /// The section.
    pub section: SectionNr,
    /// The resource.
    pub resource: ResourceId,
    /// The resource's node.
    pub node: NodeId,
    /// Frames of the resource in the section; the rows below are parts of them.
    pub present_pages: u64,
    /// Frames that carry the resource's own data.
    pub memmap_pages: u64,
    /// Usable frames.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
    /// Its state.
    pub state: SectionState,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// It carries its resource's own data: memmap, header or page tables.
    Memmap,
    /// Free (a cached single frame counts as free).
    Free,
    /// Allocated, can be migrated.
    Movable,
    /// Allocated, stays where it is.
    Pinned,
    /// Not to be allocated.
    Offline,
    /// No resource has it.
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
            PageState::Absent => "absent",
        })
    }
}

/// Who holds an allocated block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody is noted (free and offline blocks, and blocks whose holder did not say).
    None,
    /// What is mapped at this address (the reverse map: the block's first frame is mapped there).
    Mapping(VirtAddr),
    /// It is a page table of the alloc window, for this address (0: one in reserve).
    Table(VirtAddr),
    /// It is pinned since boot.
    Boot(Owner),
}

/// A frame as `page` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageInfo {
    /// The frame.
    pub pfn: Pfn,
    /// Where its descriptor is (whether or not that is mapped).
    pub descriptor: VirtAddr,
    /// What it is.
    pub state: PageState,
    /// The order of its block; `None` for memmap and absent.
    pub order: Option<Order>,
    /// The first frame of its block; `None` for memmap and absent.
    pub head: Option<Pfn>,
    /// Its resource.
    pub resource: Option<ResourceId>,
    /// Who holds its block.
    pub holder: Holder,
}

/// A block of a resource, as a walk in address order meets it. Frames of a hot-added resource in
/// front of its usable run (its own data) come as blocks too, each with `order` `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its frames.
    pub range: PfnRange,
    /// What they are; never [`PageState::Absent`].
    pub state: PageState,
    /// Its order; `None` for memmap.
    pub order: Option<Order>,
    /// Who holds it.
    pub holder: Holder,
}

/// Sums over all resources, as `meminfo` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Present frames.
    pub total_pages: u64,
    /// Usable frames, offline ones included.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
    /// Offline frames.
    pub offline_pages: u64,
    /// Frames that carry resources' own data or are pinned since boot.
    pub memmap_pages: u64,
    /// Page tables outside of resources' own room (those made at boot).
    pub page_table_pages: u64,
    /// Resources.
    pub resources: u64,
}

/// Sums over the resources of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeTotals {
    /// The node.
    pub node: NodeId,
    /// Present frames.
    pub total_pages: u64,
    /// Usable frames, offline ones included.
    pub usable_pages: u64,
    /// Free frames.
    pub free_pages: u64,
}

/// One range of memory to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddRequest {
    /// Its first byte.
    pub base: PhysAddr,
    /// Its bytes.
    pub size: u64,
    /// The node that the firmware says it belongs to.
    pub node: NodeId,
}

/// What an add made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The new resources, in the order of the requests.
    pub ids: ArrayVec<ResourceId, MAX_DEVICE_RANGES>,
    /// Usable frames of all of them, offline ones included.
    pub usable_pages: u64,
    /// The sums of what they cost.
    pub stats: AddStats,
}

/// A usable range of the firmware's memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRange {
    /// Its whole frames.
    pub range: PfnRange,
    /// The node that SRAT says it belongs to.
    pub node: NodeId,
}
