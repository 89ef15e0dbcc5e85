//! Tables that are corrupt, in an unusual order, or wasteful: their intact parts are used.
mod code;
mod host;

use carapace_aml::{Aml, ErrorKind, Extent, Limits, Loaded, Value};
use code::{method, package, table};
use host::TestHost;

const HOTPLUG: &[u8] = include_bytes!("fixtures/hotplug.aml");

const DEVICE: &[u8] = &[0x5b, 0x82];
const SCOPE: &[u8] = &[0x10];
const IF: &[u8] = &[0xa0];
const ELSE: &[u8] = &[0xa1];
const WHILE: &[u8] = &[0xa2];
/// An opcode that does not exist.
const NONSENSE: &[u8] = &[0x5b, 0xff];

fn new() -> (Aml, TestHost) {
    (Aml::new(Limits::default()), TestHost::default())
}

/// Name (`name`, `value`).
fn name(name: &str, value: u8) -> Vec<u8> {
    [&[8], name.as_bytes(), &[0x0a, value]].concat()
}

fn integer(aml: &mut Aml, path: &str) -> Option<u64> {
    aml.evaluate(&mut TestHost::default(), path, &[]).ok()?.as_integer()
}

fn reasons(loaded: &Loaded) -> Vec<(ErrorKind, Extent)> {
    loaded.refused.iter().map(|refused| (refused.error.kind().clone(), refused.extent)).collect()
}

/// Only the failed term is missing: names before it, behind it and around it are there. Breaks if one error
/// ends the load, or if a term's end is taken wrongly.
#[test]
fn a_broken_term_is_left_out_and_nothing_else() {
    let (mut aml, mut host) = new();
    let division = b"\x08DIV0\x78\x01\x00\x00\x00"; // Name (DIV0, Divide (1, 0))
    let device =
        package(DEVICE, &[b"DEV0".as_slice(), &name("BBBB", 2), division, &name("CCCC", 3)].concat());
    let body = [name("AAAA", 1), name("AAAA", 9), device, name("DDDD", 4)].concat();
    let loaded = aml.load(&mut host, &table(&body)).expect("loads");
    let taken = ErrorKind::AlreadyExists("\\AAAA".into());
    assert_eq!(reasons(&loaded), [(taken, Extent::Term), (ErrorKind::DivideByZero, Extent::Term)]);
    assert_eq!(loaded.refused[1].error.path(), Some("\\DEV0"));
    assert!(!aml.exists("\\DEV0.DIV0"));
    let found = ["\\AAAA", "\\DEV0.BBBB", "\\DEV0.CCCC", "\\DDDD"].map(|path| integer(&mut aml, path));
    assert_eq!(found, [1, 2, 3, 4].map(Some));
}

/// Garbage without an end takes the rest of its block, not what follows the block. Breaks if a block's end is
/// lost, or if garbage is executed.
#[test]
fn garbage_takes_the_rest_of_its_block() {
    let (mut aml, mut host) = new();
    let inner = package(DEVICE, &[b"DEV1".as_slice(), &name("BBBB", 2), NONSENSE, &name("LOST", 9)].concat());
    let device = package(DEVICE, &[b"DEV0", inner.as_slice(), &name("CCCC", 3)].concat());
    let body = [device.as_slice(), &name("DDDD", 4), NONSENSE, &name("LOST", 9)].concat();
    let loaded = aml.load(&mut host, &table(&body)).expect("loads");
    let garbage = (ErrorKind::BadOpcode(0x5bff), Extent::RestOfBlock);
    assert_eq!(reasons(&loaded), [garbage.clone(), garbage]);
    let found = ["\\DEV0.DEV1.BBBB", "\\DEV0.CCCC", "\\DDDD"].map(|path| integer(&mut aml, path));
    assert_eq!(found, [2, 3, 4].map(Some));
    assert!(!aml.exists("\\LOST") && !aml.exists("\\DEV0.DEV1.LOST"));
}

/// The same table twice: every name of it is taken, no memory is lost, and the first one works. Breaks if a
/// refused term keeps names or bytes.
#[test]
fn a_table_that_is_there_already_changes_nothing() {
    let (mut aml, mut host) = new();
    aml.load(&mut host, HOTPLUG).expect("loads");
    let (held, devices) = (aml.bytes_held(), aml.devices());
    let loaded = aml.load(&mut host, HOTPLUG).expect("loads");
    assert!(loaded.refused.len() == 16 && loaded.more > 0, "{loaded:?}");
    assert!(loaded.refused.iter().all(|one| matches!(one.error.kind(), ErrorKind::AlreadyExists(_))));
    assert_eq!(aml.devices(), devices);
    assert!(aml.bytes_held() <= held + HOTPLUG.len(), "{} after {held}", aml.bytes_held());
    aml.evaluate(&mut host, "\\_GPE._E03", &[]).expect("works as before");
}

