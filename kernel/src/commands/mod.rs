//! The shell's commands. The file of a command or family has its name, flags, help, `run` function and output. The table
//! below lists all commands.
//!
//! ```text
//!  shell (COM1), shell::rpc (COM2) --line--> COMMANDS.parse --Invocation--> execute --> a command --rows--> Out
//! ```
//!
//! To add a flag, declare it in the command's file; parsing, completion and help follow.
//!
//! Invariants: long commands work in steps with [`input::step`] between them, so that DIMMs are answered and Ctrl-C
//! works; commands use no heap, so they work when it is exhausted; no reference into the memory core is kept across a step.

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

/// Defines the table, and the function that runs a parsed command.
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
    "memory": [
        resources: RESOURCES resources, sections: SECTIONS sections, meminfo: MEMINFO meminfo, numa: NUMA numa,
        numa: BUDDYINFO buddyinfo, lsmem: LSMEM lsmem, map: MAP map,
    ]
    "frames and page tables": [page: PAGE page, page_tables: PTWALK ptwalk, page_tables: PTDUMP ptdump]
    "allocation": [alloc: ALLOC alloc, alloc: FREE free, alloc: VERIFY verify]
    "online and offline": [
        offline: OFFLINE offline, offline: ONLINE online, chmem: CHMEM chmem, policy: POLICY policy,
    ]
    "debugging": [
        check: CHECK check, poison: POISON poison, lkdtm: FAIL fail, lkdtm: STRESS stress, lkdtm: MISUSE misuse,
        lkdtm: PANIC panic,
    ]
    "the machine": [
        system: ACPI acpi, system: STAT stat, system: DMESG dmesg, system: UPTIME uptime, system: REBOOT reboot,
        system: POWEROFF poweroff,
    ]
    "the shell": [system: HELP help, history: HISTORY history, history: CLEAR clear]
}
