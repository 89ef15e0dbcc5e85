//! The interpreter `aml` against two judges: the tables that QEMU really makes, with its memory hotplug
//! registers played by a fake, and ACPICA's own interpreter (`acpiexec`) on small tables compiled by
//! `iasl`. Needs qemu-system-x86_64 and Debian's acpica-tools.
mod acpica;
mod aslts;
mod fake;
mod machines;
mod mutants;
mod qemu;

use carapace_aml::resources::{Resource, decode};
use carapace_aml::{Aml, Handle, Kind, Limits, Loaded, Reach, Value};
use fake::{Dimm, FakeHost};
use qemu::Firmware;

/// QEMU's tables loaded, with a host that plays the memory slots.
fn loaded(firmware: Firmware, machine: &str, slots: usize) -> (Aml, FakeHost) {
    let tables = qemu::capture(firmware, machine, slots);
    let mut host = FakeHost::with_slots(slots);
    let mut aml = Aml::new(Limits::default());
    for table in &tables {
        load(&mut aml, &mut host, table, machine);
    }
    (aml, host)
}

fn with_each_firmware<T: Copy>(cases: &[T]) -> Vec<(Firmware, T)> {
    qemu::firmwares()
        .into_iter()
        .flat_map(|firmware| cases.iter().map(move |case| (firmware, *case)))
        .collect()
}

/// Loads a table of which nothing may be left out.
fn load(aml: &mut Aml, host: &mut FakeHost, table: &[u8], name: &str) {
    let loaded = aml.load(host, table).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(loaded, Loaded::default(), "{name}");
}

/// Plugs, scans, describes, reports and ejects DIMMs through nothing but the tables' own methods, on both
/// machines, as both firmwares leave the tables, and with the most slots there are. Breaks with any error in fields, mutexes, loops, buffer
/// fields, Notify or calls.
#[test]
fn memory_hotplug_methods_of_qemu_run() {
    let machines = [("q35", 3), ("pc", 3), ("q35", 256), ("pc", 256)];
    for (firmware, (machine, slots)) in with_each_firmware(&machines) {
        let (mut aml, mut host) = loaded(firmware, machine, slots);
        let devices = memory_devices(&mut aml, &mut host);
        assert_eq!(devices.len(), slots, "{machine}: {devices:?}");
        assert_eq!(devices.first().map(String::as_str), Some("\\_SB.MHPC.MP00"));
        let last = devices.last().expect("slots").clone();
        assert_eq!(integer(&mut aml, &mut host, "\\_SB.MHPC.MP00._STA"), 0, "{machine}");

        host.slots[0] = Dimm { base: 0x1_0000_0000, size: 256 << 20, node: 1, ..Dimm::inserted() };
        host.slots[slots - 1] = Dimm { base: 0x4000_0000, size: 128 << 20, node: 0, ..Dimm::inserted() };
        aml.evaluate(&mut host, "\\_GPE._E03", &[]).expect("_E03");
        assert_eq!(host.take_notes(), [("\\_SB.MHPC.MP00".into(), 1), (last.clone(), 1)], "{machine}");
        assert!(host.slots.iter().all(|slot| !slot.inserting), "the scan clears the insert bits");

        assert_eq!(integer(&mut aml, &mut host, "\\_SB.MHPC.MP00._STA"), 0xf);
        assert_eq!(integer(&mut aml, &mut host, "\\_SB.MHPC.MP00._PXM"), 1);
        assert_eq!(memory(&mut aml, &mut host, "\\_SB.MHPC.MP00._CRS"), (0x1_0000_0000, 0x1_0fff_ffff));
        assert_eq!(memory(&mut aml, &mut host, &format!("{last}._CRS")), (0x4000_0000, 0x47ff_ffff));

        let report = [Value::Integer(1), Value::Integer(0), Value::Buffer(Vec::new())];
        aml.evaluate(&mut host, "\\_SB.MHPC.MP00._OST", &report).expect("_OST");
        assert_eq!((host.slots[0].event, host.slots[0].status), (1, 0));

        host.slots[0].removing = true;
        aml.evaluate(&mut host, "\\_GPE._E03", &[]).expect("_E03");
        assert_eq!(host.take_notes(), [("\\_SB.MHPC.MP00".into(), 3)]);
        aml.evaluate(&mut host, "\\_SB.MHPC.MP00._EJ0", &[Value::Integer(1)]).expect("_EJ0");
        assert!(host.slots[0].ejected, "{machine}");
    }
}

