//! The interpreter as a black box: it always ends, never panics, stays within its limits, and an error
//! leaves nothing behind. The tables in `fixtures` are compiled from `hotplug.asl` beside them and from the
//! sources of the comparison with ACPICA in the package `tests`.
mod code;
mod host;

use carapace_aml::{Aml, ErrorKind, Handle, Kind, Limits, NameSeg, Reach, Value};
use code::{method, table};
use host::TestHost;

const HOTPLUG: &[u8] = include_bytes!("fixtures/hotplug.aml");
const FIXTURES: [&[u8]; 5] = [
    HOTPLUG,
    include_bytes!("fixtures/integer.aml"),
    include_bytes!("fixtures/convert.aml"),
    include_bytes!("fixtures/store.aml"),
    include_bytes!("fixtures/field.aml"),
];

fn hotplug(limits: Limits) -> (Aml, TestHost) {
    let (mut aml, mut host) = (Aml::new(limits), TestHost::default());
    aml.load(&mut host, HOTPLUG).expect("the fixture loads");
    (aml, host)
}

fn reason(aml: &mut Aml, host: &mut TestHost, path: &str) -> ErrorKind {
    aml.evaluate(host, path, &[]).expect_err(path).kind().clone()
}

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % bound
    }
}

/// Each kind of endless work ends with its own error, and afterwards the interpreter works as before.
/// Breaks if any of the budgets is not spent where the work is done.
#[test]
fn endless_work_ends_with_an_error() {
    let limits = Limits { steps: 2_000_000, bytes: 1 << 20, ..Limits::default() };
    let (mut aml, mut host) = hotplug(limits);
    assert_eq!(reason(&mut aml, &mut host, "\\LOP0"), ErrorKind::TooManySteps);
    assert_eq!(reason(&mut aml, &mut host, "\\SLEE"), ErrorKind::TooMuchSleep);
    assert!(host.slept <= u64::from(limits.sleep_ms));
    assert_eq!(reason(&mut aml, &mut host, "\\RECU"), ErrorKind::TooDeep);
    assert_eq!(reason(&mut aml, &mut host, "\\GROW"), ErrorKind::TooManyBytes);
    assert_eq!(reason(&mut aml, &mut host, "\\NEST"), ErrorKind::TooDeep);
    assert_eq!(reason(&mut aml, &mut host, "\\CYCL"), ErrorKind::TooDeep);
    assert!(matches!(reason(&mut aml, &mut host, "\\FORE"), ErrorKind::Deadlock(_)));
    assert_eq!(reason(&mut aml, &mut host, "\\FATA"), ErrorKind::Fatal { class: 1, code: 2, argument: 3 });
    assert_eq!(reason(&mut aml, &mut host, "\\DANG"), ErrorKind::Dangling);
    assert_eq!(aml.evaluate(&mut host, "\\KEPT", &[]), Ok(Value::String("kept".into())));
    aml.evaluate(&mut host, "\\_GPE._E03", &[]).expect("works as before");
}

/// A loop that makes 5 MiB of garbage runs within 1 MiB, and live values survive: locals of callers, the operand of an
/// expression under evaluation, named objects. Breaks if garbage is not collected, or live values are.
#[test]
fn garbage_is_collected_and_nothing_else() {
    let (mut aml, mut host) = hotplug(Limits { steps: 40_000_000, bytes: 1 << 20, ..Limits::default() });
    let expected = [Value::String("kept".into()), Value::Integer(1), Value::Integer(2), Value::Integer(3)];
    for _ in 0..3 {
        assert_eq!(aml.evaluate(&mut host, "\\BUSY", &[]), Ok(Value::Package(expected.to_vec())));
    }
    assert_eq!(aml.evaluate(&mut host, "\\OLDR", &[]), Ok(Value::Buffer(vec![5, 6])));
    assert!(aml.bytes_held() < 300_000, "{}", aml.bytes_held());
}

