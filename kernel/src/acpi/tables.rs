//! The static tables: found from the RSDP, mapped, and verified by their checksums, before there is
//! a heap.
//!
//! ```text
//!  RSDP --> RSDT or XSDT --> FADT --> DSDT        crate `acpi`: layouts, checksums
//!                        --> MADT, SRAT           crate `firmware`: MADT looked over, SRAT decoded
//!                        --> SSDT ...             the bytes, for crate `aml`
//! ```
//!
//! Why not `acpi::AcpiTables`: its mapping function cannot fail, and a root table shorter than its own
//! header, or a MADT entry of length zero, leads it astray. Here every address is mapped with an
//! error for what cannot be, and every length is looked at before it is believed.
//!
//! Invariant: a [`Table`] in the list is mapped for ever, whole, and its bytes sum up to zero.

use super::fixed::Fixed;
use crate::memory::devices::{self, Caching, DeviceMapError};
use acpi::madt::{Madt as RawMadt, MadtEntry};
use acpi::sdt::SdtHeader;
use arrayvec::ArrayVec;
use core::fmt;
use core::mem::size_of;
use core::pin::Pin;
use firmware::bytes;
use firmware::madt::{self, BadMadtEntry, IoApic, LegacyPics, Madt, SourceOverride};
use firmware::rsdp;
use firmware::srat::Srat;
use log::warn;
use mm::addr::{PhysAddr, VirtAddr};

/// The most tables that are kept; a warning names those beyond.
pub const MAX_TABLES: usize = 64;
/// The most pointers of a root table that are followed: each broken one costs a line of the log.
const MAX_POINTERS: usize = 2 * MAX_TABLES;
/// The most bytes a table may have. Real ones have less than 1 MiB.
const MAX_TABLE_BYTES: u32 = 4 << 20;
const HEADER_BYTES: u32 = size_of::<SdtHeader>() as u32;
const _: () = assert!(HEADER_BYTES == 36);

/// The four letters that name a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// The Differentiated System Description Table: the main AML.
    pub const DSDT: Signature = Signature(*b"DSDT");
    /// A Secondary System Description Table: more AML.
    pub const SSDT: Signature = Signature(*b"SSDT");
    /// The Fixed ACPI Description Table.
    pub const FADT: Signature = Signature(*b"FACP");
    /// The Multiple APIC Description Table.
    pub const MADT: Signature = Signature(*b"APIC");
    /// The System Resource Affinity Table.
    pub const SRAT: Signature = Signature(*b"SRAT");
    const RSDT: Signature = Signature(*b"RSDT");
    const XSDT: Signature = Signature(*b"XSDT");
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a table cannot be had.
#[derive(Clone, Copy, Debug)]
pub enum TableError {
    /// The loader hands over no RSDP.
    NoRsdp,
    /// What lies at the RSDP's address is none, or its checksum is wrong.
    BadRsdp(PhysAddr),
    /// The table's memory cannot be mapped.
    Map(PhysAddr, DeviceMapError),
    /// The root table at the address has another signature than the RSDP's revision asks for.
    NotARoot(PhysAddr, Signature),
    /// The length in the header is none a table can have.
    BadLength(Signature, PhysAddr, u32),
    /// The table's bytes do not sum up to zero.
    BadChecksum(Signature, PhysAddr),
    /// There is no (valid) table of this signature.
    Missing(Signature),
    /// The table is too short for what it has to tell.
    TooShort(Signature, u32),
    /// The FADT's address of the DSDT leads to a table with another signature.
    NotADsdt(PhysAddr, Signature),
    /// The FADT describes a register that no address space this kernel knows holds.
    BadRegister(&'static str),
    /// The MADT cannot be walked.
    BadMadt(BadMadtEntry),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::NoRsdp => f.write_str("the loader found no ACPI tables (no RSDP)"),
            TableError::BadRsdp(at) => write!(f, "no valid RSDP at {at}: wrong signature or checksum"),
            TableError::Map(at, error) => write!(f, "the table at {at} cannot be mapped: {error}"),
            TableError::NotARoot(at, found) => write!(f, "the root table at {at} has signature {found}"),
            TableError::BadLength(signature, at, length) => {
                write!(f, "{signature} at {at} claims a length of {length} bytes")
            }
            TableError::BadChecksum(signature, at) => write!(f, "{signature} at {at} has a wrong checksum"),
            TableError::Missing(signature) => write!(f, "the firmware has no {signature} table"),
            TableError::TooShort(signature, length) => write!(f, "{signature} ends after {length} bytes"),
            TableError::NotADsdt(at, found) => write!(f, "where the DSDT should be, at {at}, is {found}"),
            TableError::BadRegister(name) => write!(f, "FADT: {name} is in no I/O or memory space"),
            TableError::BadMadt(error) => error.fmt(f),
        }
    }
}

