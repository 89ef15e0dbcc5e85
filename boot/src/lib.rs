//! The part of the shim that is arithmetic and checking: what the firmware says about memory
//! ([`memory_map`]), which frames the shim takes ([`frames`]), whether a file is a kernel it can
//! load ([`kernel_file`], [`relocate`]), and where things go in virtual memory ([`placement`]).
//!
//! No hardware is touched here, so all of it is tested on the host. The executable beside it
//! (`main.rs`) reads physical memory, writes page tables and jumps.
//!
//! Invariant: nothing here panics, whatever the firmware's structures or the kernel file hold;
//! every refusal is an [`error::BootError`] with the reason and an exit status.

#![cfg_attr(not(test), no_std)]

pub mod command_line;
pub mod error;
pub mod frames;
pub mod kernel_file;
pub mod memory_map;
pub mod placement;
pub mod range;
pub mod relocate;
pub mod start_info;
