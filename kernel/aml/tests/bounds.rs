//! The last place that there is, and the first that there is not: of regions, buffers, blocks and code; and names that
//! were there once.
mod code;
mod host;

use carapace_aml::{Aml, ErrorKind, Extent, Limits, Reach, Value};
use code::{method, named_method, package, table};
use host::TestHost;

const IF: &[u8] = &[0xa0];
const DEVICE: &[u8] = &[0x5b, 0x82];

fn loaded(body: &[&[u8]]) -> (Aml, TestHost) {
    let (mut aml, mut host) = (Aml::new(Limits::default()), TestHost::default());
    let loaded = aml.load(&mut host, &table(&body.concat())).expect("loads");
    assert_eq!(loaded.refused, []);
    (aml, host)
}

fn answer(body: &[&[u8]]) -> Result<Value, ErrorKind> {
    let (mut aml, mut host) = loaded(body);
    aml.evaluate(&mut host, "\\METH", &[]).map_err(|error| error.kind().clone())
}

/// Name (`name`, `value`).
fn name(name: &str, value: u8) -> Vec<u8> {
    [&[8], name.as_bytes(), &[0x0a, value]].concat()
}

/// The last byte of a region can be read, by an access of its own width only; nothing behind it can. Breaks if firmware's
/// code reaches registers that are another device's.
#[test]
fn a_region_ends_where_it_says() {
    let region = b"\x5b\x80REGN\x00\x0a\x10\x0a\x04"; // OperationRegion (REGN, SystemMemory, 0x10, 4)
    // Field (REGN, ByteAcc, NoLock, Preserve) { Offset (3), LAST, 8, NEXT, 8 }
    let bytes = package(&[0x5b, 0x81], b"REGN\x01\x00\x18LAST\x08NEXT\x08");
    // Field (REGN, DWordAcc, NoLock, Preserve) { Offset (4), WIDE, 8 }
    let wide = package(&[0x5b, 0x81], b"REGN\x03\x00\x20WIDE\x08");
    let (mut aml, mut host) = loaded(&[region, &bytes, &wide]);
    assert_eq!(aml.evaluate(&mut host, "\\LAST", &[]), Ok(Value::Integer(0x13)));
    for (path, end) in [("\\NEXT", 5), ("\\WIDE", 8)] {
        let error = aml.evaluate(&mut host, path, &[]).expect_err(path);
        assert_eq!(*error.kind(), ErrorKind::RegionLimit { end, length: 4 });
    }
}

/// The last element is accessible, and a field may end at its buffer's end; one further is out of range. Breaks if the
/// bound is one too far.
#[test]
fn a_buffer_ends_where_it_says() {
    let buffer = [b"\x08BUFF".as_slice(), &package(&[0x11], b"\x0a\x02\x07\x09")].concat(); // Name (BUFF, Buffer (2) {7, 9})
    let element = |index: u8| method(&[0xa4, 0x83, 0x88, b'B', b'U', b'F', b'F', 0x0a, index, 0x00]);
    assert_eq!(answer(&[&buffer, &element(1)]), Ok(Value::Integer(9)));
    assert_eq!(answer(&[&buffer, &element(2)]), Err(ErrorKind::OutOfRange { index: 2, length: 2 }));
    // CreateByteField (BUFF, index, FLD0) Return (FLD0)
    let field = |index: u8| method(&[b"\x8cBUFF\x0a".as_slice(), &[index], b"FLD0\xa4FLD0"].concat());
    assert_eq!(answer(&[&buffer, &field(1)]), Ok(Value::Integer(9)));
    assert_eq!(answer(&[&buffer, &field(2)]), Err(ErrorKind::OutOfRange { index: 3, length: 2 }));
}

/// Blocks may be nested, but not deeper than 512: their memory is not counted in bytes. Breaks if a method can exceed its
/// limit of memory.
#[test]
fn open_blocks_are_bounded() {
    let nested = |levels: usize| {
        let inner = b"\xa4\x0a\x05".to_vec(); // Return (5)
        method(&(0..levels).fold(inner, |inner, _| package(IF, &[&[1], inner.as_slice()].concat())))
    };
    assert_eq!(answer(&[&nested(512)]), Ok(Value::Integer(5)));
    assert_eq!(answer(&[&nested(513)]), Err(ErrorKind::TooDeep));
}

