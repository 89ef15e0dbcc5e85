//! The chain of static tables: found from the RSDP, verified by their checksums.
//!
//! ```text
//!  RSDP --> RSDT or XSDT --> FADT --> DSDT
//!                        --> MADT, SRAT, SSDT, ...
//! ```
//!
//! All memory is read through [`Physical`], which may refuse any address, and every length is checked before it is used.
//! Invariants: a [`Table`] in the list was readable to its end, its bytes summed up to zero, and it is listed once. A broken
//! table is left out and reported; for a broken XSDT the RSDT is followed. However many tables there are, the DSDT is listed.
//!
//! Crate `acpi` reads these tables, too. Its releases from 6.1 on need an unstable compiler, and 5.2 casts mapped bytes
//! to structs by `unsafe`; here a table stays a slice of bytes, so the code is safe and can be fuzzed.
//!
//! Neighbours: `rsdp`, `fadt`, `hmat`, `madt`, `slit` and `srat` read single tables; the kernel's `acpi::tables` maps them.

mod error;

use crate::{bytes, fadt, rsdp};
use arrayvec::ArrayVec;
use carapace_mm::addr::PhysAddr;
use core::fmt;

pub use error::{LeftOut, TableError};

/// The most tables in the list.
pub const MAX_TABLES: usize = 64;
/// The most pointers of a root table that are followed: each broken one costs a log line.
const MAX_POINTERS: usize = 128;
/// The largest table that is accepted. Real ones have less than 1 MiB.
const MAX_TABLE_BYTES: u32 = 4 << 20;
const HEADER_BYTES: u32 = 36;

/// Read access to physical memory.
pub trait Physical<'m> {
    /// Why bytes cannot be read.
    type Refusal;

    /// The `length` bytes from `at` on.
    ///
    /// # Errors
    /// They cannot be read.
    fn bytes(&self, at: PhysAddr, length: usize) -> Result<&'m [u8], Self::Refusal>;
}

/// The four-letter name of a table.
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
    /// The System Locality Information Table.
    pub const SLIT: Signature = Signature(*b"SLIT");
    /// The Heterogeneous Memory Attribute Table.
    pub const HMAT: Signature = Signature(*b"HMAT");
    /// The table of memory-mapped PCI configuration spaces.
    pub const MCFG: Signature = Signature(*b"MCFG");
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

/// A table with valid length and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its signature.
    pub signature: Signature,
    /// Its physical address.
    pub at: PhysAddr,
    /// Its length in bytes, header included.
    pub length: u32,
    /// Its revision; the DSDT's fixes the width of AML integers.
    pub revision: u8,
    /// The vendor's name for it.
    pub oem_table_id: [u8; 8],
}

impl Table {
    /// Reads and verifies the table at `at`; returns its bytes, too.
    fn read<'m, P: Physical<'m>>(
        physical: &P,
        at: PhysAddr,
    ) -> Result<(Table, &'m [u8]), TableError<P::Refusal>> {
        let read =
            |length: u32| physical.bytes(at, length as usize).map_err(|refusal| TableError::Map(at, refusal));
        let header = read(HEADER_BYTES)?;
        let signature = Signature(bytes::array_at(header, 0).unwrap_or_default());
        let length = bytes::u32_at(header, 4).unwrap_or_default();
        if !(HEADER_BYTES..=MAX_TABLE_BYTES).contains(&length) {
            return Err(TableError::BadLength(signature, at, length));
        }
        let whole = read(length)?;
        if bytes::sum(whole) != 0 {
            return Err(TableError::BadChecksum(signature, at));
        }
        let revision = bytes::u8_at(whole, 8).unwrap_or_default();
        let oem_table_id = bytes::array_at(whole, 16).unwrap_or_default();
        Ok((Table { signature, at, length, revision, oem_table_id }, whole))
    }
}

/// All static tables.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The address of the RSDP.
    pub rsdp: PhysAddr,
    /// Its revision: 0 for ACPI 1.0, 2 for later ones.
    pub revision: u8,
    list: ArrayVec<Table, MAX_TABLES>,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RSDP at {}, revision {}; tables", self.rsdp, self.revision)?;
        self.list.iter().try_for_each(|table| write!(f, " {}", table.signature))
    }
}

