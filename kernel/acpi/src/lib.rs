//! What firmware tells, judged without touching it: total decoders of tables and of the kernel's
//! answers to it. No hardware, no allocation, no panic for any input; tested on the host.
//!
//! ```text
//!  physical memory  --> tables   the chain from the RSDP to every table
//!  bytes of a table --> srat     which memory belongs to which node, which may be hot-plugged
//!                       madt     the interrupt controllers
//!                       fadt     where the registers of events, power and reset are
//!  bytes of a _CRS  --> ranges   the memory of a device
//!  registers        --> gpe      which bit is which event
//!  Notify           --> notify   what waits to be handled, and the codes of the answers
//!                       lifecycle  what becomes of a device that comes, is asked for, or goes
//! ```
//!
//! Neighbours: the kernel's `acpi` folder maps the tables and does what is told here.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo
    )
)]

#[cfg(test)]
extern crate std;

pub mod bytes;
pub mod fadt;
pub mod gpe;
pub mod lifecycle;
pub mod madt;
pub mod notify;
pub mod quota;
pub mod ranges;
pub mod rsdp;
pub mod slit;
pub mod srat;
pub mod tables;
