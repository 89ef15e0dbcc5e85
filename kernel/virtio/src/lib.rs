//! The driver's side of virtio-mem (virtio 1.3, section 5.15) without hardware: memory that a hypervisor plugs by blocks
//! of 2 MiB; and of free page reporting, for which the hypervisor has a balloon device.
//!
//! ```text
//!  pci       the capabilities that say where a device's registers lie      (section 4.1.4)
//!  queue     one split virtqueue in one page, one request at a time         (section 2.7)
//!  mem       configuration, requests and responses as bytes
//!  reporting the queue by which a balloon device gets reports of free memory (section 5.5.6.7)
//!  machine   what to do next, from configuration, responses and memory      total: no input makes it panic or stick
//! ```
//!
//! Invariant: nothing that the device writes is believed before it is checked. Neighbours: the kernel's `virtio` has the
//! registers and the interrupt; `carapace-mm`'s `chunk` is the memory behind [`machine::Memory`].
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, clippy::arithmetic_side_effects)
)]

#[cfg(any(test, feature = "sim"))]
extern crate std;

pub mod machine;
pub mod mem;
pub mod pci;
pub mod queue;
pub mod reporting;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