/// What a declaration names may come later: a scope, an alias, a number, a field's region, in the same table
/// or in another. Breaks if it is not tried again, or is tried in its own order only.
#[test]
fn declarations_wait_for_the_names_they_use() {
    let (mut aml, mut host) = new();
    let scope = package(SCOPE, &[b"\\DEV0".as_slice(), &name("BBBB", 2), b"\x06LATECCCC"].concat()); // Alias (LATE, CCCC)
    let sum = b"\x08SUM0\x72LATE\x0a\x05\x00"; // Name (SUM0, Add (LATE, 5))
    let field = package(&[0x5b, 0x81], b"REGN\x01FLD0\x08"); // Field (REGN, ByteAcc, NoLock, Preserve) { FLD0, 8 }
    let condition = package(IF, &[b"\x93LATE\x0a\x07".as_slice(), &name("DDDD", 4)].concat()); // If (LEqual (LATE, 7))
    let other = package(ELSE, &name("LOST", 9));
    let loaded = aml.load(&mut host, &table(&[&scope, sum.as_slice(), &field, &condition, &other].concat()));
    assert_eq!(loaded.expect("loads"), Loaded::default());
    assert_eq!(aml.waiting().count(), 4);
    assert!(aml.waiting().all(|error| matches!(error.kind(), ErrorKind::NotFound(_))));

    let region = b"\x5b\x80REGN\x00\x0b\x42\x10\x0a\x10"; // OperationRegion (REGN, SystemMemory, 0x1042, 0x10)
    let body = [package(DEVICE, b"DEV0"), region.to_vec(), name("LATE", 7)].concat();
    assert_eq!(aml.load(&mut host, &table(&body)).expect("loads"), Loaded::default());
    assert_eq!(aml.waiting().count(), 0);
    let names = ["\\DEV0.BBBB", "\\DEV0.CCCC", "\\SUM0", "\\FLD0", "\\DDDD"];
    assert_eq!(names.map(|path| integer(&mut aml, path)), [2, 7, 12, 0x42, 4].map(Some));
    assert!(!aml.exists("\\LOST"));
}

/// A statement does not wait, since others behind it would then be overtaken. Breaks if a Store is deferred.
#[test]
fn statements_do_not_wait() {
    let (mut aml, mut host) = new();
    let store = b"\x70LATEAAAA"; // Store (LATE, AAAA)
    let body = [name("AAAA", 1), store.to_vec(), name("LATE", 7)].concat();
    let loaded = aml.load(&mut host, &table(&body)).expect("loads");
    assert_eq!(reasons(&loaded), [(ErrorKind::NotFound("LATE".into()), Extent::Term)]);
    assert_eq!(integer(&mut aml, "\\AAAA"), Some(1));
}

/// An endless loop in a table's own code is left out, and what follows is there. Breaks if the load has one
/// budget only.
#[test]
fn an_endless_loop_does_not_keep_the_rest_out() {
    let (mut aml, mut host) = new();
    let in_loop = package(WHILE, &[&[1], package(SCOPE, b"_SB_\xa3").as_slice()].concat()); // While (1) { Scope (_SB) { Noop } }
    let meth = method(&package(WHILE, &[1])); // Method (METH) { While (1) {} }
    let call = b"\x08CALLMETH"; // Name (CALL, METH ())
    let body =
        [in_loop.clone(), name("AAAA", 1), meth, call.to_vec(), name("BBBB", 2), in_loop, name("CCCC", 3)];
    let loaded = aml.load(&mut host, &table(&body.concat())).expect("loads");
    assert_eq!(reasons(&loaded), [1, 2, 3].map(|_| (ErrorKind::TooManySteps, Extent::Term)));
    assert_eq!(["\\AAAA", "\\BBBB", "\\CCCC"].map(|path| integer(&mut aml, path)), [1, 2, 3].map(Some));
}

