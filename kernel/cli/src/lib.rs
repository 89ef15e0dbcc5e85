//! The part of the shell that needs no kernel: line editing, arguments, and the forms of output. The kernel's
//! `commands` connect it to the memory core; nothing here depends on hardware.
//!
//! ```text
//!  bytes --editor--> line --args--> command, flags, operands (parse)
//!                                     |
//!                   kernel: commands/*v   rows of crate `carapace-schema`
//!  terminal <--bytes-- console <--- output: table | JSON line,  memory_map
//! ```
//!
//! Invariants: no heap (the shell must work when the heap is exhausted), no panic on any input, and
//! the bytes of the prompt come from [`editor::Editor::show`] alone.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod args;
pub mod chmem;
pub mod command;
pub mod complete;
pub mod editor;
pub mod format_size;
pub mod history;
pub mod keys;
pub mod lsmem;
pub mod memory_map;
pub mod output;
pub mod parse;
pub mod rpc;
pub mod suggest;

#[cfg(test)]
mod test_terminal;

/// Columns of the terminal that text is written for.
pub const TERMINAL_COLUMNS: usize = 80;
