//! The decoders of static tables beside those of crate `acpi`, where it is right: RSDP, MADT, and a FADT of full length.
//!
//! The kernel does not use that crate. 5.2.0, the newest that builds with stable Rust and without its default features,
//! has no SRAT and no SLIT; 7.0.0-pre1 reads every entry of a SRAT one byte off and panics on a SLIT of two nodes; 6.x
//! needs unstable Rust. All trust the lengths in tables, so nothing malformed is given to it here.
//!
//! It reads what it thinks is physical memory, so the tables lie in this program's memory at their "physical" addresses.
//! Neighbours: the decoders' own tests prove that they are total.
use std::ptr::NonNull;

use acpi::address::{AddressSpace, GenericAddress};
use acpi::fadt::Fadt;
use acpi::madt::{Madt, MadtEntry};
use acpi::{AcpiHandler, AcpiTables, PhysicalMapping};
use carapace_acpi::{fadt, madt, rsdp};

const FADT_BYTES: usize = 276;
const FADT_REVISION: u8 = 6;

/// Addresses are pointers.
#[derive(Clone, Copy, Debug)]
struct Identity;

impl AcpiHandler for Identity {
    unsafe fn map_physical_region<T>(&self, address: usize, size: usize) -> PhysicalMapping<Self, T> {
        let pointer = std::ptr::with_exposed_provenance_mut::<T>(address);
        let pointer = NonNull::new(pointer).expect("an address inside a table");
        // SAFETY: the address lies in one of the tables of `Memory`, which outlive the mapping, at least `size` bytes
        // before its end: the lengths in them are right.
        unsafe { PhysicalMapping::new(address, pointer, size, size, *self) }
    }

    fn unmap_physical_region<T>(_: &PhysicalMapping<Self, T>) {}
}

/// Sets the byte at `at` so that all sum up to 0.
fn seal(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    let sum = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    bytes[at] = sum.wrapping_neg();
}

fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 36];
    bytes.extend_from_slice(body);
    let length = u32::try_from(bytes.len()).expect("a short table");
    bytes[..4].copy_from_slice(signature);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes[8] = revision;
    bytes[10..24].copy_from_slice(b"CARA  ORACLE  ");
    seal(&mut bytes, 9);
    bytes
}

/// An RSDP of ACPI 2.0 and later.
fn root_pointer(rsdt: u32, xsdt: u64) -> [u8; rsdp::LONG_BYTES] {
    let mut bytes = [0; rsdp::LONG_BYTES];
    bytes[..8].copy_from_slice(b"RSD PTR ");
    bytes[9..15].copy_from_slice(b"CARA  ");
    bytes[15] = 2;
    bytes[16..20].copy_from_slice(&rsdt.to_le_bytes());
    bytes[20..24].copy_from_slice(&36u32.to_le_bytes());
    bytes[24..32].copy_from_slice(&xsdt.to_le_bytes());
    seal(&mut bytes[..rsdp::SHORT_BYTES], 8);
    seal(&mut bytes, 32);
    bytes
}

/// Tables that the crate can walk to from an RSDP.
struct Memory {
    tables: Vec<Vec<u8>>,
    xsdt: Vec<u8>,
    rsdp: Box<[u8; rsdp::LONG_BYTES]>,
}

impl Memory {
    fn new(tables: Vec<Vec<u8>>) -> Self {
        let address = |table: &Vec<u8>| table.as_ptr().expose_provenance() as u64;
        let pointers: Vec<u8> = tables.iter().flat_map(|table| address(table).to_le_bytes()).collect();
        let xsdt = table(b"XSDT", 1, &pointers);
        let rsdp = Box::new(root_pointer(0, address(&xsdt)));
        Self { tables, xsdt, rsdp }
    }

    fn walk(&self) -> AcpiTables<Identity> {
        assert!(self.tables.iter().chain([&self.xsdt]).all(|table| table.len() >= 36));
        let address = self.rsdp.as_ptr().expose_provenance();
        // SAFETY: all tables live as long as `self`, and their lengths and checksums are right.
        unsafe { AcpiTables::from_rsdp(Identity, address) }.expect("tables that the crate takes")
    }
}