/// A thousand endless loops end within the one budget. Breaks if the steps kept back never run out.
#[test]
fn many_endless_loops_end() {
    let limits = Limits { steps: 100_000, ..Limits::default() };
    let (mut aml, mut host) = (Aml::new(limits), TestHost::default());
    let body = [package(WHILE, &[1]).repeat(1000), name("LOST", 1)].concat();
    let loaded = aml.load(&mut host, &table(&body)).expect("loads");
    assert!((5..16).contains(&loaded.refused.len()) && loaded.more == 0, "{loaded:?}");
    assert!(!aml.exists("\\LOST"));
}

/// A term that takes a mutex and fails gives it back. Breaks if a load keeps mutexes.
#[test]
fn a_failed_term_releases_its_mutexes() {
    let (mut aml, mut host) = new();
    let mutex = b"\x5b\x01MTX0\x00"; // Mutex (MTX0, 0)
    let meth = method(b"\x5b\x23MTX0\xff\xff\xa4\x78\x01\x00\x00\x00"); // Acquire (MTX0, 0xFFFF) Return (Divide (1, 0))
    let call = b"\x08CALLMETH"; // Name (CALL, METH ())
    let release = b"\x5b\x27MTX0"; // Release (MTX0)
    let loaded =
        aml.load(&mut host, &table(&[mutex.as_slice(), &meth, call, release].concat())).expect("loads");
    let not_held = ErrorKind::MutexNotHeld("\\MTX0".into());
    assert_eq!(reasons(&loaded), [(ErrorKind::DivideByZero, Extent::Term), (not_held, Extent::Term)]);
}

/// One object that is too large is left out alone; a table that takes all memory is refused as a whole, and
/// leaves the memory to others. Breaks if either is not told from the other.
#[test]
fn a_table_that_takes_all_memory_is_refused() {
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    let (mut aml, mut host) = (Aml::new(limits), TestHost::default());
    // Name (HUGE, Buffer (0x00ffffff) {})
    let huge = [b"\x08HUGE".as_slice(), &package(&[0x11], b"\x0c\xff\xff\xff\x00")].concat();
    let loaded = aml.load(&mut host, &table(&[huge, name("AAAA", 1)].concat())).expect("loads");
    assert_eq!(reasons(&loaded), [(ErrorKind::TooManyBytes, Extent::Term)]);
    assert_eq!(integer(&mut aml, "\\AAAA"), Some(1));

    aml.tidy();
    let held = aml.bytes_held();
    let large = |index: usize| {
        let name = format!("\x08B{index:03}");
        [name.as_bytes(), &package(&[0x11], b"\x0c\x00\x20\x00\x00")].concat() // Name (Bnnn, Buffer (0x2000) {})
    };
    let waits = b"\x06LATECCCC"; // Alias (LATE, CCCC)
    let greedy: Vec<u8> = waits.iter().copied().chain((0..200).flat_map(large)).collect();
    let error = aml.load(&mut host, &table(&greedy)).expect_err("too much");
    assert_eq!(*error.kind(), ErrorKind::TooManyBytes);
    assert!(!aml.exists("\\B000"));
    assert_eq!((aml.bytes_held(), aml.waiting().count()), (held, 0));
}

/// `_REG` is called for a scope with a region in configuration space, once, with the space and "connected";
/// not for memory. `\_INI` runs too. Breaks if firmware that waits for `_REG` is left waiting.
#[test]
fn firmware_is_told_that_regions_can_be_used() {
    let (mut aml, mut host) = new();
    let reg = |count: &str| {
        // Method (_REG, 2) { Add (count, Add (Multiply (Arg0, 16), Arg1), count) }
        let body = [
            b"_REG\x02\x72".as_slice(),
            count.as_bytes(),
            b"\x72\x77\x68\x0a\x10\x00\x69\x00",
            count.as_bytes(),
        ];
        package(&[0x14], &body.concat())
    };
    let region = |space: u8| [b"\x5b\x80REG".as_slice(), &[b'0' + space, space, 0x0a, 0, 0x0a, 4]].concat();
    let pci = [b"DEV0".to_vec(), name("CNT0", 0), region(2), region(1), reg("CNT0")].concat();
    let memory = [b"DEV1".to_vec(), name("CNT1", 0), region(0), reg("CNT1")].concat();
    let ini = package(&[0x14], b"_INI\x00\x70\x0a\x05AAAA"); // Method (_INI) { Store (5, AAAA) }
    let body = [package(DEVICE, &pci), package(DEVICE, &memory), name("AAAA", 1), ini].concat();
    assert_eq!(aml.load(&mut host, &table(&body)).expect("loads"), Loaded::default());
    aml.initialize(&mut host).expect("initializes");
    let found = ["\\DEV0.CNT0", "\\DEV1.CNT1", "\\AAAA"].map(|path| integer(&mut aml, path));
    assert_eq!(found, [0x21, 0, 5].map(Some));
}

