//! The firmware's ACPI tables, taken from a guest, changed, and given to another one.
//!
//! ```text
//! 0      64     ...                       a file that QEMU loads at ADDRESS (`-device loader`), and the boot
//! | RSDP | RSDT | FACP | APIC | ... |     shim's option `acpi=` names
//! ```

use crate::guest::{Guest, Plan};
use std::fs;

/// Where the tables of a guest are put: 48 MiB, above the shim, below the kernel's file.
const ADDRESS: u64 = 0x300_0000;
/// Bytes for all of them.
const ROOM: usize = 128 << 10;
const ALIGNMENT: usize = 64;
/// Bytes of a table's header; its length is at 4, its checksum at 9.
pub const HEADER: usize = 36;
const RSDP: usize = 20;
const LENGTH_AT: usize = 4;
const CHECKSUM_AT: usize = 9;
/// Where the FADT names the DSDT, in 32 bits and, if it is long enough, in 64.
const DSDT_AT: usize = 40;
const X_DSDT_AT: usize = 140;

/// All tables that a root table leads to, the DSDT last.
#[derive(Clone, Debug)]
pub struct Tables(Vec<Vec<u8>>);

impl Tables {
    /// The tables of a guest that has booted from the firmware's own.
    #[track_caller]
    pub fn of(guest: &mut Guest) -> Tables {
        let bios = read(guest, 0xe_0000, 0x2_0000);
        let rsdp = bios.chunks(16).position(|chunk| chunk.starts_with(b"RSD PTR ")).expect("an RSDP") * 16;
        let root = table(guest, word(&bios, rsdp + 16));
        let pointers = root[HEADER..].chunks(4).map(|pointer| word(pointer, 0)).collect::<Vec<_>>();
        let mut tables: Vec<_> = pointers.into_iter().map(|at| table(guest, at)).collect();
        let fadt = tables.iter().find(|table| table.starts_with(b"FACP")).expect("a FADT");
        let dsdt = word(fadt, DSDT_AT);
        tables.push(table(guest, dsdt));
        Tables(tables)
    }

    /// Changes the table with this signature; its length and checksum are set right afterwards.
    #[track_caller]
    pub fn change(&mut self, signature: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let table = self.0.iter_mut().find(|table| table.starts_with(signature.as_bytes()));
        let table = table.unwrap_or_else(|| panic!("the firmware has no {signature}"));
        change(table);
        let length = u32::try_from(table.len()).expect("a short table");
        table[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_le_bytes());
        seal(table, CHECKSUM_AT);
    }

    /// A guest of this plan that sees these tables.
    pub fn plan(mut self, mut plan: Plan) -> Plan {
        let root_length = HEADER + 4 * (self.0.len() - 1);
        let mut at = (ALIGNMENT + root_length).next_multiple_of(ALIGNMENT);
        let places: Vec<u32> = (self.0.iter())
            .map(|table| {
                let place = at;
                at = (at + table.len()).next_multiple_of(ALIGNMENT);
                ADDRESS as u32 + place as u32
            })
            .collect();
        let (dsdt, others) = places.split_last().expect("there is a DSDT");
        if let Some(fadt) = self.0.iter_mut().find(|table| table.starts_with(b"FACP")) {
            put(fadt, DSDT_AT, &dsdt.to_le_bytes());
            put(fadt, X_DSDT_AT, &u64::from(*dsdt).to_le_bytes());
            seal(fadt, CHECKSUM_AT);
        }
        let mut root = b"RSDT".to_vec();
        root.extend((root_length as u32).to_le_bytes());
        root.resize(HEADER, 0);
        root[8] = 1;
        others.iter().for_each(|place| root.extend(place.to_le_bytes()));
        seal(&mut root, CHECKSUM_AT);
        let mut rsdp = b"RSD PTR \0CARAPA\0".to_vec();
        rsdp.extend((ADDRESS as u32 + ALIGNMENT as u32).to_le_bytes());
        assert_eq!(rsdp.len(), RSDP);
        seal(&mut rsdp, 8);

        let mut file = Vec::new();
        for part in [&rsdp, &root].into_iter().chain(&self.0) {
            file.extend(part);
            file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        }
        // Always the same size: one command for all guests.
        assert!(file.len() <= ROOM, "{} bytes of tables", file.len());
        file.resize(ROOM, 0);
        let path = plan.file("tables", file);
        let loader = format!("loader,file={path},addr={ADDRESS:#x},force-raw=on");
        plan.qemu(&["-device", &loader, "-append", &format!("acpi={ADDRESS:#x}+{ROOM:#x}")])
    }
}

fn put(table: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = table.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Makes the bytes sum up to zero.
fn seal(table: &mut [u8], checksum: usize) {
    table[checksum] = 0;
    let sum = table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    table[checksum] = sum.wrapping_neg();
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")).into()
}

#[track_caller]
fn table(guest: &mut Guest, at: u64) -> Vec<u8> {
    let header = read(guest, at, HEADER as u64);
    let length = word(&header, LENGTH_AT);
    read(guest, at, length)
}

/// Physical memory of a guest.
#[track_caller]
fn read(guest: &mut Guest, at: u64, length: u64) -> Vec<u8> {
    let file = guest.directory().join("memory");
    guest.monitor_line(&format!("pmemsave {at:#x} {length:#x} \"{}\"", file.display()));
    fs::read(&file).expect("QEMU has written it")
}