/// Proves that an RSDP leads both to the same root tables, and that both refuse each single flipped bit of it. Fails with
/// a wrong field or checksum.
#[test]
fn the_root_pointer_is_read_alike() {
    let bytes = root_pointer(0x1234_5678, 0x9_8765_4320);
    let parse = |bytes: &[u8; rsdp::LONG_BYTES]| {
        // SAFETY: the crate's type is the RSDP's layout of 36 bytes, valid for any bytes.
        let theirs: acpi::rsdp::Rsdp = unsafe { std::mem::transmute_copy(bytes) };
        theirs
    };
    let theirs = parse(&bytes);
    assert!(theirs.validate().is_ok());
    let short = rsdp::short(&bytes).expect("a valid RSDP");
    assert_eq!((short.rsdt.0, short.revision), (theirs.rsdt_address().into(), theirs.revision()));
    let xsdt = rsdp::xsdt(&bytes).expect("a valid length and sum").expect("an XSDT");
    assert_eq!(xsdt.0, theirs.xsdt_address());
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let ours = rsdp::short(&bytes).is_some_and(|short| !short.is_long() || rsdp::xsdt(&bytes).is_some());
        // The crate takes the sum of all bytes only; the first 20 have one of their own (5.2.5.3).
        assert!(!ours || parse(&bytes).validate().is_ok(), "bit {bit}");
        assert!(!ours, "bit {bit}");
    }
}

/// What is compared of a MADT.
#[derive(Debug, Default, PartialEq, Eq)]
struct Interrupts {
    local_apic: u64,
    legacy_pics: bool,
    io_apics: Vec<(u8, u64, u32)>,
    overrides: Vec<(u8, u32, u16)>,
    processors: Vec<u32>,
}

fn ours(table: &[u8]) -> Interrupts {
    let madt = madt::Madt::read(table).expect("a valid MADT");
    let code = |value: Option<u16>| value.unwrap_or(0);
    let polarity = |of: &madt::SourceOverride| {
        code(of.polarity.map(|polarity| if polarity == madt::Polarity::High { 1 } else { 3 }))
    };
    let trigger = |of: &madt::SourceOverride| {
        code(of.trigger.map(|trigger| if trigger == madt::Trigger::Edge { 1 } else { 3 }))
    };
    Interrupts {
        local_apic: madt.local_apic.0,
        legacy_pics: madt.legacy_pics == madt::LegacyPics::Present,
        io_apics: madt.io_apics.iter().map(|io| (io.id, io.registers.0, io.gsi_base)).collect(),
        overrides: madt
            .overrides
            .iter()
            .map(|of| (of.irq, of.gsi, trigger(of) << 2 | polarity(of)))
            .collect(),
        processors: madt.processors.iter().map(|id| id.0).collect(),
    }
}

fn theirs(table: &[u8]) -> Interrupts {
    let memory = Memory::new(vec![table.to_vec()]);
    let mapping = memory.walk().find_table::<Madt>().expect("a MADT");
    let madt = mapping.get();
    let mut all = Interrupts {
        local_apic: u64::from(madt.local_apic_address),
        legacy_pics: madt.supports_8259(),
        ..Interrupts::default()
    };
    let mut processor = |id: u32, flags: u32| {
        // Enabled, and not listed before as a local APIC.
        if flags & 1 != 0 && !all.processors.contains(&id) {
            all.processors.push(id);
        }
    };
    for entry in madt.entries() {
        match entry {
            MadtEntry::LocalApic(entry) if entry.apic_id != 0xff => {
                processor(entry.apic_id.into(), entry.flags)
            }
            MadtEntry::LocalX2Apic(entry) if { entry.x2apic_id } != u32::MAX => {
                processor(entry.x2apic_id, entry.flags);
            }
            MadtEntry::LocalApicAddressOverride(entry) => all.local_apic = entry.local_apic_address,
            MadtEntry::IoApic(entry) => {
                let registers = u64::from(entry.io_apic_address);
                all.io_apics.push((entry.io_apic_id, registers, entry.global_system_interrupt_base));
            }
            MadtEntry::InterruptSourceOverride(entry) if entry.bus == 0 => {
                // 2 is reserved, and read as "of the bus".
                let known = |bits: u16| if bits == 2 { 0 } else { bits };
                let flags = known(entry.flags >> 2 & 3) << 2 | known(entry.flags & 3);
                all.overrides.push((entry.irq, entry.global_system_interrupt, flags));
            }
            _ => {}
        }
    }
    all
}