/// Proves that `_INI` of a device below one that is absent waits until both are there, that it runs once, parents first,
/// and again after the device was absent. Fails when what comes late is left as the firmware made it, or is initialised
/// twice.
#[test]
fn a_device_that_comes_late_is_initialised() {
    let (mut aml, mut host) = new();
    // Method (_INI) { Store (Add (Multiply (LOG, 16), digit), LOG) }
    let ini = |digit: u8| {
        package(&[0x14], &[b"_INI\x00\x72\x77LOG_\x0a\x10\x00\x0a".as_slice(), &[digit], b"LOG_"].concat())
    };
    let status = |from: &[u8; 4]| package(&[0x14], &[b"_STA\x00\xa4".as_slice(), from].concat());
    let inner = package(DEVICE, &[b"INNE".as_slice(), &status(b"SINN"), &ini(2)].concat());
    let outer = package(DEVICE, &[b"OUTE".as_slice(), &inner, &status(b"SOUT"), &ini(1)].concat());
    let other = package(DEVICE, &[b"OTHE".as_slice(), &ini(3)].concat());
    // Method (SETO, 1) { Store (Arg0, SOUT) }
    let set = package(&[0x14], b"SETO\x01\x70\x68SOUT");
    let names = [name("LOG_", 0), name("SOUT", 0), name("SINN", 0xf), set].concat();
    let body = package(SCOPE, &[b"_SB_", [names, outer, other].concat().as_slice()].concat());
    assert_eq!(aml.load(&mut host, &table(&body)).expect("loads"), Loaded::default());
    aml.initialize(&mut host).expect("initializes");
    assert_eq!(integer(&mut aml, "\\_SB.LOG"), Some(3));
    let [outer, inner] = ["\\_SB.OUTE", "\\_SB.OUTE.INNE"].map(|path| aml.find(path).expect("a device"));
    // What the event names, the outer device's status at that time, and all digits so far.
    let steps = [
        (inner, 0x0, 0x3),
        (inner, 0xf, 0x312),
        (outer, 0xf, 0x312),
        (outer, 0x0, 0x312),
        (outer, 0xf, 0x31212),
        (inner, 0xf, 0x31212),
    ];
    for (index, (scope, status, log)) in steps.into_iter().enumerate() {
        aml.evaluate(&mut host, "\\_SB.SETO", &[Value::Integer(status)]).expect("stores");
        aml.initialize_below(&mut host, scope).expect("initializes");
        assert_eq!(integer(&mut aml, "\\_SB.LOG"), Some(log), "step {index}");
    }
}

/// A thousand evaluations that sleep without end cost a small part of a thousand budgets; afterwards, whatever else
/// is evaluated gives the whole budget back. Breaks if a table with many endless methods can stop the kernel.
#[test]
fn endless_methods_lose_their_budget() {
    let (mut aml, mut host) = new();
    let endless = method(&package(WHILE, b"\x01\x5b\x22\x0a\x0a")); // Method (METH) { While (1) { Sleep (10) } }
    aml.load(&mut host, &table(&[endless, name("AAAA", 1)].concat())).expect("loads");
    let slept = |aml: &mut Aml| {
        let mut host = TestHost::default();
        aml.evaluate(&mut host, "\\METH", &[]).expect_err("endless");
        host.slept
    };
    let whole = slept(&mut aml);
    let all: u64 = (0..1000).map(|_| slept(&mut aml)).sum();
    assert!(whole > 9_000 && all < 70 * whole, "{all} after {whole}");
    for _ in 0..256 {
        assert_eq!(integer(&mut aml, "\\AAAA"), Some(1));
    }
    assert_eq!(slept(&mut aml), whole);
}

