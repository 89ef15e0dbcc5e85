//! The memory core: sections, the memmap, page tables, the buddy allocator and memory hotplug.
//!
//! It knows no hardware (`machine` is the door) and allocates nothing; the same code runs in the
//! kernel and, in host tests, over simulated memory.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "sim"))]
extern crate std;

pub mod addr;
pub mod address_space;
mod allocate;
mod boot;
pub mod buddy;
pub mod check;
pub mod early;
pub mod error;
pub mod firmware_map;
pub mod hotplug;
pub mod info;
mod inspect;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod node;
pub mod page;
pub mod page_table;
pub mod region;
pub mod section;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod window;

pub use memory::Memory;
