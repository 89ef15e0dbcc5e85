//! The shell's commands. A command is one file: its `COMMAND` (name, flags, help), its `run` function and the columns of
//! its table. The table below lists all commands.
//!
//! ```text
//!  shell (COM1), shell::rpc (COM2) --line--> COMMANDS.parse --Invocation--> execute --> run --rows--> Out
//! ```
//!
//! To add a flag, declare it in the command's file; parsing, completion and help follow. Document it in docs/shell.md, which a test compares. To add a command, write its file
//! and add its name below. Its answer in JSON is a type of crate `carapace-schema`.
//!
//! Invariants: long commands work in steps with [`input::step`] between them, so that DIMMs are answered and Ctrl-C
//! works; commands use no heap, so they work when it is exhausted; no reference into the memory core is kept across a step.

#![allow(
    clippy::result_large_err,
    reason = "an error's text is on the stack: there may be no heap, and a command fails once"
)]

mod acpi;
mod alloc;
mod buddyinfo;
mod check;
mod chmem;
mod clear;
mod cpus;
mod dimm;
mod dmesg;
mod free;
mod help;
mod history;
mod lkdtm;
mod lsmem;
mod map;
mod meminfo;
mod memspeed;
mod numa;
mod offline;
mod online;
mod page;
mod poison;
mod policy;
mod poweroff;
mod ptdump;
mod ptwalk;
mod reboot;
mod reporting;
mod resources;
mod sections;
mod stat;
mod stream;
mod stress;
mod uptime;
mod verify;
mod virtio;
mod words;

use crate::terminal::{Failure, Outcome, console, input, session};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Commands, Group};

/// Defines the table of the modules' `COMMAND`s, and the function that calls the parsed command's `run`.
macro_rules! commands {
    ($($title:literal: [$($($module:ident)::+),* $(,)?])*) => {
        /// All commands, in the order in which `help` lists them.
        pub const COMMANDS: Commands =
            Commands(&[$(Group { title: $title, commands: &[$(&$($module)::+::COMMAND),*] }),*]);

        /// Runs a command.
        pub async fn execute(invocation: &Invocation<'_>) -> Outcome {
            $($(if core::ptr::eq(invocation.command, &$($module)::+::COMMAND) {
                return $($module)::+::run(invocation).await;
            })*)*
            Err(Failure::of("this command is not in the table"))
        }
    };
}

commands! {
    "plugging": [dimm::plug, dimm::unplug, dimm::dimms]
    "memory": [resources, sections, meminfo, numa, buddyinfo, lsmem, map, virtio, reporting]
    "frames and page tables": [page, ptwalk, ptdump]
    "allocation": [alloc, free, verify]
    "online and offline": [offline, online, chmem, policy]
    "debugging": [check, poison, stress, memspeed, lkdtm::fail, lkdtm::fail_virtio, lkdtm::misuse, lkdtm::panic]
    "the machine": [cpus, acpi, stat, dmesg, uptime, reboot, poweroff]
    "the shell": [help, history, clear]
}