/// A table: mapped, of proper length and checksum.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What it is.
    pub signature: Signature,
    /// Where it lies.
    pub at: PhysAddr,
    /// Its bytes, header included.
    pub length: u32,
    /// Its revision; the DSDT's tells how wide AML integers are.
    pub revision: u8,
    /// The maker's name for it.
    pub oem_table_id: [u8; 8],
    start: VirtAddr,
}

impl Table {
    /// Maps and verifies the table at `at`.
    fn map(at: PhysAddr) -> Result<Table, TableError> {
        let header = map_bytes(at, HEADER_BYTES as usize)?;
        let signature = Signature(bytes::array_at(header, 0).unwrap_or_default());
        let length = bytes::u32_at(header, 4).unwrap_or_default();
        if !(HEADER_BYTES..=MAX_TABLE_BYTES).contains(&length) {
            return Err(TableError::BadLength(signature, at, length));
        }
        let whole = map_bytes(at, length as usize)?;
        if bytes::sum(whole) != 0 {
            return Err(TableError::BadChecksum(signature, at));
        }
        Ok(Table {
            signature,
            at,
            length,
            revision: bytes::u8_at(whole, 8).unwrap_or_default(),
            oem_table_id: bytes::array_at(whole, 16).unwrap_or_default(),
            start: VirtAddr(whole.as_ptr() as u64),
        })
    }

    /// The table's bytes, header included. Use them and let go: AML may change its own tables later.
    pub fn bytes(&self) -> &'static [u8] {
        // SAFETY: `map` saw `length` bytes from `start` on mapped; mappings of the devices window stay
        // for ever, and nothing writes to a table while a caller looks at it (one thread; AML, which
        // could, copies what it is given before it runs).
        unsafe { core::slice::from_raw_parts(self.start.0 as *const u8, self.length as usize) }
    }
}

/// Maps `length` bytes of firmware memory for reading.
fn map_bytes(at: PhysAddr, length: usize) -> Result<&'static [u8], TableError> {
    let start =
        devices::map(at, length as u64, Caching::Memory).map_err(|error| TableError::Map(at, error))?;
    // SAFETY: `map` made `length` bytes from `start` on readable, for ever; it refuses memory that the
    // kernel hands out, so nobody writes there while the slice is looked at.
    Ok(unsafe { core::slice::from_raw_parts(start.0 as *const u8, length) })
}

/// All static tables.
#[derive(Debug)]
pub struct StaticTables {
    /// Where the RSDP lies.
    pub rsdp: PhysAddr,
    /// Its revision: 0 for ACPI 1.0, 2 for later ones.
    pub revision: u8,
    list: ArrayVec<Table, MAX_TABLES>,
}

impl fmt::Display for StaticTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RSDP at {}, revision {}; tables", self.rsdp, self.revision)?;
        self.list.iter().try_for_each(|table| write!(f, " {}", table.signature))
    }
}

impl StaticTables {
    /// Finds, maps and verifies all tables, the DSDT among them. A table that is broken is left out
    /// with a warning; without RSDP or root table there is nothing, and the error says why.
    pub fn read(pointer: Option<PhysAddr>) -> Result<StaticTables, TableError> {
        let at = pointer.ok_or(TableError::NoRsdp)?;
        let Root { revision, at: root, kind, pointer_bytes } = root_address(at)?;
        let root = Table::map(root)?;
        if root.signature != kind {
            return Err(TableError::NotARoot(root.at, root.signature));
        }
        let mut tables = StaticTables { rsdp: at, revision, list: ArrayVec::new() };
        tables.keep(Ok(root));
        let pointers = root.bytes().get(HEADER_BYTES as usize..).unwrap_or_default();
        if pointers.len() / pointer_bytes > MAX_POINTERS {
            warn!("{kind} at {}: only the first {MAX_POINTERS} pointers are looked at", root.at);
        }
        for pointer in pointers.chunks_exact(pointer_bytes).take(MAX_POINTERS) {
            let mut address = [0; 8];
            address.iter_mut().zip(pointer).for_each(|(to, from)| *to = *from);
            tables.keep(Table::map(PhysAddr(u64::from_le_bytes(address))));
        }
        if let Ok(fadt) = tables.find(Signature::FADT) {
            let dsdt = super::fixed::dsdt_address(fadt).and_then(Table::map).and_then(|table| {
                let is_dsdt = table.signature == Signature::DSDT;
                is_dsdt.then_some(table).ok_or(TableError::NotADsdt(table.at, table.signature))
            });
            tables.keep(dsdt);
        }
        Ok(tables)
    }