/// A well-formed MADT of random entries of the kinds that x86 has.
fn random_madt(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(random.u32(..).to_le_bytes());
    body.extend(random.u32(..2).to_le_bytes());
    for _ in 0..random.usize(..24) {
        let (kind, length) = random
            .choice([(0, 8), (1, 12), (2, 10), (3, 8), (4, 6), (5, 12), (9, 16), (10, 12)])
            .expect("kinds");
        let mut entry: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        entry[0] = kind;
        entry[1] = u8::try_from(length).expect("short");
        if kind == 2 {
            entry[2] = random.u8(..2);
        }
        body.extend(entry);
    }
    table(b"APIC", 5, &body)
}

/// Proves that every kind of MADT entry is read as crate `acpi` reads it. Fails when a field is read from a wrong place.
#[test]
fn madts_are_read_alike() {
    let mut random = fastrand::Rng::with_seed(17);
    for round in 0..3000 {
        let table = random_madt(&mut random);
        assert_eq!(ours(&table), theirs(&table), "round {round}: {table:02x?}");
    }
}

/// A register as both can tell it: in memory (0) or at a port (1), and where.
type Place = Option<(u8, u64)>;

fn our_place(register: Option<fadt::Register>) -> Place {
    register.map(|register| match register {
        fadt::Register::Memory(at) => (0, at.0),
        fadt::Register::Io(port) => (1, port.into()),
    })
}

fn their_place(register: Option<GenericAddress>) -> Place {
    let register = register.filter(|register| register.address != 0)?;
    match register.address_space {
        AddressSpace::SystemMemory => Some((0, register.address)),
        AddressSpace::SystemIo => Some((1, register.address)),
        other => panic!("{other:?} was never given"),
    }
}

/// A FADT of full length: registers at random places, some absent, some only in the old 32-bit fields.
fn random_fadt(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..FADT_BYTES).map(|_| random.u8(..)).collect();
    let flags = random.u32(..) & !(1 << 20);
    bytes[112..116].copy_from_slice(&flags.to_le_bytes());
    bytes[48..52].copy_from_slice(&random.u32(..0x1_0000).to_le_bytes());
    // The 32-bit addresses of the event, control, timer and GPE blocks: ports.
    for at in (56..88).step_by(4) {
        let port = if random.bool() { random.u32(1..0x1_0000) } else { 0 };
        bytes[at..at + 4].copy_from_slice(&port.to_le_bytes());
    }
    bytes[88..92].copy_from_slice(&[4, 2, 1, 4]);
    // The crate multiplies the length of a GPE block by 8 in a byte.
    for at in [92, 93] {
        bytes[at] = 2 * random.u8(1..16);
    }
    // Their 64-bit ones, and the reset and sleep registers.
    for at in [116].into_iter().chain((148..=256).step_by(12)) {
        let (space, address) = match random.u8(..3) {
            0 => (0, random.u64(1..1 << 40)),
            1 => (1, random.u64(1..0x1_0000)),
            _ => (random.u8(..2), 0),
        };
        bytes[at] = space;
        bytes[at + 1] = 32;
        bytes[at + 2] = 0;
        bytes[at + 3] = 3;
        bytes[at + 4..at + 12].copy_from_slice(&address.to_le_bytes());
    }
    table(b"FACP", FADT_REVISION, &bytes[36..])
}

/// Proves that a FADT of full length is read as crate `acpi` reads it. Fails when a register is read from a wrong place,
/// or the wrong one of two fields is taken.
#[test]
fn fadts_of_full_length_are_read_alike() {
    let mut random = fastrand::Rng::with_seed(17);
    for round in 0..3000 {
        let table = random_fadt(&mut random);
        compare_fadt(&table, &format!("round {round}"));
    }
}

