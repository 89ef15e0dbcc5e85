//! The memory core: sections, the memmap, page tables, the buddy allocator and memory hotplug.
//!
//! Hardware is reached only through the trait [`machine::Machine`], and nothing needs a heap; so the same code runs in
//! the kernel and, in host tests, on simulated memory.
//!
//! ```text
//!  memory      the facade: Memory<M> and its locks
//!   |-- boot, hot_add      add resources; all or nothing
//!   |-- hot_remove         remove them, take memory offline; all or nothing
//!   |-- allocate           blocks and runs            vmalloc   mapped allocations (the shell's `alloc`)
//!   |    |-- frame_cache   single frames and 2 MiB blocks, a cache per CPU; `drain` empties them
//!   |    |-- poison        detects writes to freed memory, on request
//!   |    `-- scratch       blocks with a test pattern; `access` keeps their memory mapped meanwhile
//!   |-- query, check       statistics; verification of all invariants; try_stats: statistics without waiting for a lock
//!   |    `-- protection    access rights, leaf by leaf
//!   |
//!   |-- hotplug_state      under the hotplug lock: features, hotpluggable ranges, the evacuation under way
//!   |-- zonelist -> region choice of a region; slots and the index of ranges; speeds: which node is faster
//!   |    `-- buddy         one region's allocator, over a lazily initialised memmap
//!   |-- layout, section    where a resource's metadata lies: arithmetic
//!   |-- descriptor, rmap   the 64-byte page descriptor; the owner of a block
//!   |-- parallel           work on many pages, on several CPUs
//!   |-- page_table         mapping; boot_alloc: frames before the buddy exists
//!   `-- merge              joins the pieces in which firmware describes a range
//! ```
//!
//! Each invariant is stated where it is kept: lazy initialisation of the memmap in `buddy`, placement in `layout`, what
//! an add may modify in `hot_add`, the lock order in [`carapace_lock::Rank`].
//!
//! # What `deny(unsafe_code)` guarantees here
//!
//! No statement of this crate is unsafe: all memory is accessed through the functions of one [`machine::Machine`]. That
//! leaves soundness to three places that are `unsafe` themselves: implementing `Machine`, which states the contract of
//! both sides; [`Memory::take_tables`] and [`Memory::boot`], whose callers guarantee that their description of memory is
//! true; and [`Memory::edit_tables`], for a kernel's own mappings. Given those guarantees, no call of a safe public
//! function accesses memory that the core does not own. `tests/unsafe_words.rs` lists each use of the word.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "sim"))]
extern crate std;

mod access;
pub mod addr;
pub mod address_space;
mod allocate;
mod boot;
pub mod boot_alloc;
mod buddy;
pub mod check;
pub mod chunk;
mod descriptor;
mod drain;
pub mod error;
pub mod fault;
pub mod fault_injection;
pub mod firmware_map;
mod frame_cache;
pub mod hot_add;
pub mod hot_remove;
mod hotplug_state;
pub mod info;
mod layout;
pub mod machine;
pub mod memory;
pub mod merge;
pub mod page_table;
mod parallel;
mod pieces;
pub mod poison;
mod probe;
pub mod protection;
mod publish;
mod query;
mod region;
pub mod reporting;
mod rmap;
pub mod scratch;
pub mod section;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod speeds;
mod sync;
mod tables;
pub mod try_stats;
pub mod vmalloc;
mod zonelist;

pub use addr::MAX_NODES;
pub use descriptor::Mobility;
pub use memory::Memory;