    fn keep(&mut self, table: Result<Table, TableError>) {
        match table {
            Ok(table) => {
                if self.list.try_push(table).is_err() {
                    warn!("{} at {}: more than {MAX_TABLES} tables", table.signature, table.at);
                }
            }
            Err(error) => warn!("{error}; left out"),
        }
    }

    /// Every valid table: the root table first, the DSDT last, SSDTs in the firmware's order.
    pub fn all(&self) -> &[Table] {
        &self.list
    }

    /// The first table of this signature.
    pub fn find(&self, signature: Signature) -> Result<&Table, TableError> {
        let found = self.list.iter().find(|table| table.signature == signature);
        found.ok_or(TableError::Missing(signature))
    }

    /// Fixed hardware: registers of events, power and reset.
    pub fn fixed(&self) -> Result<Fixed, TableError> {
        Fixed::read(self.find(Signature::FADT)?)
    }

    /// Which memory belongs to which node; `None` where the firmware tells nothing (one node then).
    pub fn srat(&self) -> Option<Srat<'static>> {
        self.find(Signature::SRAT).ok().map(|table| Srat(table.bytes()))
    }

    /// The interrupt controllers.
    pub fn madt(&self) -> Result<Madt, TableError> {
        let table = self.find(Signature::MADT)?;
        madt::check(table.bytes()).map_err(TableError::BadMadt)?;
        // SAFETY: the table is mapped for ever, of a length that holds the fixed part (`check`), whose
        // type is packed, plain data.
        let raw = unsafe { &*(table.start.0 as *const RawMadt) };
        // SAFETY: nothing moves a table; the crate asks for the promise since it reads the entries that
        // lie behind this fixed part.
        let raw = unsafe { Pin::new_unchecked(raw) };
        let mut madt = Madt {
            local_apic: PhysAddr(u64::from(raw.local_apic_address)),
            legacy_pics: if raw.supports_8259() { LegacyPics::Present } else { LegacyPics::Absent },
            ..Madt::default()
        };
        raw.entries().for_each(|entry| take_entry(&mut madt, entry));
        Ok(madt)
    }
}

/// Puts one entry of the MADT where it belongs.
fn take_entry(madt: &mut Madt, entry: MadtEntry<'_>) {
    const ENABLED: u32 = 1;
    const ISA: u8 = 0;
    let kept = match entry {
        MadtEntry::LocalApic(local) => {
            madt.processors += local.flags & ENABLED;
            true
        }
        MadtEntry::LocalX2Apic(local) => {
            madt.processors += local.flags & ENABLED;
            true
        }
        MadtEntry::LocalApicAddressOverride(address) => {
            madt.local_apic = PhysAddr(address.local_apic_address);
            true
        }
        MadtEntry::IoApic(io) => {
            let registers = PhysAddr(u64::from(io.io_apic_address));
            let io = IoApic { id: io.io_apic_id, registers, gsi_base: io.global_system_interrupt_base };
            madt.io_apics.try_push(io).is_ok()
        }
        MadtEntry::InterruptSourceOverride(source) if source.bus == ISA => {
            let (polarity, trigger) = madt::inti(source.flags);
            let gsi = source.global_system_interrupt;
            madt.overrides.try_push(SourceOverride { irq: source.irq, gsi, polarity, trigger }).is_ok()
        }
        _ => true,
    };
    if !kept {
        warn!("MADT: more IO APICs or source overrides than are kept");
    }
}

/// Where the RSDP at `at` says the root table is, and which one that is.
fn root_address(at: PhysAddr) -> Result<Root, TableError> {
    let bad = TableError::BadRsdp(at);
    // An old RSDP may be the last thing of its page: no more is mapped than its revision has.
    let short = rsdp::short(map_bytes(at, rsdp::SHORT_BYTES)?).ok_or(bad)?;
    if short.is_long()
        && let Some(at) = rsdp::xsdt(map_bytes(at, rsdp::LONG_BYTES)?).ok_or(bad)?
    {
        return Ok(Root { revision: short.revision, at, kind: Signature::XSDT, pointer_bytes: 8 });
    }
    Ok(Root { revision: short.revision, at: short.rsdt, kind: Signature::RSDT, pointer_bytes: 4 })
}

/// What an RSDP tells.
struct Root {
    revision: u8,
    at: PhysAddr,
    kind: Signature,
    /// Bytes of each pointer in the root table.
    pointer_bytes: usize,
}