/// After an error under a mutex, the mutex is free and the names of the method are gone. Breaks if an
/// error path forgets either.
#[test]
fn an_error_leaves_nothing_behind() {
    let (mut aml, mut host) = hotplug(Limits::default());
    let error = aml.evaluate(&mut host, "\\_SB.MHPC.FAIL", &[]).expect_err("divides by zero");
    assert_eq!(*error.kind(), ErrorKind::DivideByZero);
    assert_eq!(error.path(), Some("\\_SB.MHPC.FAIL"));
    let before = aml.children("\\_SB.MHPC.MCRS");
    host.refuse_ports = true;
    let error = aml.evaluate(&mut host, "\\_SB.MHPC.MP00._CRS", &[]).expect_err("ports are refused");
    assert!(matches!(error.kind(), ErrorKind::Host(_)), "{error}");
    assert_eq!(error.path(), Some("\\_SB.MHPC.MCRS"));
    host.refuse_ports = false;
    assert_eq!(aml.children("\\_SB.MHPC.MCRS"), before);
    assert!(aml.evaluate(&mut host, "\\_SB.MHPC.MP00._CRS", &[]).is_ok());
    // Release (\_SB.MHPC.MLCK) of a free mutex is an error.
    let release = method(b"\x5b\x27\\\x2f\x03_SB_MHPCMLCK");
    aml.load(&mut host, &table(&release)).expect("loads");
    let _fails = aml.evaluate(&mut host, "\\_SB.MHPC.FAIL", &[]);
    assert!(matches!(reason(&mut aml, &mut host, "\\METH"), ErrorKind::MutexNotHeld(_)));
    aml.evaluate(&mut host, "\\_GPE._E03", &[]).expect("the mutex is free");
}

/// Code nested as deeply as it gets, in all ways that nest, runs into the depth limit on a stack of 128 KiB,
/// half of the kernel's. Breaks if a way to recurse is not counted or a level takes too much stack.
#[test]
fn the_depth_limit_bounds_the_native_stack() {
    let nested = |opcode: &[u8], levels: usize, end: &[u8]| {
        let mut body = vec![0xa4];
        body.extend(opcode.repeat(levels));
        body.extend(end);
        table(&method(&body))
    };
    let mut packages = vec![0x12, 2, 0];
    while packages.len() < 1000 {
        let length = packages.len() + 3;
        let lead = 0x40 | u8::try_from(length & 0xf).expect("four bits");
        let mut outer = vec![0x12, lead, u8::try_from(length >> 4).expect("short"), 1];
        outer.append(&mut packages);
        packages = outer;
    }
    let tables = [
        nested(&[0x92], 2000, &[0]),    // LNot
        nested(&[0x83], 2000, &[0]),    // DerefOf
        nested(&[0x72, 0], 1000, &[0]), // Add, to the right
        nested(b"METH", 1, &[]),        // a call of itself
        nested(&[0x74], 500, b"METH"),  // Subtract, then a call
        nested(&[0x88], 800, &[0]),     // Index
        nested(&[0x87], 800, &[0]),     // SizeOf
        nested(&[0x70], 800, &[0]),     // Store
        nested(&[0x8e], 800, &[0]),     // ObjectType
        table(&method(&[&[0xa4], packages.as_slice()].concat())),
    ];
    let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
        for table in tables {
            let (mut aml, mut host) = (Aml::new(Limits::default()), TestHost::default());
            aml.load(&mut host, &table).expect("loads");
            let error = aml.evaluate(&mut host, "\\METH", &[]).expect_err("too deep");
            assert_eq!(*error.kind(), ErrorKind::TooDeep, "{error}");
        }
    });
    thread.expect("a thread").join().expect("no overflow");
}