/// A block longer than its parent is refused, with the rest of the parent; the declarations after the parent exist.
/// Breaks if code can be taken out of the next declaration.
#[test]
fn a_block_lies_within_its_own() {
    let inside = [b"DEV0".as_slice(), &[0xa0, 0x0a, 1], &name("LOST", 9)].concat(); // If (1) { ..., 2 bytes too long
    let body = [package(DEVICE, &inside), name("AAAA", 1)].concat();
    let (mut aml, mut host) = (Aml::new(Limits::default()), TestHost::default());
    let loaded = aml.load(&mut host, &table(&body)).expect("loads");
    let told: Vec<_> = loaded.refused.iter().map(|one| (one.error.kind().clone(), one.extent)).collect();
    assert_eq!(told, [(ErrorKind::BadLength, Extent::RestOfBlock)]);
    assert!(!aml.exists("\\DEV0.LOST"));
    assert_eq!(aml.evaluate(&mut host, "\\AAAA", &[]), Ok(Value::Integer(1)));
}

/// What a method has made is gone when it ends, with all that is in it: it can be made again, and a reference to it leads
/// nowhere, though its place is used by another name. Breaks if one name can be taken for another.
#[test]
fn names_of_a_method_end_with_it() {
    let made = [name("TEMP", 5), b"\xa4\x71TEMP".to_vec()].concat(); // Name (TEMP, 5) Return (RefOf (TEMP))
    let used = [b"\x70MAKE\x60".as_slice(), &name("NEWN", 7), b"\xa4\x83\x60"].concat();
    assert_eq!(answer(&[&named_method("MAKE", &made), &method(&used)]), Err(ErrorKind::Dangling));

    let device = package(DEVICE, &[b"DEV0".as_slice(), &name("INNR", 1)].concat());
    let (mut aml, mut host) = loaded(&[&method(&device)]);
    let held = aml.bytes_held();
    for _ in 0..3 {
        aml.evaluate(&mut host, "\\METH", &[]).expect("the names are free");
        assert!(aml.children("\\METH").is_empty());
        aml.tidy();
        assert_eq!(aml.bytes_held(), held);
    }
}

/// A named string that is replaced by a longer one and back takes as many bytes as before. Breaks if a store leaks the
/// bytes of the old value: that uses up the kernel's reserve in time.
#[test]
fn a_replaced_value_gives_its_bytes_back() {
    let text = b"\x08TEXT\x0da\0"; // Name (TEXT, "a")
    let stores = b"\x70\x0dmuch longer than before\0TEXT\x70\x0da\0TEXT";
    let (mut aml, mut host) = loaded(&[text, &method(stores)]);
    aml.tidy();
    let held = aml.bytes_held();
    for _ in 0..3 {
        aml.evaluate(&mut host, "\\METH", &[]).expect("stores");
        aml.tidy();
        assert_eq!(aml.bytes_held(), held);
    }
}

/// What a method can notify is undecidable where its code cannot be read to the end, however harmless it looks up to
/// there. Breaks if an event that tells of memory is not listened to.
#[test]
fn code_that_cannot_be_read_may_notify() {
    let (mut aml, mut host) = loaded(&[&method(b"\xa3MISS\xa3"), &named_method("GOOD", b"\xa3")]);
    aml.evaluate(&mut host, "\\METH", &[]).expect_err("there is no MISS");
    assert_eq!(aml.reaches_notify("\\METH", &|_| true), Reach::Undecidable);
    assert_eq!(aml.reaches_notify("\\GOOD", &|_| true), Reach::No);
}

/// An absent device is not initialised. The devices below it are initialised only if it functions (ACPI 6.5, section
/// 6.5.1). Breaks if firmware touches absent hardware.
#[test]
fn absent_devices_are_not_initialized() {
    // Method (_INI) { Store (5, name) }
    let ini =
        |name: &str| package(&[0x14], &[b"_INI\x00\x70\x0a\x05\\".as_slice(), name.as_bytes()].concat());
    let device =
        |name: &str, inside: &[&[u8]]| package(DEVICE, &[name.as_bytes(), &inside.concat()].concat());
    let below = device("DEV1", &[&ini("BBBB")]);
    let bridge = device("DEV0", &[&name("_STA", 8), &ini("AAAA"), &below]);
    let below = device("DEV3", &[&name("_STA", 0x0f), &ini("DDDD")]);
    let absent = device("DEV2", &[&name("_STA", 0), &ini("CCCC"), &below]);
    let bus = package(&[0x10], &[b"_SB_", bridge.as_slice(), &absent].concat());
    let names = ["AAAA", "BBBB", "CCCC", "DDDD"];
    let (mut aml, mut host) = loaded(&[&names.map(|one| name(one, 0)).concat(), &bus]);
    aml.initialize(&mut host).expect("initializes");
    let found = names.map(|name| aml.evaluate(&mut host, format!("\\{name}"), &[]).expect(name));
    assert_eq!(found, [0, 5, 0, 0].map(Value::Integer));
}

