//! The static tables of any bytes: each decoder alone, and the chain that leads to them.
//!
//! ```text
//!  first byte even: the rest is physical memory from 0 on, where the RSDP is
//!             odd:  the rest is tables (two bytes of length, then the table), to which an RSDP and a root table lead,
//!                   with lengths and checksums made right: else hardly a table would be looked at
//! ```
#![no_main]

use carapace_acpi::fadt::{self, Fadt};
use carapace_acpi::madt::{MAX_IO_APICS, Madt};
use carapace_acpi::tables::{Chain, MAX_TABLES, Physical, Signature};
use carapace_acpi::{bytes, hmat, ranges, rsdp, srat};
use carapace_mm::addr::{Pfn, PfnRange, PhysAddr};
use libfuzzer_sys::fuzz_target;

/// Bytes of a table's header, with its length and its checksum in it.
const HEADER: usize = 36;
const LENGTH_AT: usize = 4;
const CHECKSUM_AT: usize = 9;

/// Memory from address 0 on.
struct Image(Vec<u8>);

impl<'m> Physical<'m> for &'m Image {
    type Refusal = ();

    fn bytes(&self, at: PhysAddr, length: usize) -> Result<&'m [u8], ()> {
        let start = usize::try_from(at.0).map_err(|_| ())?;
        self.0.get(start..).and_then(|rest| rest.get(..length)).ok_or(())
    }
}

impl Image {
    /// Tables out of the input, and what leads to them. The first that is a DSDT is put into the FADTs.
    fn of_tables(mut input: &[u8]) -> Image {
        let mut tables = Vec::new();
        while let Some((length, rest)) = input.split_first_chunk::<2>()
            && tables.len() <= MAX_TABLES
        {
            let (table, behind) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
            let mut table = table.to_vec();
            table.resize(table.len().max(HEADER), 0);
            tables.push(table);
            input = behind;
        }
        let root_at = rsdp::LONG_BYTES;
        let mut at = root_at + HEADER + 4 * tables.len();
        let mut places = Vec::new();
        for table in &tables {
            places.push(at as u32);
            at += table.len();
        }
        let dsdt = tables.iter().position(|table| table.starts_with(b"DSDT")).map(|dsdt| places[dsdt]);
        for fadt in tables.iter_mut().filter(|table| table.starts_with(b"FACP")) {
            if let (Some(dsdt), Some(place)) = (dsdt, fadt.get_mut(40..44)) {
                place.copy_from_slice(&dsdt.to_le_bytes());
            }
        }
        let mut root = b"RSDT".to_vec();
        root.resize(HEADER, 0);
        root.extend(places.iter().flat_map(|place| place.to_le_bytes()));
        let mut image = b"RSD PTR \0MAKER \0".to_vec();
        image.extend((root_at as u32).to_le_bytes());
        image[8] = bytes::sum(&image).wrapping_neg();
        image.resize(root_at, 0);
        for table in [&mut root].into_iter().chain(&mut tables) {
            let length = table.len() as u32;
            table[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
            table[CHECKSUM_AT] = 0;
            table[CHECKSUM_AT] = bytes::sum(table).wrapping_neg();
            image.extend_from_slice(table);
        }
        Image(image)
    }
}

/// Reads everything out of a table, whatever it is.
fn decode(table: &[u8]) {
    let _dsdt = fadt::dsdt(table);
    let _fadt = Fadt::read(table);
    if let Ok(madt) = Madt::read(table) {
        assert!(madt.left_out == 0 || madt.io_apics.len() == MAX_IO_APICS || madt.overrides.is_full());
        assert!(madt.processors.len() <= table.len() / 8);
    }
    let hmat = hmat::Hmat(table);
    for (from, to) in hmat.initiators().into_iter().zip(hmat.targets()) {
        let performance = hmat.performance(from, to);
        assert!(performance.latency.is_none_or(|latency| latency.0 > 0));
        assert_eq!(hmat.rank(from, to).is_some(), performance.is_known());
    }
    let srat = srat::Srat(table);
    assert!(srat.memory().count() <= table.len(), "every entry takes bytes");
    assert!(srat.hot_pluggable().all(|range| !range.is_empty()));
    assert!(srat.hot_pluggable().is_sorted_by(|low, high| low.end < high.start), "pieces are joined");
    // The pieces of a range are the range, in order, whatever the table says.
    let whole = PfnRange::new(Pfn(0x100), Pfn(1 << 34));
    let mut next = whole.start;
    srat.split(whole, &mut |piece, _| {
        assert!(piece.start == next && !piece.is_empty());
        next = piece.end;
    });
    assert!(next == whole.end);
}

fuzz_target!(|input: &[u8]| {
    let _xsdt = rsdp::xsdt(input);
    let _short = rsdp::short(input);
    let _ranges = ranges::of::<4>(input);
    decode(input);
    let Some((&kind, rest)) = input.split_first() else { return };
    let image = if kind & 1 == 0 { Image(rest.to_vec()) } else { Image::of_tables(rest) };
    let mut left_out = 0;
    let Ok(chain) = Chain::read(&&image, Some(PhysAddr(0)), &mut |_| left_out += 1) else {
        assert!(kind & 1 == 0, "what leads to the tables is as it must be");
        return;
    };
    assert!(left_out <= 2 * MAX_TABLES + 2);
    for table in chain.all() {
        let bytes = (&&image).bytes(table.at, table.length as usize).expect("it was read before");
        assert_eq!(bytes::sum(bytes), 0);
        decode(bytes);
    }
    let _found = chain.find::<()>(Signature::SRAT);
});