/// Loads a table that may be garbage and evaluates all it has at its top.
fn exercise(table: &[u8]) {
    let limits = Limits { steps: 20_000, bytes: 1 << 18, ..Limits::default() };
    let (mut aml, mut host) = (Aml::new(limits), TestHost::default());
    let _loaded = aml.load(&mut host, table);
    let mut objects = aml.children("\\");
    objects.extend(
        ["\\_SB.MHPC.MSCN", "\\_SB.MHPC.MP00._CRS", "\\_GPE._E03"].iter().filter_map(|path| aml.find(path)),
    );
    objects.extend(aml.devices());
    for object in objects {
        let args = vec![Value::Integer(1); aml.arguments(object).unwrap_or(0).into()];
        let _answer = aml.evaluate(&mut host, object, &args);
        let _reach = aml.reaches_notify(object, &|_| false);
        let _hid = aml.hid(&mut host, object);
        let _kind = aml.kind(object);
    }
    let _initialized = aml.initialize(&mut host);
    assert!(aml.bytes_held() <= limits.bytes);
}

/// One to eight bytes of a good table changed at random: no panic, no hang, no limit exceeded.
#[test]
fn spoiled_tables_give_errors_only() {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    for round in 0..3000 {
        let mut table = FIXTURES[round % FIXTURES.len()].to_vec();
        for _ in 0..=numbers.below(8) {
            let at = 36 + numbers.below(table.len() - 36);
            table[at] = u8::try_from(numbers.below(256)).expect("a byte");
        }
        exercise(&table);
    }
}

/// Good tables cut off anywhere, and pure noise.
#[test]
fn cut_tables_and_noise_give_errors_only() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for length in (36..HOTPLUG.len()).step_by(7) {
        exercise(&table(&HOTPLUG[36..length]));
    }
    for length in 0..40 {
        exercise(&HOTPLUG[..length]);
    }
    for _ in 0..2000 {
        let body: Vec<u8> = (0..200).map(|_| u8::try_from(numbers.below(256)).expect("a byte")).collect();
        exercise(&table(&body));
        exercise(&table(&method(&body)));
    }
}

/// The namespace as its users see it: kinds, devices, hardware ids, what a method can notify.
#[test]
fn the_namespace_can_be_looked_at() {
    let (mut aml, mut host) = hotplug(Limits::default());
    assert_eq!(aml.kind("\\_SB.MHPC.MLCK"), Some(Kind::Mutex));
    assert_eq!(aml.kind("\\_SB.MHPC.MSEL"), Some(Kind::FieldUnit));
    assert_eq!(aml.kind("\\_SB.TZ00"), Some(Kind::ThermalZone));
    assert_eq!(aml.kind("\\_SB.NOPE"), None);
    assert_eq!(aml.kind("no path"), None);
    let devices: Vec<String> = aml.devices().into_iter().map(|device| aml.path(device)).collect();
    assert!(devices.contains(&"\\_SB.PCI0.BR00.FN03".into()), "{devices:?}");
    assert!(devices.contains(&"\\_SB.MHPC.MP01".into()), "{devices:?}");
    assert_eq!(aml.hid(&mut host, "\\_SB.MHPC.MP00"), Ok(Some("PNP0C80".into())));
    assert_eq!(aml.hid(&mut host, "\\_SB.MHPC"), Ok(Some("PNP0A06".into())));
    assert_eq!(aml.hid(&mut host, "\\_SB.TZ00"), Ok(None));

    let first = aml.find("\\_SB.MHPC.MP00");
    let first = |device: Handle| Some(device) == first;
    assert_eq!(aml.reaches_notify("\\_GPE._E03", &first), Reach::Yes);
    assert_eq!(aml.reaches_notify("\\_SB.MHPC.ONLY", &first), Reach::No);
    assert_eq!(aml.reaches_notify("\\_SB.MHPC.MCRS", &first), Reach::No);
    assert_eq!(aml.reaches_notify("\\_SB.MHPC.SELF", &first), Reach::No);
    assert_eq!(aml.reaches_notify("\\_GPE._E01", &first), Reach::Undecidable);
    assert_eq!(aml.reaches_notify("\\_GPE._E02", &first), Reach::No);
}

