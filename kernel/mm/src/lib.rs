//! The memory core: sections, the memmap, page tables, the buddy allocator and memory hotplug.
//!
//! It knows no hardware (`machine` is the door) and allocates nothing; the same code runs in the
//! kernel and, in host tests, over simulated memory.
//!
//! ```text
//!  memory      the facade: Memory<M>, its locks and their order
//!   |-- boot, hotplug      bring resources; all or nothing
//!   |-- remove             takes them away; all or nothing
//!   |-- allocate           blocks and runs            window   allocations mapped for the shell
//!   |    |-- frame_cache   single frames in front of the buddy
//!   |    `-- poison        watches what was freed, when asked to
//!   |-- inspect, check     what is there, and whether it is right; glance: in short, without waiting
//!   |    `-- protection    what may be done with memory, leaf by leaf
//!   |
//!   |-- node -> region     which region serves; slots and the index of ranges
//!   |    `-- buddy         one region's allocator, over a lazily initialised memmap
//!   |-- layout, section    where a resource's own data lies: arithmetic
//!   |-- page               the 64-byte descriptor
//!   |-- page_table, early  mapping; frames for the time before all this
//!   `-- merge              joins the pieces in which firmware names a range
//! ```
//!
//! The invariants stand where they are kept: what may be read of the memmap in `buddy`, where
//! everything lies in `layout`, what an add may touch in `hotplug`, the locks in `memory`.
//!
//! # What `deny(unsafe_code)` promises here
//!
//! No statement of this crate is unsafe: all memory is touched through the functions of one [`machine::Machine`]. That
//! moves the question of soundness to three places that say `unsafe` themselves: implementing `Machine`, which states
//! the contract of both sides; [`Memory::take_tables`] and [`Memory::boot`], whose callers promise that what they say
//! of memory is true; and [`Memory::edit_tables`], the door for a kernel's own mappings. Given those promises no call of
//! a safe public function touches memory that the core does not own. `tests/unsafe_words.rs` lists each use of the word.
#![no_std]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "sim"))]
extern crate std;

pub mod addr;
pub mod address_space;
mod allocate;
mod boot;
pub mod boot_alloc;
mod buddy;
pub mod check;
mod descriptor;
pub mod error;
pub mod fault_injection;
pub mod firmware_map;
mod frame_cache;
pub mod hot_add;
pub mod hot_remove;
pub mod info;
mod layout;
pub mod machine;
pub mod memory;
pub mod merge;
pub mod page_table;
pub mod poison;
mod probe;
pub mod protection;
mod query;
mod region;
mod rmap;
pub mod section;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod tables;
pub mod try_stats;
pub mod vmalloc;
mod zonelist;

pub use descriptor::Kind;
pub use memory::Memory;
pub use zonelist::MAX_NODES;