/// Many endless `_INI` end within one budget, and one that is not endless still runs if it comes in time.
/// Breaks if each has a budget of its own.
#[test]
fn endless_initialization_ends() {
    let limits = Limits { steps: 100_000, ..Limits::default() };
    let (mut aml, mut host) = (Aml::new(limits), TestHost::default());
    let endless = package(&[0x14], &[b"_INI\x00", package(WHILE, b"\x01\x5b\x22\x01").as_slice()].concat()); // Sleep (1)
    let good = package(&[0x14], b"_INI\x00\x70\x0a\x05AAAA");
    let mut devices = name("AAAA", 1);
    for index in 0..50 {
        let ini = if index == 2 { &good } else { &endless };
        devices.extend(package(DEVICE, &[format!("D{index:03}").as_bytes(), ini].concat()));
    }
    let body = package(SCOPE, &[b"_SB_", devices.as_slice()].concat());
    assert_eq!(aml.load(&mut host, &table(&body)).expect("loads"), Loaded::default());
    let error = aml.initialize(&mut host).expect_err("endless");
    assert!(matches!(error.kind(), ErrorKind::TooManySteps | ErrorKind::TooMuchSleep), "{error}");
    assert_eq!(integer(&mut aml, "\\_SB.AAAA"), Some(5));
    assert!(host.slept <= 10_000, "{}", host.slept);
    assert_eq!(aml.evaluate(&mut host, "\\_SB.AAAA", &[]), Ok(Value::Integer(5)));
}

/// Proves that an SSDT that takes too many bytes is refused alone: the DSDT before it and a small SSDT behind it are
/// loaded, and their names are there. Fails when a refused table leaves its bytes charged, or takes names of another one.
#[test]
fn a_refused_table_takes_no_other_with_it() {
    let names = |prefix: u8| -> Vec<u8> {
        (0..600u32)
            .flat_map(|number| {
                let digits = [b'A', b'B', b'C', b'D', b'E', b'F', b'G', b'H', b'I', b'J'];
                let digit = |place: u32| digits[usize::try_from(number / place % 10).expect("a digit")];
                [vec![8, prefix, digit(100), digit(10), digit(1), 0x0d], vec![b'x'; 200], vec![0]].concat()
            })
            .collect()
    };
    let large = table(&names(b'L'));
    let mut aml = Aml::new(Limits { bytes: 200_000, ..Limits::default() });
    let mut host = TestHost::default();
    aml.load(&mut host, &table(&name("DSDT", 7))).expect("the DSDT loads");
    let held = aml.bytes_held();
    let error = aml.load(&mut host, &large).expect_err("takes more than there is");
    assert_eq!(*error.kind(), ErrorKind::TooManyBytes);
    assert_eq!(aml.bytes_held(), held);
    aml.load(&mut host, &table(&name("SMAL", 8))).expect("a small table loads");
    assert_eq!((integer(&mut aml, "\\DSDT"), integer(&mut aml, "\\SMAL")), (Some(7), Some(8)));
    assert!(!aml.exists("\\LAAA"));
}

/// Proves that the steps of a load grow with its table: a table of 17,576 declarations loads within limits that allow
/// 1,000 steps to an evaluation. Fails when a large table runs out of steps (a Dell T3610 has 840 KiB in one).
#[test]
fn a_large_table_has_the_steps_it_needs() {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let names: Vec<u8> = (0..17_576usize)
        .flat_map(|number| {
            let digit = |place: usize| digits[number / place % 26];
            [8, b'N', digit(676), digit(26), digit(1), 1]
        })
        .collect();
    let mut aml = Aml::new(Limits { steps: 1_000, ..Limits::default() });
    let loaded = aml.load(&mut TestHost::default(), &table(&names)).expect("loads");
    assert_eq!(loaded, Loaded::default());
    assert_eq!(integer(&mut aml, "\\NZZZ"), Some(1));
}

/// Proves what declarations cost: with the slots of names, 100 packages of four names take less than 220 bytes each.
/// Fails when an element that is a name takes a slot of its own again; such packages (`_PRT`) are the largest part of
/// real tables.
#[test]
fn a_package_of_names_is_small() {
    let packages: Vec<u8> = (0..100u8)
        .flat_map(|number| {
            let name = [b'P', b'A' + number / 10, b'A' + number % 10, b'_'];
            [&[8], name.as_slice(), &[0x12, 18, 4], b"LNKALNKBLNKCLNKD"].concat()
        })
        .collect();
    let (mut aml, mut host) = new();
    let empty = aml.bytes_held();
    let table = table(&packages);
    assert_eq!(aml.load(&mut host, &table).expect("loads"), Loaded::default());
    let each = (aml.bytes_held() - empty - table.len()) / 100;
    assert!(each < 220, "{each}");
}