/// Half a datum of a field is written with the other half as it was, as ones or as zeros: whatever the field's update
/// rule says. Breaks if a write changes bits that are another field's.
#[test]
fn bits_beside_a_field_are_as_its_rule_says() {
    for (rule, written) in [(0x01, 0x15), (0x21, 0xf5), (0x41, 0x05)] {
        let region = b"\x5b\x80REGN\x00\x0a\x10\x0a\x04"; // OperationRegion (REGN, SystemMemory, 0x10, 4)
        // Field (REGN, ByteAcc, NoLock, rule) { HALF, 4 }
        let field = package(&[0x5b, 0x81], &[b"REGN".as_slice(), &[rule], b"HALF\x04"].concat());
        let (mut aml, mut host) = loaded(&[region, &field, &method(b"\x70\x0a\x05HALF")]);
        aml.evaluate(&mut host, "\\METH", &[]).expect("stores");
        assert_eq!(host.written, [(0x10, written)], "rule {rule:#x}");
    }
}

/// Proves that after the last table an evaluation may allocate what it is given and no more, whatever the tables took.
/// Fails when tables use up the memory of evaluations, or evaluations use more than is kept for them.
#[test]
fn evaluations_have_bytes_of_their_own() {
    // Name (KEEP, Buffer (100000) {}) Method (METH, 1) { Return (SizeOf (Buffer (Arg0) {})) }
    let keep = [b"\x08KEEP".as_slice(), &package(&[0x11], &[0x0c, 0xa0, 0x86, 1, 0])].concat();
    let make = package(&[0x14], &[b"METH\x01\xa4\x87".as_slice(), &package(&[0x11], &[0x68])].concat());
    let (mut aml, mut host) = loaded(&[&keep, &make]);
    aml.limit_further(50_000);
    let mut make = |bytes| aml.evaluate(&mut host, "\\METH", &[Value::Integer(bytes)]);
    assert_eq!(make(40_000), Ok(Value::Integer(40_000)));
    assert_eq!(make(60_000).map_err(|error| error.kind().clone()), Err(ErrorKind::TooManyBytes));
    assert_eq!(make(40_000), Ok(Value::Integer(40_000)));
}

/// Proves that `_OSI` affirms the names in its list, and nothing that only looks like them. Fails when an invented
/// version of Windows is affirmed, or a container's firmware is denied "Module Device".
#[test]
fn osi_affirms_a_list() {
    let (mut aml, mut host) = loaded(&[]);
    let mut osi = |name: &str| aml.evaluate(&mut host, "\\_OSI", &[Value::String(name.into())]);
    for name in ["Windows 2001", "Windows 2017.2", "Windows 2022", "Module Device", "Processor Device"] {
        assert_eq!(osi(name), Ok(Value::Integer(u64::MAX)), "{name}");
    }
    for name in ["Windows 2099 SP7", "Windows 20", "Windows 2022 SP1", "Linux", "", "3.0 Thermal Model"] {
        assert_eq!(osi(name), Ok(Value::Integer(0)), "{name}");
    }
}

/// Proves that garbage of a loop is collected although each collection falls due in the method that the loop calls: what that
/// made and dropped, and what it returned and the loop dropped. Fails when a collection in a callee counts as one of its
/// caller.
#[test]
fn garbage_of_a_loop_that_calls() {
    // Method (MAKE, 1) { Store (Buffer (Arg0) {}, Local0) Return (Local0) }
    let buffer = package(&[0x11], &[0x68]);
    let make = |answer: &[u8]| [&b"MAKE\x01\x70"[..], &buffer, &[0x60, 0xa4], answer].concat();
    // Method (METH, 1) { Store (0, Local1) While (LLess (Local1, Arg0)) { Store (MAKE (1000), Local0) Increment (Local1) }
    // Return (Local1) }
    let body = [&[0x95, 0x61, 0x68, 0x70], &b"MAKE\x0b\xe8\x03"[..], &[0x60, 0x75, 0x61]].concat();
    let code = [&b"METH\x01\x70\x00\x61"[..], &package(&[0xa2], &body), &[0xa4, 0x61]].concat();
    let looping = package(&[0x14], &code);
    for answer in [&[0x60][..], &[0x00]] {
        let (mut aml, mut host) = loaded(&[&package(&[0x14], &make(answer)), &looping]);
        aml.limit_further(100_000);
        let turns = aml.evaluate(&mut host, "\\METH", &[Value::Integer(5_000)]);
        assert_eq!(turns, Ok(Value::Integer(5_000)), "{answer:x?}");
    }
}
