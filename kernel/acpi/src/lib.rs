//! Decoders for everything the firmware hands to the kernel, and the states of a memory device. All are total: no
//! hardware access, no allocation, no panic for any input. Tested on the host.
//!
//! ```text
//!  physical memory  --> tables        the chain from the RSDP to every table
//!  bytes of a table --> srat, slit    the node of each memory range, hot-pluggable ranges; node distances
//!                       hmat          latency and bandwidth between nodes
//!                       madt          the interrupt controllers and processors
//!                       fadt          the event, power and reset registers
//!  bytes of a _CRS  --> ranges        the memory ranges of a device
//!  registers        --> gpe           the bit of each general-purpose event
//!                       protected     the ports and configuration registers that AML may not touch
//!  _OSC             --> osc           what the kernel can do, the firmware's answer
//!  Notify           --> notify        the queue of notifications, the `_OST` codes of the answers
//!                       device_state  absent, online, leaving, surprise-removed: the transitions
//!  log lines        --> ratelimit     how many of a burst are logged
//! ```
//!
//! Neighbours: of `carapace-mm` only the address types are used; the kernel's `acpi` folder maps the tables, accesses
//! the registers and evaluates AML.
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
pub mod device_state;
pub mod fadt;
pub mod gpe;
pub mod hmat;
pub mod madt;
pub mod mcfg;
pub mod notify;
pub mod osc;
pub mod protected;
pub mod ranges;
pub mod ratelimit;
pub mod rsdp;
pub mod slit;
pub mod srat;
pub mod tables;
