//! cloud-hypervisor's FADT and DSDT, as far as memory hotplug goes: written with the crate that it writes them with, with
//! the same names, fields, methods and flags (its `devices/src/acpi.rs` and `vmm/src/memory_manager.rs`, August 2026).
//!
//! A term borrows its parts, so a part that is made in passing is written to [`Bytes`] first.
use acpi_tables::aml::{self, Path};
use acpi_tables::gas::{AccessSize, AddressSpace as Space, GAS};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml as Build, AmlSink};

/// DIMMs that can come.
pub const SLOTS: usize = 8;
/// The interrupt of the generic event device.
pub const GED_INTERRUPT: u32 = 5;
/// Where the register of the events lies.
pub const EVENT_AT: u64 = 0x7_ffff_f000;
/// Where the memory controller's registers lie.
pub const CONTROLLER_AT: u64 = 0x7_fffe_f000;
/// The bytes of these registers.
pub const CONTROLLER_BYTES: u64 = 0x18;
/// The port of the reset register and of the sleep registers.
pub const RESET_AND_SLEEP: u16 = 0x600;
/// Where the FADT says that the DSDT is.
pub const DSDT_AT: u64 = 0xa_0000;
/// Memory came or should leave: a bit of the register of events.
pub const MEMORY_CHANGED: u8 = 2;
/// The power button was pressed.
pub const BUTTON_PRESSED: u8 = 8;
fn path(name: &str) -> Path {
    Path::new(name)
}

/// Reads or writes a register of the controller by its absolute name.
fn register(name: &str) -> Path {
    Path::new(&format!("\\_SB_.MHPC.{name}"))
}

/// A term that is several.
struct Terms<'a>(Vec<Box<dyn Build + 'a>>);

impl Build for Terms<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        self.0.iter().for_each(|term| term.to_aml_bytes(sink));
    }
}

fn device(sink: &mut dyn AmlSink, at: &str, terms: Vec<&dyn Build>) {
    aml::Device::new(path(at), terms).to_aml_bytes(sink);
}

/// `_CRS` of a device with registers in memory.
fn registers_at(first: u64, bytes: u64) -> aml::AddressSpace<u64> {
    aml::AddressSpace::new_memory(
        aml::AddressSpaceCacheable::NotCacheable,
        true,
        first,
        first + bytes - 1,
        None,
    )
}

/// The devices of an event: the button, the controller that knows what happened, and the event device.
fn event_devices(sink: &mut dyn AmlSink) {
    let hid = aml::EISAName::new("PNP0C0C");
    device(
        sink,
        "_SB_.PWRB",
        vec![&aml::Name::new(path("_HID"), &hid), &aml::Name::new(path("_UID"), &aml::ZERO)],
    );
    let happened = |bit: u8, then: Box<dyn Build>| -> Box<dyn Build> {
        let found = aml::And::new(&aml::Local(1), &aml::Local(0), &bit);
        let is_it = aml::Equal::new(&aml::Local(1), &bit);
        let mut bytes = Vec::new();
        found.to_aml_bytes(&mut bytes);
        aml::If::new(&is_it, vec![&*then]).to_aml_bytes(&mut bytes);
        Box::new(Bytes(bytes))
    };
    let call =
        |method: &str| -> Box<dyn Build> { Box::new(built(&aml::MethodCall::new(path(method), vec![]))) };
    let (button, pressed) = (path("\\_SB_.PWRB"), 0x80u8);
    let scan = Terms(vec![
        Box::new(built(&aml::Store::new(&aml::Local(0), &path("GDAT")))),
        happened(1, call("\\_SB_.CPUS.CSCN")),
        happened(MEMORY_CHANGED, call("\\_SB_.MHPC.MSCN")),
        happened(4, call("\\_SB_.PHPR.PSCN")),
        happened(BUTTON_PRESSED, Box::new(built(&aml::Notify::new(&button, &pressed)))),
    ]);
    device(
        sink,
        "_SB_.GEC_",
        vec![
            &aml::Name::new(path("_HID"), &aml::EISAName::new("PNP0A06")),
            &aml::Name::new(path("_UID"), &"Generic Event Controller"),
            &aml::Name::new(path("_CRS"), &aml::ResourceTemplate::new(vec![&registers_at(EVENT_AT, 1)])),
            &aml::OpRegion::new(path("GDST"), aml::OpRegionSpace::SystemMemory, &EVENT_AT, &1u8),
            &aml::Field::new(
                path("GDST"),
                aml::FieldAccessType::Byte,
                aml::FieldLockRule::NoLock,
                aml::FieldUpdateRule::WriteAsZeroes,
                vec![aml::FieldEntry::Named(*b"GDAT", 8)],
            ),
            &aml::Method::new(path("ESCN"), 0, true, vec![&scan]),
        ],
    );
    let interrupt = aml::Interrupt::new(true, true, false, false, GED_INTERRUPT);
    device(
        sink,
        "_SB_.GED_",
        vec![
            &aml::Name::new(path("_HID"), &"ACPI0013"),
            &aml::Name::new(path("_UID"), &aml::ZERO),
            &aml::Name::new(path("_CRS"), &aml::ResourceTemplate::new(vec![&interrupt])),
            &aml::Method::new(
                path("_EVT"),
                1,
                true,
                vec![&aml::MethodCall::new(path("\\_SB_.GEC_.ESCN"), vec![])],
            ),
        ],
    );
    // Processors and PCI slots have controllers of the same kind; nothing comes there.
    for (at, method) in [("_SB_.CPUS", "CSCN"), ("_SB_.PHPR", "PSCN")] {
        device(sink, at, vec![&aml::Method::new(path(method), 0, true, vec![])]);
    }
}

