//! The static tables of this machine: mapped and verified, before there is a heap.
//!
//! ```text
//!  RSDP --> RSDT or XSDT --> FADT --> DSDT        crate `carapace-acpi`: follows the chain, reads FADT, MADT, SRAT
//!                        --> MADT, SRAT, SSDT ... the bytes, mapped here; AML goes to crate `carapace-aml`
//! ```
//!
//! Invariant: a [`Table`] in the list is mapped for ever, whole, and its bytes sum up to zero.

use crate::memory::devices::{self, Caching, DeviceMapError};
use carapace_acpi::fadt::Fadt;
use carapace_acpi::madt::Madt;
use carapace_acpi::slit::Slit;
use carapace_acpi::srat::Srat;
use carapace_acpi::tables::{Chain, Physical};
use carapace_mm::addr::PhysAddr;
use core::fmt;
use log::warn;

pub use carapace_acpi::tables::{Signature, Table};

/// Why a table cannot be had.
pub type TableError = carapace_acpi::tables::TableError<DeviceMapError>;

/// Physical memory through the devices window.
#[derive(Clone, Copy, Debug)]
struct Window;

impl Physical<'static> for Window {
    type Refusal = DeviceMapError;

    fn bytes(&self, at: PhysAddr, length: usize) -> Result<&'static [u8], DeviceMapError> {
        let start = devices::map(at, length as u64, Caching::Memory)?;
        // SAFETY: `map` made `length` bytes from `start` on readable, for ever; it refuses memory that the kernel
        // hands out, so nobody writes there while the slice is looked at (one thread; AML, which could, copies what
        // it is given before it runs, and nobody keeps a table's bytes meanwhile).
        Ok(unsafe { core::slice::from_raw_parts(start.0 as *const u8, length) })
    }
}

/// The bytes of a table of the list.
pub trait Bytes {
    /// All bytes, header included. Use them and let go: AML may change its own tables later.
    fn bytes(&self) -> &'static [u8];
}

impl Bytes for Table {
    fn bytes(&self) -> &'static [u8] {
        // It was mapped when it was read, and what is mapped stays.
        Window.bytes(self.at, self.length as usize).unwrap_or_default()
    }
}

/// All static tables.
#[derive(Debug)]
pub struct StaticTables(Chain);

impl fmt::Display for StaticTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StaticTables {
    /// Finds, maps and verifies all tables, the DSDT among them. A table that is broken is left out
    /// with a warning; without RSDP or root table there is nothing, and the error says why.
    pub fn read(pointer: Option<PhysAddr>) -> Result<StaticTables, TableError> {
        Chain::read(&Window, pointer, &mut |left_out| warn!("{left_out}")).map(StaticTables)
    }

    /// Every valid table: the root table first, the DSDT last, SSDTs in the firmware's order.
    pub fn all(&self) -> &[Table] {
        self.0.all()
    }

    /// The first table of this signature.
    pub fn find(&self, signature: Signature) -> Result<&Table, TableError> {
        self.0.find(signature)
    }

    /// Fixed hardware: registers of events, power and reset.
    pub fn fadt(&self) -> Result<Fadt, TableError> {
        let fadt = self.find(Signature::FADT)?;
        Fadt::read(fadt.bytes()).map_err(TableError::BadFadt)
    }

    /// Which memory belongs to which node; `None` where the firmware tells nothing (one node then).
    pub fn srat(&self) -> Option<Srat<'static>> {
        self.find(Signature::SRAT).ok().map(|table| Srat(table.bytes()))
    }

    /// How far nodes are from each other; `None` where the firmware tells nothing that makes sense.
    pub fn slit(&self) -> Option<Slit<'static>> {
        self.find(Signature::SLIT).ok().map(|table| Slit(table.bytes())).filter(Slit::is_valid)
    }

    /// The interrupt controllers.
    pub fn madt(&self) -> Result<Madt, TableError> {
        let table = self.find(Signature::MADT)?;
        let madt = Madt::read(table.bytes()).map_err(TableError::BadMadt)?;
        if madt.left_out > 0 {
            warn!("MADT: {} IO APICs or source overrides more than are kept", madt.left_out);
        }
        Ok(madt)
    }
}
