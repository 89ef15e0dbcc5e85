//! A small, total, bounded interpreter for AML, the byte code of ACPI's tables (ACPI 6.5 chapter 20).
//!
//! It touches no hardware itself ([`Host`] does), holds no global state, never panics, and always ends:
//! every load and every evaluation is bounded by [`Limits`].
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

mod error;
mod host;
pub mod resources;
mod value;

use alloc::string::String;
use alloc::vec::Vec;

pub use error::{Error, ErrorKind};
pub use host::{Host, HostError, PciAddress, Width};
pub use value::{Kind, Value};

/// The bounds of one load or evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Terms executed.
    pub steps: u32,
    /// Nesting of method calls and expressions.
    pub depth: u16,
    /// Bytes of objects and names held at any time, tables included.
    pub bytes: usize,
    /// Milliseconds spent in `Sleep`.
    pub sleep_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: 4_000_000, depth: 64, bytes: 8 << 20, sleep_ms: 10_000 }
    }
}

/// Whether a method can execute a Notify on certain devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Some path through the call graph does.
    Yes,
    /// No path does.
    No,
    /// It cannot be told without running it.
    Undecidable,
}

/// The interpreter: the namespace of all loaded tables.
#[derive(Debug)]
pub struct Aml {
    limits: Limits,
}

impl Aml {
    /// An interpreter with the predefined names and no table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// Loads a definition block (DSDT first, then SSDTs): the whole table with its header, whose checksum
    /// the caller has verified. The first table's revision fixes the width of integers for all tables.
    ///
    /// # Errors
    /// A table that cannot be loaded leaves no names behind.
    pub fn load(&mut self, host: &mut dyn Host, table: &[u8]) -> Result<(), Error> {
        let _ = (host, table, self.limits);
        Err(ErrorKind::Unsupported("load").into())
    }

    /// Runs `_INI` of all present devices.
    ///
    /// # Errors
    /// The first error of a method; the rest is run all the same.
    pub fn initialize(&mut self, host: &mut dyn Host) -> Result<(), Error> {
        let _ = host;
        Err(ErrorKind::Unsupported("initialize").into())
    }

    /// Evaluates the object with the absolute path `path`: calls a method, reads a field, or takes a name's value.
    ///
    /// # Errors
    /// Names the AML path where it happened.
    pub fn evaluate(&mut self, host: &mut dyn Host, path: &str, args: &[Value]) -> Result<Value, Error> {
        let _ = (host, path, args);
        Err(ErrorKind::Unsupported("evaluate").into())
    }

    /// Whether an object with this absolute path exists.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.kind(path).is_some()
    }

    /// The type of the object with this absolute path.
    #[must_use]
    pub fn kind(&self, path: &str) -> Option<Kind> {
        let _ = path;
        None
    }

    /// The absolute paths of the direct children of `path`, sorted by name.
    #[must_use]
    pub fn children(&self, path: &str) -> Vec<String> {
        let _ = path;
        Vec::new()
    }

    /// The absolute paths of all devices, parents first.
    #[must_use]
    pub fn devices(&self) -> Vec<String> {
        Vec::new()
    }

    /// The `_HID` of a device as text: an EISA id is decoded ("PNP0C80"), a string is taken as it is.
    ///
    /// # Errors
    /// Evaluating `_HID` failed; a device without one is `Ok(None)`.
    pub fn hid(&mut self, host: &mut dyn Host, device: &str) -> Result<Option<String>, Error> {
        let _ = (host, device);
        Ok(None)
    }

    /// Whether the method can execute a Notify on a device for which `is_target` (given absolute paths) says yes.
    pub fn reaches_notify(&self, method: &str, is_target: &dyn Fn(&str) -> bool) -> Reach {
        let _ = (method, is_target);
        Reach::Undecidable
    }
}
