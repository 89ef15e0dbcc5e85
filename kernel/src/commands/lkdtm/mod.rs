//! Provoked faults, like Linux's `lkdtm`: `fail` (a step of an add or a removal), `misuse` (invalid frees and writes),
//! `panic` (CPU faults, panics under a lock).
//!
//! Each tests that the kernel detects and reports the fault without side effects. Neighbours: `stress heap` leaves no
//! heap; `poison` detects writes to freed memory.

mod cpu_faults;
pub mod fail;
pub mod fail_virtio;
pub mod misuse;
pub mod panic;

use super::{Failure, Outcome, console};
