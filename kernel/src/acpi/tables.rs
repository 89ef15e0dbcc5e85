//! The static tables of this machine, mapped and verified before there is a heap.
//!
//! ```text
//!  RSDP --> RSDT or XSDT --> FADT --> DSDT        crate `carapace-acpi`: follows the chain, reads FADT, MADT, SRAT
//!                        --> MADT, SRAT, SSDT ... mapped here; AML goes to crate `carapace-aml`
//! ```
//!
//! Invariant: a [`Table`] in the list is mapped permanently to its end, and its bytes sum up to zero.

use crate::memory::devices::{self, Caching, DeviceMapError};
use carapace_acpi::fadt::Fadt;
use carapace_acpi::hmat::Hmat;
use carapace_acpi::madt::Madt;
use carapace_acpi::mcfg::Mcfg;
use carapace_acpi::slit::Slit;
use carapace_acpi::srat::Srat;
use carapace_acpi::tables::{Chain, Physical};
use carapace_mm::addr::PhysAddr;
use core::fmt;
use log::warn;

pub use carapace_acpi::tables::{Signature, Table};

/// Why a table is unusable.
pub type TableError = carapace_acpi::tables::TableError<DeviceMapError>;

/// Physical memory, mapped in the region for devices.
#[derive(Clone, Copy, Debug)]
struct DeviceMemory;

impl Physical<'static> for DeviceMemory {
    type Refusal = DeviceMapError;

    fn bytes(&self, at: PhysAddr, length: usize) -> Result<&'static [u8], DeviceMapError> {
        let start = devices::map(at, length as u64, Caching::Memory)?;
        // SAFETY: `map` made `length` bytes from `start` on readable permanently. It refuses memory that the kernel
        // allocates, so only AML could write there; AML runs on the same thread, the interpreter copies a table before
        // it executes it, and no caller keeps a table's bytes while AML runs.
        Ok(unsafe { core::slice::from_raw_parts(start.0 as *const u8, length) })
    }
}

/// Access to the bytes of a table of the list.
pub trait Bytes {
    /// All bytes, header included. Do not keep them while AML runs: it may change its own tables.
    fn bytes(&self) -> &'static [u8];
}

impl Bytes for Table {
    fn bytes(&self) -> &'static [u8] {
        // The table was mapped when it was read, and mappings are permanent.
        DeviceMemory.bytes(self.at, self.length as usize).unwrap_or_default()
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
    /// Finds, maps and verifies all tables, the DSDT included. A broken table is left out with a warning; it is an error
    /// if the RSDP or the root table is broken.
    pub fn read(pointer: Option<PhysAddr>) -> Result<StaticTables, TableError> {
        Chain::read(&DeviceMemory, pointer, &mut |left_out| warn!("{left_out}")).map(StaticTables)
    }

    /// Every valid table: the root table first, the DSDT last, SSDTs in the firmware's order.
    pub fn all(&self) -> &[Table] {
        self.0.all()
    }

    /// The first table of this signature.
    pub fn find(&self, signature: Signature) -> Result<&Table, TableError> {
        self.0.find(signature)
    }

    /// Bytes of the DSDT and the SSDTs.
    pub fn aml_bytes(&self) -> usize {
        let is_aml = |table: &&Table| [Signature::DSDT, Signature::SSDT].contains(&table.signature);
        self.all().iter().filter(is_aml).map(|table| table.length as usize).sum()
    }

    /// The FADT: registers of events, power and reset.
    pub fn fadt(&self) -> Result<Fadt, TableError> {
        let fadt = self.find(Signature::FADT)?;
        Fadt::read(fadt.bytes()).map_err(TableError::BadFadt)
    }

    /// The SRAT, the node of each memory range; `None` if the firmware has none (one node then).
    pub fn srat(&self) -> Option<Srat<'static>> {
        self.find(Signature::SRAT).ok().map(|table| Srat(table.bytes()))
    }

    /// The MCFG, the memory-mapped configuration spaces of PCI; `None` if the firmware has none.
    pub fn mcfg(&self) -> Option<Mcfg<'static>> {
        self.find(Signature::MCFG).ok().map(|table| Mcfg(table.bytes()))
    }

    /// The HMAT, latency and bandwidth between nodes; `None` if the firmware has none.
    pub fn hmat(&self) -> Option<Hmat<'static>> {
        self.find(Signature::HMAT).ok().map(|table| Hmat(table.bytes()))
    }

    /// The SLIT, the distances between nodes; `None` if the firmware has no valid one.
    pub fn slit(&self) -> Option<Slit<'static>> {
        self.find(Signature::SLIT).ok().map(|table| Slit(table.bytes())).filter(Slit::is_valid)
    }

    /// The interrupt controllers.
    pub fn madt(&self) -> Result<Madt, TableError> {
        let table = self.find(Signature::MADT)?;
        let madt = Madt::read(table.bytes()).map_err(TableError::BadMadt)?;
        if madt.left_out > 0 {
            warn!("MADT: {} IO APICs or source overrides too many, left out", madt.left_out);
        }
        Ok(madt)
    }
}
