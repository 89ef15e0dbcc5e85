//! A small, total, bounded interpreter for AML, the byte code of ACPI's tables (ACPI 6.5 chapter 20).
//!
//! It accesses hardware only through [`Host`], has no global state, never panics, and always ends: every load and every
//! evaluation is bounded by [`Limits`].
//!
//! ```text
//!  Aml (interpreter, initialize, load) ── Run (run: frames, blocks, budget)
//!                                         ├── statement, declare        terms without a value
//!                                         ├── expression, literal,      terms with a value
//!                                         │   operator, convert, store_target, kind, sync
//!                                         └── field, region ── Host     hardware access
//!  Core: namespace (names; name_cache), heap (strings, buffers, packages), both in arenas, code (tables);   model: the types of all of them
//!  walk, notify_reachability: byte code analysed without execution        resources: _CRS, independent
//! ```
//!
//! It implements ACPI 6.5 except `Load`, `LoadTable`, `Unload`, `DataTableRegion` and fields on serial buses, which are
//! reported as unsupported. Where the specification is ambiguous, it behaves like ACPICA. A table is executed from start
//! to end; broken terms are left out, and declarations that refer to later names are retried ([`Aml::load`]).
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]

extern crate alloc;

mod access;
mod arena;
mod code;
mod convert;
mod declare;
mod error;
mod exception;
mod expression;
mod field;
mod heap;
mod host;
mod initialize;
mod interpreter;
mod kind;
mod literal;
mod load;
mod model;
mod name;
mod name_cache;
mod namespace;
mod notify_reachability;
mod opcode;
mod operator;
mod region;
pub mod resources;
mod run;
mod statement;
mod store_target;
mod sync;
mod value;
mod walk;

pub use access::{HostError, PciAddress, Width};
pub use error::{Error, ErrorKind};
pub use host::{Exception, Host};
pub use interpreter::{Aml, ToHandle};
pub use load::{Extent, Loaded, Refused};
pub use model::Handle;
pub use name::NameSeg;
pub use namespace::Notified;
pub use value::{Kind, Value};

/// The bounds of one load or evaluation. An evaluation that exhausts its steps or sleep halves the budget of the next
/// one, down to a sixteenth; each other evaluation restores a small part. So a table with thousands of endless methods
/// does not cost thousands of full budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Terms executed. A load has four more per byte of its table.
    pub steps: u32,
    /// Nesting of method calls and expressions: a call takes two levels, an operand one. A level takes less than 1 KiB of
    /// native stack.
    pub depth: u16,
    /// Bytes of objects and names held at any time, tables included, until [`Aml::limit_further`].
    pub bytes: usize,
    /// Milliseconds spent in `Sleep`.
    pub sleep_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 4_000_000, depth: 128, bytes: 8 << 20, sleep_ms: 10_000 }
    }
}

/// Whether a method can execute a Notify on a given set of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Some path through the call graph does.
    Yes,
    /// No path does.
    No,
    /// The static analysis cannot decide.
    Undecidable,
}
