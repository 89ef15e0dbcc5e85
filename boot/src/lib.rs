//! The shim's arithmetic and checks: the firmware's memory map ([`memory_map`]), the frame
//! allocator ([`frames`]), the kernel's file ([`kernel_file`], [`relocate`]), the choice of
//! virtual addresses ([`placement`]), and copying ([`bulk`]).
//!
//! It accesses no hardware and is tested on the host. The executable (`main.rs`) reads physical
//! memory, writes page tables and jumps.
//!
//! Invariant: no function panics, whatever the firmware's structures or the kernel file contain;
//! every refusal is an [`error::BootError`] with the reason and an exit status.

#![cfg_attr(not(test), no_std)]

pub mod bulk;
pub mod command_line;
pub mod error;
pub mod frames;
pub mod kernel_file;
pub mod memory_map;
pub mod placement;
pub mod range;
pub mod relocate;
pub mod start_info;
