//! The firmware's ACPI tables, taken from a guest, changed, and given to another one.
//!
//! ```text
//! 0      64     ...                       a file that QEMU loads at ADDRESS (`-device loader`), and the boot
//! | RSDP | RSDT | FACP | APIC | ... |     shim's option `acpi=` names
//! ```

use crate::guest::{Guest, Plan};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Where the tables of a guest are put: 48 MiB, above the shim, below the kernel's file.
const ADDRESS: u64 = 0x300_0000;
/// Bytes for all of them.
const ROOM: usize = 128 << 10;
const ALIGNMENT: usize = 64;
/// Where the RSDT lies behind the RSDP.
pub const ROOT: usize = ALIGNMENT;
/// Bytes of a table's header; its length is at 4, its checksum at 9.
pub const HEADER: usize = 36;
const RSDP: usize = 20;
const LENGTH_AT: usize = 4;
/// Where a table's checksum is.
pub const CHECKSUM_AT: usize = 9;
/// Where Debian and others install OVMF as one file.
const OVMF_PLACES: [&str; 3] =
    ["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd", "/usr/share/edk2/x64/OVMF.4m.fd"];
/// Where OVMF puts the tables: near the end of the 512 MiB that guests have by default.
const OVMF_FROM: u64 = 480 << 20;
const OVMF_BYTES: u64 = 32 << 20;
const OVMF_PAUSE: Duration = Duration::from_secs(2);
const OVMF_TRIES: u32 = 120;
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
        let rsdp = rsdp_in(&bios).expect("an RSDP");
        Tables::from_root(guest, word(&bios, rsdp + 16))
    }

    /// The tables as OVMF, instead of QEMU's own firmware, leaves them in a guest of this plan. `None` where OVMF
    /// is not installed. The guest is not used for anything else: OVMF boots no PVH kernel.
    #[track_caller]
    pub fn of_ovmf(plan: Plan) -> Option<Tables> {
        let file = OVMF_PLACES.into_iter().find(|file| Path::new(file).exists())?;
        let mut guest = plan.qemu(&["-bios", file]).start();
        let mut seen = Vec::new();
        for _ in 0..OVMF_TRIES {
            thread::sleep(OVMF_PAUSE);
            let memory = read(&mut guest, OVMF_FROM, OVMF_BYTES);
            let Some(rsdp) = rsdp_in(&memory) else { continue };
            // OVMF adds table by table: a root that is not empty and stays as it is has them all.
            let root = word(&memory, rsdp + 16);
            let now = table(&mut guest, root);
            if now.len() > HEADER + 4 * 3 && now == seen {
                return Some(Tables::from_root(&mut guest, root));
            }
            seen = now;
        }
        panic!("OVMF made no tables");
    }

    /// The tables that the RSDT at `root` leads to.
    #[track_caller]
    fn from_root(guest: &mut Guest, root: u64) -> Tables {
        let root = table(guest, root);
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
    pub fn plan(self, plan: Plan) -> Plan {
        self.plan_with_root(plan, |_| {})
    }

    /// The same with something done to what leads to the tables: RSDP and RSDT, at [`ROOT`] of the bytes that `change`
    /// is given. Their checksums are as `change` leaves them.
    pub fn plan_with_root(mut self, mut plan: Plan, change: impl FnOnce(&mut [u8])) -> Plan {
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
        rsdp.resize(ROOT, 0);
        let root_at = rsdp.len();
        rsdp.append(&mut root);
        change(&mut rsdp);
        root = rsdp.split_off(root_at);

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

/// Where an RSDP with a right checksum is.
fn rsdp_in(memory: &[u8]) -> Option<usize> {
    let is_rsdp = |at: usize| {
        let bytes = memory.get(at..at + RSDP).filter(|bytes| bytes.starts_with(b"RSD PTR "));
        bytes.is_some_and(|bytes| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0)
    };
    (0..memory.len()).step_by(16).find(|&at| is_rsdp(at))
}

fn put(table: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = table.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Makes the bytes sum up to zero, by the one at `checksum`.
pub fn seal(table: &mut [u8], checksum: usize) {
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