/// AML that is written already: a term whose parts need not live on.
struct Bytes(Vec<u8>);

impl Build for Bytes {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn built(term: &dyn Build) -> Bytes {
    let mut bytes = Vec::new();
    term.to_aml_bytes(&mut bytes);
    Bytes(bytes)
}

/// The name of a slot below the controller.
pub fn slot_name(slot: usize) -> String {
    format!("M{slot:03}")
}

/// The fields of the controller: what is read, the state's bits, and what is written at the same addresses.
fn fields() -> Terms<'static> {
    use aml::FieldEntry::{Named, Reserved};
    let field = |access, update, entries| -> Box<dyn Build> {
        let lock = aml::FieldLockRule::NoLock;
        Box::new(aml::Field::new(path("MHPR"), access, lock, update, entries))
    };
    let (dword, byte) = (|| aml::FieldAccessType::DWord, aml::FieldAccessType::Byte);
    let keep = || aml::FieldUpdateRule::Preserve;
    let names = |names: [&[u8; 4]; 4], bits| names.map(|name| Named(*name, bits)).to_vec();
    let state = [vec![Reserved(160)], names([b"MEN_", b"MINS", b"MRMV", b"MEJ0"], 1)].concat();
    Terms(vec![
        field(dword(), keep(), names([b"MHBL", b"MHBH", b"MHLL", b"MHLH"], 32)),
        field(dword(), keep(), vec![Reserved(128), Named(*b"MHPX", 32)]),
        field(byte, aml::FieldUpdateRule::WriteAsZeroes, state),
        field(dword(), keep(), names([b"MSEL", b"MOEV", b"MOSC", b"MNUL"], 32)[..3].to_vec()),
    ])
}

/// The method that notifies the slot `Arg0` with the value `Arg1`, and the one that looks at all slots.
fn scan_methods() -> Terms<'static> {
    let tell = (0..SLOTS).map(|slot| -> Box<dyn Build> {
        let notify = built(&aml::Notify::new(&path(&slot_name(slot)), &aml::Arg(1)));
        Box::new(built(&aml::If::new(&aml::Equal::new(&aml::Arg(0), &slot), vec![&notify])))
    });
    let tell = Terms(tell.collect());
    let changed = |bit: &str, value: u8| {
        let call = built(&aml::MethodCall::new(path("MTFY"), vec![&aml::Local(0), &value]));
        let clear = built(&aml::Store::new(&register(bit), &aml::ONE));
        built(&aml::If::new(&aml::Equal::new(&register(bit), &aml::ONE), vec![&call, &clear]))
    };
    let (came, goes) = (changed("MINS", 1), changed("MRMV", 3));
    let select = built(&aml::Store::new(&register("MSEL"), &aml::Local(0)));
    let next = built(&aml::Add::new(&aml::Local(0), &aml::Local(0), &aml::ONE));
    let each = aml::LessThan::new(&aml::Local(0), &SLOTS);
    let each = built(&aml::While::new(&each, vec![&select, &came, &goes, &next]));
    let start = built(&aml::Store::new(&aml::Local(0), &aml::ZERO));
    let (lock, unlock) = (aml::Acquire::new(path("MLCK"), 0xffff), aml::Release::new(path("MLCK")));
    Terms(vec![
        Box::new(built(&aml::Method::new(path("MTFY"), 2, true, vec![&tell]))),
        Box::new(built(&aml::Method::new(path("MSCN"), 0, true, vec![&lock, &start, &each, &unlock]))),
    ])
}