impl Chain {
    /// Finds and verifies all tables, the DSDT included. Calls `left_out` for each broken one.
    ///
    /// # Errors
    /// The RSDP or the root table is unusable.
    pub fn read<'m, P: Physical<'m>>(
        physical: &P,
        pointer: Option<PhysAddr>,
        left_out: &mut dyn FnMut(LeftOut<P::Refusal>),
    ) -> Result<Chain, TableError<P::Refusal>> {
        let at = pointer.ok_or(TableError::NoRsdp)?;
        let Root { revision, kind, table: root, bytes: root_bytes } = root(physical, at, left_out)?;
        let pointer_bytes = if kind == Signature::XSDT { 8 } else { 4 };
        let mut chain = Chain { rsdp: at, revision, list: ArrayVec::new() };
        chain.keep(root, left_out);
        let pointers = root_bytes.get(HEADER_BYTES as usize..).unwrap_or_default();
        if pointers.chunks_exact(pointer_bytes).len() > MAX_POINTERS {
            left_out(LeftOut::Pointers(kind, root.at));
        }
        // The bytes of the first FADT.
        let mut fadt = None;
        for pointer in pointers.chunks_exact(pointer_bytes).take(MAX_POINTERS) {
            let mut address = [0; 8];
            address.iter_mut().zip(pointer).for_each(|(to, from)| *to = *from);
            match Table::read(physical, PhysAddr(u64::from_le_bytes(address))) {
                Ok((table, bytes)) => {
                    chain.keep(table, left_out);
                    fadt = fadt.or((table.signature == Signature::FADT).then_some(bytes));
                }
                Err(error) => left_out(LeftOut::Broken(error)),
            }
        }
        match fadt.map(|fadt| dsdt(physical, fadt)) {
            // `keep` has left a place.
            Some(Ok(dsdt)) => drop(chain.list.try_push(dsdt)),
            Some(Err(error)) => left_out(LeftOut::Broken(error)),
            None => {}
        }
        Ok(chain)
    }

    /// Lists a table, once, and leaves a place for the DSDT.
    fn keep<R>(&mut self, table: Table, left_out: &mut dyn FnMut(LeftOut<R>)) {
        if self.list.iter().any(|known| known.at == table.at) {
            return;
        }
        if self.list.remaining_capacity() <= 1 || self.list.try_push(table).is_err() {
            left_out(LeftOut::TooMany(table.signature, table.at));
        }
    }

    /// Every valid table: the root table first, the DSDT last, SSDTs in the firmware's order.
    pub fn all(&self) -> &[Table] {
        &self.list
    }

    /// The first table of this signature.
    ///
    /// # Errors
    /// There is no such table.
    pub fn find<R>(&self, signature: Signature) -> Result<&Table, TableError<R>> {
        let found = self.list.iter().find(|table| table.signature == signature);
        found.ok_or(TableError::Missing(signature))
    }
}

/// The DSDT that the FADT points to.
fn dsdt<'m, P: Physical<'m>>(physical: &P, fadt: &[u8]) -> Result<Table, TableError<P::Refusal>> {
    let at = fadt::dsdt(fadt).map_err(TableError::BadFadt)?;
    let (table, _) = Table::read(physical, at.ok_or(TableError::Missing(Signature::DSDT))?)?;
    let is_dsdt = table.signature == Signature::DSDT;
    is_dsdt.then_some(table).ok_or(TableError::NotADsdt(table.at, table.signature))
}

/// The root table, from the RSDP.
struct Root<'m> {
    /// The RSDP's revision.
    revision: u8,
    kind: Signature,
    table: Table,
    bytes: &'m [u8],
}