fn memory_devices(aml: &mut Aml, host: &mut FakeHost) -> Vec<String> {
    let mut devices = aml.devices();
    devices.retain(|&device| aml.hid(host, device).expect("_HID").as_deref() == Some("PNP0C80"));
    devices.into_iter().map(|device| aml.path(device)).collect()
}

fn integer(aml: &mut Aml, host: &mut FakeHost, path: &str) -> u64 {
    let value = aml.evaluate(host, path, &[]).unwrap_or_else(|error| panic!("{path}: {error}"));
    value.as_integer().unwrap_or_else(|| panic!("{path}: {value:?}"))
}

/// First and last address of the one memory range.
fn memory(aml: &mut Aml, host: &mut FakeHost, path: &str) -> (u64, u64) {
    let value = aml.evaluate(host, path, &[]).unwrap_or_else(|error| panic!("{path}: {error}"));
    let resources: Vec<_> =
        decode(value.as_buffer().expect("a buffer")).map(|one| one.expect("valid")).collect();
    match resources.as_slice() {
        [Resource::Memory(range)] if range.length == range.max - range.min + 1 => (range.min, range.max),
        other => panic!("{path}: {other:?}"),
    }
}

/// Only the scan of memory slots reaches memory devices: neither PCI hotplug (_E01) nor CPU hotplug
/// (_E02), whose notifications go elsewhere.
#[test]
fn gpe_handlers_of_qemu_reach_what_they_should() {
    for (firmware, machine) in with_each_firmware(&["q35", "pc"]) {
        let (mut aml, mut host) = loaded(firmware, machine, 3);
        let devices = memory_devices(&mut aml, &mut host);
        let is_memory = |device: Handle| devices.contains(&aml.path(device));
        assert_eq!(aml.reaches_notify("\\_GPE._E03", &is_memory), Reach::Yes, "{machine}");
        for other in ["\\_GPE._E01", "\\_GPE._E02"] {
            if aml.exists(other) {
                assert_eq!(aml.reaches_notify(other, &is_memory), Reach::No, "{machine} {other}");
            }
        }
    }
}

/// Everything in QEMU's tables that has a value without asking the machine for it has the same value here and in
/// ACPICA: names, and methods without arguments that touch no hardware. Breaks with any difference in what these
/// tables use.
#[test]
fn what_qemu_declares_is_what_acpica_sees() {
    let directory = tempfile::tempdir().expect("a directory");
    for (firmware, machine) in with_each_firmware(&["q35", "pc"]) {
        let tables = qemu::capture(firmware, machine, 3);
        let mut files = Vec::new();
        for (index, table) in tables.iter().enumerate() {
            let file = directory.path().join(format!("{firmware:?}-{machine}-{index}.aml"));
            std::fs::write(&file, table).expect("the table");
            files.push(file);
        }
        let fresh = || {
            let (mut aml, mut host) = (Aml::new(Limits::default()), FakeHost::default());
            tables.iter().for_each(|table| load(&mut aml, &mut host, table, machine));
            (aml, host)
        };
        let (mut aml, mut host) = fresh();
        let mut paths = Vec::new();
        let mut pending = vec![aml.find("\\").expect("the root")];
        while let Some(object) = pending.pop() {
            let (path, children) = (aml.path(object), aml.children(object));
            let has_value = match aml.kind(&path) {
                Some(Kind::Integer | Kind::String | Kind::Buffer | Kind::Package) => true,
                Some(Kind::Method) => aml.arguments(&path) == Some(0),
                _ => false,
            };
            let before = host.accesses;
            // What the interpreter itself brings is its own affair.
            let is_own = ["\\_REV", "\\_OS"].contains(&path.as_str());
            if has_value && !is_own && aml.evaluate(&mut host, &path, &[]).is_ok() && host.accesses == before
            {
                paths.push(path);
            }
            pending.extend(children);
        }
        let mut different = Vec::new();
        // As many as acpiexec takes at a time.
        for paths in paths.chunks(20) {
            let (mut aml, mut host) = fresh();
            for (path, theirs) in paths.iter().zip(acpica::evaluate("acpiexec".as_ref(), &files, paths)) {
                let ours = aml.evaluate(&mut host, path, &[]).map(unnamed);
                let ours = ours.map_or(acpica::Answer::Failed, acpica::Answer::Value);
                if ours != theirs && theirs != acpica::Answer::TooLong {
                    different.push(format!("{path}: ours {ours:?}; theirs {theirs:?}"));
                }
            }
        }
        let count = paths.len();
        println!("{firmware:?}, {machine}: {} tables, {count} values compared", tables.len());
        assert!(different.is_empty(), "{firmware:?} {machine}:\n{}", different.join("\n"));
        assert!(count > 100, "{firmware:?} {machine}: {count}");
    }
}

