//! The shell's commands: a file a command or family has its name, flags, help, `run` function and output; the table
//! below lists them all.
//!
//! ```text
//!  shell (COM1), shell::rpc (COM2) --line--> COMMANDS.parse --Invocation--> execute --> a command --rows--> Out
//! ```
//!
//! To add a flag, declare it in the command's file; parsing, completion and help follow. Invariants: long commands work
//! in steps with [`input::step`] between them, so that a DIMM is answered meanwhile and Ctrl-C is heard; no heap, so that
//! every command works when the heap is exhausted; no reference into the memory core is kept across a step.

#![allow(
    clippy::result_large_err,
    reason = "an error's text is on the stack: there may be no heap, and a command fails once"
)]

mod alloc;
mod check;
mod chmem;
mod history;
mod lkdtm;
mod lsmem;
mod map;
mod meminfo;
mod numa;
mod offline;
mod page;
mod page_tables;
mod poison;
mod policy;
mod resources;
mod sections;
mod stream;
mod system;

use crate::terminal::{Failure, Outcome, console, input, session};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Commands, Group};

/// Makes the table, and the function that runs what was parsed by it.
macro_rules! commands {
    ($($title:literal: [$($module:ident: $command:ident $run:ident),* $(,)?])*) => {
        /// All commands, in the order in which `help` lists them.
        pub const COMMANDS: Commands =
            Commands(&[$(Group { title: $title, commands: &[$(&$module::$command),*] }),*]);

        /// Runs a command.
        pub async fn execute(invocation: &Invocation<'_>) -> Outcome {
            $($(if core::ptr::eq(invocation.command, &$module::$command) {
                return $module::$run(invocation).await;
            })*)*
            Err(Failure::of("this command is not in the table"))
        }
    };
}

commands! {
    "what memory there is": [
        resources: RESOURCES resources, sections: SECTIONS sections, meminfo: MEMINFO meminfo, numa: NUMA numa,
        numa: BUDDYINFO buddyinfo, lsmem: LSMEM lsmem, map: MAP map,
    ]
    "one frame, one address": [page: PAGE page, page_tables: PTWALK ptwalk, page_tables: PTDUMP ptdump]
    "using memory": [alloc: ALLOC alloc, alloc: FREE free, alloc: VERIFY verify]
    "in and out of use": [
        offline: OFFLINE offline, offline: ONLINE online, chmem: CHMEM chmem, policy: POLICY policy,
    ]
    "looking for faults": [
        check: CHECK check, poison: POISON poison, lkdtm: FAIL fail, lkdtm: STRESS stress, lkdtm: MISUSE misuse,
        lkdtm: PANIC panic,
    ]
    "the machine": [
        system: ACPI acpi, system: STAT stat, system: DMESG dmesg, system: UPTIME uptime, system: REBOOT reboot,
        system: POWEROFF poweroff,
    ]
    "the shell": [system: HELP help, history: HISTORY history, history: CLEAR clear]
}