/// `_INI` runs for present devices only. Breaks if `_STA` is not asked.
#[test]
fn initialization_asks_for_the_status() {
    let (mut aml, mut host) = hotplug(Limits::default());
    aml.initialize(&mut host).expect("initializes");
    assert_eq!(aml.evaluate(&mut host, "\\_SB.MHPC.INIT", &[]), Ok(Value::Integer(1)));
}

/// A region in PCI configuration space belongs to the function that encloses it: the bus is the bridge's
/// secondary one, device and function come from `_ADR`. Preserve reads before it writes half a datum.
#[test]
fn configuration_space_is_found_through_bridges() {
    let (mut aml, mut host) = hotplug(Limits::default());
    assert_eq!(
        aml.evaluate(&mut host, "\\_SB.PCI0.BR00.FN03.CFG1", &[]),
        Ok(Value::Integer(0x4342)),
        "{:?}",
        host.pci
    );
    let seen: Vec<_> =
        host.pci.iter().map(|(at, offset)| (at.bus, at.device, at.function, *offset)).collect();
    assert_eq!(seen, [(2, 0x1e, 0, 0x0e), (2, 0x1e, 0, 0x19), (7, 4, 3, 0x42)]);
}

/// A region whose base is declared behind it, or in a later table, is settled at its first access; until
/// then an access is an error and no more. Breaks if the base is taken too early or never.
#[test]
fn a_region_can_be_declared_before_its_base() {
    let (mut aml, mut host) = (Aml::new(Limits::default()), TestHost::default());
    let mut body = b"\x5b\x80REGN\x00BASE\x0a\x10".to_vec(); // OperationRegion (REGN, SystemMemory, BASE, 0x10)
    body.extend(b"\x5b\x81\x0bREGN\x01FLD0\x08"); // Field (REGN, ByteAcc, NoLock, Preserve) { FLD0, 8 }
    aml.load(&mut host, &table(&body)).expect("loads without its base");
    assert_eq!(reason(&mut aml, &mut host, "\\FLD0"), ErrorKind::NotFound("BASE".into()));
    aml.load(&mut host, &table(b"\x08BASE\x0b\x42\x10")).expect("loads"); // Name (BASE, 0x1042)
    assert_eq!(aml.evaluate(&mut host, "\\FLD0", &[]), Ok(Value::Integer(0x42)));
}

/// Proves that a handle names the same object as its path, that ancestors go from the parent up and leave out the root,
/// and that a stale handle (of a name that a method made) is an error, never another object. Fails when a caller that
/// keeps handles would evaluate the wrong device.
#[test]
fn handles_stand_for_paths() {
    let (mut aml, mut host) = hotplug(Limits::default());
    let device = aml.find("\\_SB.MHPC.MP00").expect("the device");
    assert_eq!(aml.path(device), "\\_SB.MHPC.MP00");
    let crs = aml.child(device, NameSeg::literal(*b"_CRS")).expect("_CRS");
    assert_eq!(Some(crs), aml.find("\\_SB.MHPC.MP00._CRS"));
    let by_path = aml.evaluate(&mut host, "\\_SB.MHPC.MP00._CRS", &[]);
    assert_eq!(aml.evaluate(&mut host, crs, &[]), by_path);
    assert_eq!(aml.child(device, NameSeg::literal(*b"NOPE")), None);
    let ancestors: Vec<_> = aml.ancestors(device).map(|node| aml.path(node)).collect();
    assert_eq!(ancestors, ["\\_SB.MHPC", "\\_SB"]);
    let error = aml.evaluate(&mut host, "\\NOPE", &[]).expect_err("no such object");
    assert_eq!(*error.kind(), ErrorKind::NotFound("\\NOPE".into()));
    // An interpreter without these tables does not have the object.
    let mut empty = Aml::new(Limits::default());
    assert!(!empty.exists(device) && aml.exists(device));
    assert_eq!(*empty.evaluate(&mut host, device, &[]).expect_err("stale").kind(), ErrorKind::Dangling);
    assert!(empty.children(device).is_empty() && empty.ancestors(device).next().is_none());
}