/// The methods behind each slot's `_STA` and `_CRS`. The second makes names while it runs, and computes the last address
/// from halves.
fn slot_methods() -> Terms<'static> {
    let lock = || built(&aml::Acquire::new(path("MLCK"), 0xffff));
    let unlock = || built(&aml::Release::new(path("MLCK")));
    let select = || built(&aml::Store::new(&register("MSEL"), &aml::Arg(0)));
    let enabled = built(&aml::If::new(
        &aml::Equal::new(&register("MEN_"), &aml::ONE),
        vec![&aml::Store::new(&aml::Local(0), &0xfu8)],
    ));
    let absent = built(&aml::Store::new(&aml::Local(0), &aml::ZERO));
    let answer = built(&aml::Return::new(&aml::Local(0)));
    let status = built(&aml::Method::new(
        path("MSTA"),
        1,
        true,
        vec![&lock(), &select(), &absent, &enabled, &unlock(), &answer],
    ));

    let range = aml::AddressSpace::new_memory(
        aml::AddressSpaceCacheable::Cacheable,
        true,
        0u64,
        0xffff_ffff_ffff_fffe,
        None,
    );
    let range = built(&aml::Name::new(path("MR64"), &aml::ResourceTemplate::new(vec![&range])));
    let mut terms: Vec<Box<dyn Build>> = vec![Box::new(lock()), Box::new(select()), Box::new(range)];
    for (low, high, at) in [("MINL", "MINH", 14usize), ("MAXL", "MAXH", 22), ("LENL", "LENH", 38)] {
        let (buffer, upper) = (path("MR64"), at + 4);
        terms.push(Box::new(built(&aml::CreateQWordField::new(&path(low), &buffer, &at))));
        terms.push(Box::new(built(&aml::CreateDWordField::new(&path(high), &buffer, &upper))));
    }
    for (to, from) in [("MINL", "MHBL"), ("MINH", "MHBH"), ("LENL", "MHLL"), ("LENH", "MHLH")] {
        terms.push(Box::new(built(&aml::Store::new(&path(to), &register(from)))));
    }
    for (sum, a, b) in [("MAXL", "MINL", "LENL"), ("MAXH", "MINH", "LENH")] {
        terms.push(Box::new(built(&aml::Add::new(&path(sum), &path(a), &path(b)))));
    }
    let carry = built(&aml::Add::new(&path("MAXH"), &aml::ONE, &path("MAXH")));
    let (last, first) = (path("MAXL"), path("MINL"));
    let carries = aml::LessThan::new(&last, &first);
    terms.push(Box::new(built(&aml::If::new(&carries, vec![&carry]))));
    terms.push(Box::new(built(&aml::Subtract::new(&path("MAXL"), &path("MAXL"), &aml::ONE))));
    terms.push(Box::new(unlock()));
    terms.push(Box::new(built(&aml::Return::new(&path("MR64")))));
    let resources = built(&aml::Method::new(path("MCRS"), 1, true, vec![&Terms(terms)]));
    Terms(vec![Box::new(status), Box::new(resources)])
}

/// A slot: each method asks the controller's.
fn slot_device(slot: usize) -> Bytes {
    let ask = |name: &str, method: &str| {
        let value = aml::MethodCall::new(path(method), vec![&slot]);
        built(&aml::Method::new(path(name), 0, false, vec![&aml::Return::new(&value)]))
    };
    built(&aml::Device::new(
        path(&slot_name(slot)),
        vec![
            &aml::Name::new(path("_HID"), &aml::EISAName::new("PNP0C80")),
            &aml::Name::new(path("_UID"), &slot),
            &ask("_STA", "MSTA"),
            &ask("_CRS", "MCRS"),
        ],
    ))
}

fn memory_controller(sink: &mut dyn AmlSink) {
    let registers = registers_at(CONTROLLER_AT, CONTROLLER_BYTES);
    let slots = Terms((0..SLOTS).map(|slot| -> Box<dyn Build> { Box::new(slot_device(slot)) }).collect());
    device(
        sink,
        "_SB_.MHPC",
        vec![
            &aml::Name::new(path("_HID"), &aml::EISAName::new("PNP0A06")),
            &aml::Name::new(path("_UID"), &"Memory Hotplug Controller"),
            &aml::Mutex::new(path("MLCK"), 0),
            &aml::Name::new(path("_CRS"), &aml::ResourceTemplate::new(vec![&registers])),
            &aml::OpRegion::new(
                path("MHPR"),
                aml::OpRegionSpace::SystemMemory,
                &CONTROLLER_AT,
                &CONTROLLER_BYTES,
            ),
            &fields(),
            &scan_methods(),
            &slot_methods(),
            &slots,
        ],
    );
}

/// The DSDT: what memory hotplug needs of it.
pub fn dsdt() -> Vec<u8> {
    let mut aml = Vec::new();
    event_devices(&mut aml);
    memory_controller(&mut aml);
    let mut table = Sdt::new(*b"DSDT", 36, 6, *b"CLOUDH", *b"CHDSDT  ", 1);
    table.append_slice(&aml);
    table.update_checksum();
    table.as_slice().to_vec()
}

/// The FADT: hardware-reduced, with a reset register; one register for the sleep control and status.
pub fn fadt() -> Vec<u8> {
    let mut table = Sdt::new(*b"FACP", 276, 6, *b"CLOUDH", *b"CHFACP  ", 1);
    let port = built(&GAS::new(Space::SystemIo, 8, 0, AccessSize::ByteAccess, RESET_AND_SLEEP.into()));
    for at in [116, 244, 256] {
        table.write_bytes(at, &port.0);
    }
    table.write(128, 1u8);
    table.write(112, 1u32 << 20 | 1 << 10 | 1 << 8);
    table.write(140, DSDT_AT);
    table.update_checksum();
    table.as_slice().to_vec()
}
