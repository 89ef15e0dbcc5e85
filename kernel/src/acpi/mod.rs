//! ACPI: the static tables, the AML namespace, and the way from an event to a memory device.
//!
//! ```text
//!  tables  --> fixed                  what the firmware's static tables say, before there is a heap
//! ```
//!
//! Nothing in here knows the machine it runs on: whatever is done to a register is said by a table or
//! by the firmware's own AML.

pub mod fixed;
pub mod register;
pub mod tables;
