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
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "sim"))]
extern crate std;

pub mod addr;
pub mod address_space;
mod allocate;
mod boot;
mod buddy;
pub mod check;
pub mod early;
pub mod error;
pub mod firmware_map;
mod frame_cache;
pub mod glance;
mod holder;
pub mod hotplug;
pub mod info;
mod inspect;
mod layout;
pub mod machine;
pub mod memory;
pub mod merge;
mod node;
mod page;
pub mod page_table;
pub mod poison;
mod probe;
pub mod protection;
mod region;
pub mod remove;
pub mod section;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod step;
pub mod window;

pub use memory::Memory;
pub use node::MAX_NODES;
pub use page::Kind;