/// A value as ACPICA prints it: without what references refer to.
fn unnamed(value: Value) -> Value {
    match value {
        Value::Reference(_) => Value::Reference(String::new()),
        Value::Package(elements) => Value::Package(elements.into_iter().map(unnamed).collect()),
        value => value,
    }
}

/// Where ACPICA of 2020 and of 2026 differ, by table and method, the newer one decides: ToHexString of an integer has
/// "0x" and no leading zeros.
const NEWER: [(&str, &str); 3] = [("convert2", "\\T012"), ("convert1", "\\T012"), ("widths2", "\\T092")];

/// Every method `\T...` of the ASL files gives the same answer here and in ACPICA, evaluated in the same
/// order, with 64-bit and with 32-bit integers. Breaks with any difference in the meaning of an operator,
/// a conversion, a store or a field access.
#[test]
fn answers_are_those_of_acpica() {
    let directory = tempfile::tempdir().expect("a directory");
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("aml_oracle/asl");
    let judges = acpica::judges();
    let mut compared = 0;
    let mut different = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(sources).expect("sources").map(|file| file.expect("file").path()).collect();
    files.sort();
    for file in files {
        let source = std::fs::read_to_string(&file).expect("a source");
        for revision in ["2", "1"] {
            let stem = file.file_stem().expect("a name").to_string_lossy();
            let name = format!("{stem}{revision}");
            let source = source.replace("REVISION", revision);
            let table = acpica::compile(&source, directory.path(), &name);
            let mut host = FakeHost::default();
            let mut aml = Aml::new(Limits::default());
            load(&mut aml, &mut host, &table, &name);
            let mut names: Vec<_> = aml.children("\\").into_iter().map(|object| aml.path(object)).collect();
            names.retain(|name| name.starts_with("\\T"));
            for names in names.chunks(40) {
                // A fresh interpreter for each run of acpiexec.
                let mut aml = Aml::new(Limits::default());
                let mut host = FakeHost::default();
                load(&mut aml, &mut host, &table, &name);
                let file = [directory.path().join(format!("{name}.aml"))];
                let theirs = judges.iter().map(|judge| acpica::evaluate(judge, &file, names));
                let theirs: Vec<_> = theirs.collect();
                for (at, method) in names.iter().enumerate() {
                    let ours = aml.evaluate(&mut host, method, &[]);
                    let reason = ours.as_ref().err().map(ToString::to_string).unwrap_or_default();
                    let ours =
                        ours.map_or(acpica::Answer::Failed, |value| acpica::Answer::Value(unnamed(value)));
                    compared += 1;
                    let is_newer = NEWER.contains(&(&name, method));
                    for (judge, theirs) in judges.iter().zip(&theirs) {
                        let theirs = &theirs[at];
                        let is_old = judge.as_os_str() == "acpiexec";
                        if (ours == *theirs) == (is_old && is_newer) {
                            different.push(format!(
                                "{name} {method}: ours {ours:?} {reason}; {} {theirs:?}",
                                judge.display()
                            ));
                        }
                    }
                }
            }
        }
    }
    assert!(different.is_empty(), "{} of {compared}:\n{}", different.len(), different.join("\n"));
    assert!(compared > 1000, "{compared}");
}