fn compare_fadt(table: &[u8], name: &str) {
    let ours = fadt::Fadt::read(table).unwrap_or_else(|error| panic!("{name}: {error}"));
    let memory = Memory::new(vec![table.to_vec()]);
    let mapping = memory.walk().find_table::<Fadt>().unwrap_or_else(|error| panic!("{name}: {error:?}"));
    let theirs = *mapping;
    let flags = { theirs.flags };
    assert_eq!(
        fadt::dsdt(table).expect("long enough").map(|at| at.0),
        theirs.dsdt_address().ok().map(|at| at as u64),
        "{name}"
    );
    if ours.hardware == fadt::Hardware::Reduced {
        assert!(flags.system_is_hw_reduced_acpi(), "{name}");
        return;
    }
    assert_eq!(ours.sci, { theirs.sci_interrupt }, "{name}");
    let enable = ours.enable.map(|command| (our_place(Some(command.register)), command.value));
    let switch = (Some((1, u64::from(theirs.smi_cmd_port))), theirs.acpi_enable);
    assert_eq!(enable, Some(switch).filter(|(at, value)| *value != 0 && *at != Some((1, 0))), "{name}");
    let event = ours.pm1_event.map(|block| our_place(block.map(|block| block.status)));
    let them = [theirs.pm1a_event_block().ok(), theirs.pm1b_event_block().expect("a known space")];
    assert_eq!(event, them.map(their_place), "{name}");
    let them = [theirs.pm1a_control_block().ok(), theirs.pm1b_control_block().expect("a known space")];
    assert_eq!(ours.pm1_control.map(our_place), them.map(their_place), "{name}");
    assert_eq!(
        our_place(ours.pm_timer),
        their_place(theirs.pm_timer_block().expect("a known space")),
        "{name}"
    );
    // A block of a length that no GPE block has is none here.
    let gpe = [theirs.gpe0_block().expect("a known space"), theirs.gpe1_block().expect("a known space")];
    for (ours, theirs) in ours.gpe.iter().zip(gpe) {
        if let Some(ours) = ours {
            assert_eq!(our_place(Some(ours.first)), their_place(theirs), "{name}");
        }
    }
    let reset = ours.reset.map(|command| (our_place(Some(command.register)), command.value));
    let them = their_place(theirs.reset_register().ok()).map(|at| (Some(at), theirs.reset_value));
    assert_eq!(reset, them.filter(|_| flags.supports_system_reset_via_fadt()), "{name}");
    if table.len() >= 268 {
        let control = theirs.sleep_control_register().expect("a known space");
        let status = theirs.sleep_status_register().expect("a known space");
        assert_eq!(our_place(ours.sleep_control), their_place(control), "{name}");
        assert_eq!(our_place(ours.sleep_status), their_place(status), "{name}");
    }
}

/// Proves the same on the tables of real machines in the folder that `ACPI_TABLES` names.
#[test]
fn tables_of_real_machines_are_read_alike() {
    let Some(folder) = std::env::var_os("ACPI_TABLES") else {
        println!("ACPI_TABLES names no folder of machines' tables: NOT compared");
        return;
    };
    let (mut madts, mut fadts) = (0, 0);
    for machine in std::fs::read_dir(folder).expect("the folder") {
        let machine = machine.expect("an entry").path();
        if let Ok(table) = std::fs::read(machine.join("apic.dat")) {
            madts += 1;
            let (ours, mut theirs) = (ours(&table), theirs(&table));
            // The kernel has a bound, and counts those beyond it.
            let left_out = madt::Madt::read(&table).expect("a valid MADT").processors_left_out;
            theirs.processors.truncate(theirs.processors.len() - left_out as usize);
            assert_eq!(ours, theirs, "{}", machine.display());
        }
        // The crate reads behind the end of a shorter one.
        if let Ok(table) = std::fs::read(machine.join("facp.dat"))
            && table.len() >= FADT_BYTES
        {
            fadts += 1;
            compare_fadt(&table, &machine.display().to_string());
        }
    }
    println!("{madts} MADTs and {fadts} FADTs of full length compared");
}
