//! The kernel's answers in JSON (`-J`, the second serial line), declared once: the kernel serialises these types and
//! host programs deserialise them.
//!
//! ```text
//!  kernel:  mm, acpi --> a command's row --serialise--> {"id":1,...} --deserialise--> guest, tests, bench, watch, report
//!                        (no heap)                                                    (feature `alloc`)
//! ```
//!
//! Field names and their order are the interface. Units: addresses and sizes are bytes, frames are page frame numbers
//! (pfn), times have their unit in the name. docs/shell.md explains each field.
//!
//! The kernel has no buffer for an answer of any length, so it writes lists row by row. An answer with a list in it is
//! generic over that list: [`Streamed`] in the kernel, which adds the list itself, and a `Vec` on the host, where the
//! type without `Of` names it.
//!
//! Invariants: no heap without feature `alloc`; texts have a longest length, which [`Text`] cuts to; a type here is what
//! both sides agree on, so neither declares a field of its own. Neighbours: crate `carapace-cli`'s `output` writes
//! them, the kernel's commands fill them, package `guest` reads them.
#![no_std]
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "the fields are the interface, which docs/shell.md explains one by one")]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod allocation;
mod event;
mod faults;
mod frames;
mod machine;
mod memory;
mod page_tables;
mod text;

pub use allocation::{Alloc, Free, Memspeed, Offline, Online, Policy, Verify};
pub use event::{Event, Printed, Refusal};
#[cfg(feature = "alloc")]
pub use faults::Check;
pub use faults::{CheckOf, Fail, Finding, Misuse, Poison, Stress, StressHeap};
pub use frames::{Extent, Joined, KINDS, Kind, Page};
#[cfg(feature = "alloc")]
pub use machine::{Acpi, Dmesg};
pub use machine::{
    AcpiDevice, AcpiEvent, AcpiTable, Cpu, History, Reporting, Stat, Uptime, Virtio, VirtioRequests,
};
pub use memory::{Add, Buddyinfo, Dimm, MeminfoOf, Node, ORDERS_MAX, Plug, Resource, Section, Speed, Unplug};
#[cfg(feature = "alloc")]
pub use memory::{Meminfo, Numa};
pub use page_tables::{Leaves, PtdumpOf, PtdumpWindow, PtwalkLevel, PtwalkOf};
#[cfg(feature = "alloc")]
pub use page_tables::{Ptdump, Ptwalk};
pub use text::{Device, Holder, Text, Word};

use serde::Serialize;

/// Bytes of a page frame.
pub const PAGE: u64 = 4096;
/// Frames of a section.
pub const SECTION_PAGES: u64 = 32768;

/// A placeholder for a list that the kernel writes row by row: serialization omits the field, and the writer of the
/// object adds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Streamed;

/// Whether a list is [`Streamed`], the only one without a size.
const fn is_streamed<L>(_: &L) -> bool {
    size_of::<L>() == 0
}