/// The root table of the RSDP at `at`: the XSDT; without one, or with a broken one, the RSDT.
fn root<'m, P: Physical<'m>>(
    physical: &P,
    at: PhysAddr,
    left_out: &mut dyn FnMut(LeftOut<P::Refusal>),
) -> Result<Root<'m>, TableError<P::Refusal>> {
    let read = |length| physical.bytes(at, length).map_err(|refusal| TableError::Map(at, refusal));
    // An old RSDP may lie at the end of its page: read no more bytes than its revision has.
    let short = rsdp::short(read(rsdp::SHORT_BYTES)?).ok_or(TableError::BadRsdp(at))?;
    let revision = short.revision;
    let table = |at, kind| {
        let (table, bytes) = Table::read(physical, at)?;
        let root = Root { revision, kind, table, bytes };
        if table.signature == kind { Ok(root) } else { Err(TableError::NotARoot(at, table.signature)) }
    };
    if short.is_long()
        && let Some(at) = rsdp::xsdt(read(rsdp::LONG_BYTES)?).ok_or(TableError::BadRsdp(at))?
    {
        match table(at, Signature::XSDT) {
            Err(error) if short.rsdt.0 != 0 => left_out(LeftOut::Broken(error)),
            root => return root,
        }
    }
    table(short.rsdt, Signature::RSDT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    /// Memory from address 0 on.
    struct Image(Vec<u8>);

    impl<'m> Physical<'m> for &'m Image {
        type Refusal = &'static str;

        fn bytes(&self, at: PhysAddr, length: usize) -> Result<&'m [u8], &'static str> {
            let start = usize::try_from(at.0).map_err(|_| "no memory")?;
            self.0.get(start..).and_then(|rest| rest.get(..length)).ok_or("no memory")
        }
    }

    impl Image {
        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        /// A table with this body; its address.
        fn table(&mut self, at: usize, signature: &[u8; 4], body: &[u8]) {
            let mut table = signature.to_vec();
            table.extend((36 + body.len() as u32).to_le_bytes());
            table.resize(36, 0);
            table.extend(body);
            table[9] = 0u8.wrapping_sub(bytes::sum(&table));
            self.put(at, &table);
        }

        /// RSDP at 0, RSDT at 64 with two tables, FADT at 256 that points to a DSDT at 512, SRAT at 1024.
        fn good() -> Image {
            let mut image = Image(vec![0; 2048]);
            let mut rsdp = *b"RSD PTR \0MAKER \0\x40\0\0\0";
            rsdp[8] = 0u8.wrapping_sub(bytes::sum(&rsdp));
            image.put(0, &rsdp);
            image.table(64, b"RSDT", &[0, 1, 0, 0, 0, 4, 0, 0]);
            let mut fadt = [0; 80];
            fadt[4..8].copy_from_slice(&512u32.to_le_bytes());
            image.table(256, b"FACP", &fadt);
            image.table(512, b"DSDT", &[1, 2, 3]);
            image.table(1024, b"SRAT", &[0; 12]);
            image
        }

        fn read(&self) -> (Result<Chain, TableError<&'static str>>, Vec<LeftOut<&'static str>>) {
            let mut left_out = Vec::new();
            let chain = Chain::read(&self, Some(PhysAddr(0)), &mut |one| left_out.push(one));
            (chain, left_out)
        }
    }

    /// Proves that all tables are found, the root first and the DSDT last, with their headers' fields. Fails when a pointer
    /// or a header field is read from the wrong offset.
    #[test]
    fn the_chain_is_followed() {
        let (chain, left_out) = Image::good().read();
        let chain = chain.unwrap();
        assert_eq!(chain.to_string(), "RSDP at 0x0, revision 0; tables RSDT FACP SRAT DSDT");
        assert_eq!(left_out, []);
        let dsdt = chain.find::<()>(Signature::DSDT).unwrap();
        assert_eq!((dsdt.at, dsdt.length), (PhysAddr(512), 39));
        assert_eq!(chain.find::<()>(Signature::SSDT), Err(TableError::Missing(Signature::SSDT)));
    }

    /// Proves that an RSDP of ACPI 2.0 leads to the XSDT, whose pointers have eight bytes, and that the RSDT is used only
    /// without a valid XSDT. Fails when the wrong root is followed.
    #[test]
    fn the_xsdt_comes_first() {
        let mut image = Image::good();
        let mut rsdp = *b"RSD PTR \0MAKER \x02\x40\0\0\0\x24\0\0\0\0\x06\0\0\0\0\0\0\0\0\0\0";
        let seal = |rsdp: &mut [u8; 36]| {
            (rsdp[8], rsdp[32]) = (0, 0);
            rsdp[8] = 0u8.wrapping_sub(bytes::sum(&rsdp[..20]));
            rsdp[32] = 0u8.wrapping_sub(bytes::sum(&rsdp[..]));
        };
        seal(&mut rsdp);
        image.put(0, &rsdp);
        let pointers: Vec<u8> = [1024u64, 256].into_iter().flat_map(u64::to_le_bytes).collect();
        image.table(0x600, b"XSDT", &pointers);
        let (chain, left_out) = image.read();
        assert_eq!(chain.unwrap().to_string(), "RSDP at 0x0, revision 2; tables XSDT SRAT FACP DSDT");
        assert_eq!(left_out, []);
        image.0[0x600 + 12] ^= 1;
        let (chain, left_out) = image.read();
        assert_eq!(chain.unwrap().to_string(), "RSDP at 0x0, revision 2; tables RSDT FACP SRAT DSDT");
        let broken = TableError::BadChecksum(Signature::XSDT, PhysAddr(0x600));
        assert_eq!(left_out, [LeftOut::Broken(broken)]);
        rsdp[24..32].fill(0);
        seal(&mut rsdp);
        image.put(0, &rsdp);
        let (chain, _) = image.read();
        assert_eq!(chain.unwrap().to_string(), "RSDP at 0x0, revision 2; tables RSDT FACP SRAT DSDT");
    }

    /// Proves that each broken table is reported with its reason, and that tables which do not depend on it are found.
    /// Fails when a broken table is used, or hides another one.
    #[test]
    fn broken_links_are_left_out() {
        let spoilt = |change: &dyn Fn(&mut Image)| {
            let mut image = Image::good();
            change(&mut image);
            let (chain, left_out) = image.read();
            let told = left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            (chain.map(|chain| chain.list.len()).map_err(|error| error.to_string()), told)
        };
        let (chain, told) = spoilt(&|image| image.0[1060] ^= 1);
        assert_eq!((chain, told.as_str()), (Ok(3), "SRAT at 0x400 has a wrong checksum; left out"));
        let (chain, told) = spoilt(&|image| image.put(1028, &35u32.to_le_bytes()));
        assert_eq!((chain, told.as_str()), (Ok(3), "SRAT at 0x400 claims a length of 35 bytes; left out"));
        // Too large, whether or not there is so much memory.
        let (chain, told) = spoilt(&|image| image.put(1028, &(MAX_TABLE_BYTES + 1).to_le_bytes()));
        assert_eq!(
            (chain, told.as_str()),
            (Ok(3), "SRAT at 0x400 claims a length of 4194305 bytes; left out")
        );
        let (chain, told) = spoilt(&|image| image.put(1028, &4096u32.to_le_bytes()));
        assert_eq!(chain, Ok(3));
        assert_eq!(told, "the table at 0x400 cannot be mapped: no memory; left out");
        let (chain, told) = spoilt(&|image| image.table(512, b"SSDT", &[]));
        assert_eq!((chain, told.as_str()), (Ok(3), "the FADT's DSDT pointer 0x200 leads to SSDT; left out"));
        let (chain, told) = spoilt(&|image| image.table(256, b"FACP", &[0; 80]));
        assert_eq!((chain, told.as_str()), (Ok(3), "the firmware has no DSDT table; left out"));
        let (chain, _) = spoilt(&|image| image.table(64, b"XSDT", &[]));
        assert_eq!(chain, Err("the root table at 0x40 has signature XSDT".to_string()));
        let (chain, _) = spoilt(&|image| image.0[3] = 0);
        assert_eq!(chain, Err("no valid RSDP at 0x0: wrong signature or checksum".to_string()));
        assert_eq!(Chain::read(&&Image(vec![]), None, &mut |_| {}).unwrap_err(), TableError::NoRsdp);
    }

    /// Proves that reading ends for a root table that points to itself many times, and that a table is listed once. Fails
    /// when AML would be loaded twice.
    #[test]
    fn loops_end() {
        let mut image = Image::good();
        let pointers: Vec<u8> = (0..200).flat_map(|n| [64u32, 1024][n % 2].to_le_bytes()).collect();
        image.0.resize(4096, 0);
        image.0.copy_within(1024..1072, 2048);
        let pointers: Vec<u8> = pointers.iter().map(|&byte| if byte == 4 { 8 } else { byte }).collect();
        image.table(64, b"RSDT", &pointers);
        let (chain, left_out) = image.read();
        assert_eq!(chain.unwrap().to_string(), "RSDP at 0x0, revision 0; tables RSDT SRAT");
        assert_eq!(left_out, [LeftOut::Pointers(Signature::RSDT, PhysAddr(64))]);
    }

    /// Proves that of too many tables the last ones are left out, but not the DSDT. Fails when a machine with many SSDTs
    /// loses its namespace.
    #[test]
    fn of_too_many_tables_the_dsdt_is_kept() {
        let mut image = Image::good();
        image.0.resize(1 << 14, 0);
        let ssdts = (0..100u32).map(|n| 0x1000 + n * 64);
        ssdts.clone().for_each(|at| image.table(at as usize, b"SSDT", &[]));
        let mut fadt = [0; 80];
        fadt[4..8].copy_from_slice(&512u32.to_le_bytes());
        image.table(0x3000, b"FACP", &fadt);
        let pointers: Vec<u8> = [0x3000].into_iter().chain(ssdts).flat_map(u32::to_le_bytes).collect();
        image.table(0x800, b"RSDT", &pointers);
        let mut rsdp = *b"RSD PTR \0MAKER \0\0\x08\0\0";
        rsdp[8] = 0u8.wrapping_sub(bytes::sum(&rsdp));
        image.put(0, &rsdp);
        let (chain, left_out) = image.read();
        let chain = chain.unwrap();
        assert_eq!(chain.all().len(), MAX_TABLES);
        assert_eq!(chain.all().last().map(|table| table.signature), Some(Signature::DSDT));
        assert_eq!(left_out.len(), 103 - MAX_TABLES);
    }
}
