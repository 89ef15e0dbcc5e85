//! What tables of real machines do, by small inputs: each method of `real.asl` (in the comparison with ACPICA, package
//! `tests`) and the value that ACPICA of 2020 and of 2026 give. `real.aml` has revision 2, `real1.aml` revision 1.
mod code;
mod host;

use carapace_aml::{Aml, ErrorKind, Limits, Loaded, Value};
use host::TestHost;

const REAL: [&[u8]; 2] = [include_bytes!("fixtures/real.aml"), include_bytes!("fixtures/real1.aml")];

fn loaded(table: &[u8]) -> (Aml, TestHost) {
    let (mut aml, mut host) = (Aml::new(Limits::default()), TestHost::default());
    assert_eq!(aml.load(&mut host, table).expect("loads"), Loaded::default());
    (aml, host)
}

fn value(table: &[u8], method: &str) -> Value {
    let (mut aml, mut host) = loaded(table);
    aml.evaluate(&mut host, format!("\\{method}"), &[]).unwrap_or_else(|error| panic!("{method}: {error}"))
}

fn bytes(value: u64) -> Value {
    Value::Buffer(value.to_le_bytes().to_vec())
}

/// Proves that in a table of revision 1 an operator's own target keeps the high half where it is a field or an element,
/// and loses it elsewhere. Fails when a window above 4 GiB in `_CRS` is cut (131 of 655 DSDTs have revision 1).
#[test]
fn fields_keep_the_high_half() {
    let wide = 0x7_ffff_u64 << 20;
    let [two, one] = REAL;
    for table in REAL {
        assert_eq!(value(table, "T000"), bytes(wide), "ShiftLeft");
        assert_eq!(value(table, "T001"), bytes(0xffff_ffff + 0x7_ffff), "Add");
        assert_eq!(value(table, "T004"), bytes(!0x7_ffff), "Not");
        assert_eq!(value(table, "T009"), bytes(wide), "a field of CreateField");
        assert_eq!(value(table, "T012"), Value::Package([wide, 1].map(Value::Integer).into()), "an element");
    }
    for (method, long, short) in
        [("T007", bytes(wide), bytes(wide & 0xffff_ffff)), ("T008", bytes(wide), bytes(wide & 0xffff_ffff))]
    {
        assert_eq!((value(two, method), value(one, method)), (long, short), "through Store");
    }
    for method in ["T011", "T013", "T020"] {
        let integers = [wide, wide & 0xffff_ffff].map(Value::Integer);
        assert_eq!([value(two, method), value(one, method)], integers, "{method}");
    }
}

/// Proves that mutexes of one level are released in any order, and that the level falls with the last of them. Fails
/// when methods with two such mutexes end in an error (68 of 646 machines have them).
#[test]
fn mutexes_of_one_level_have_no_order() {
    for (method, number) in [("T100", 1), ("T101", 2), ("T102", 3), ("T103", 4), ("T104", 5)] {
        assert_eq!(value(REAL[0], method), Value::Integer(number), "{method}");
    }
}

/// Proves that a package which a method returns has the values of the names that end with the method. Fails when a
/// caller gets references to nothing (`_DSD` of a Lenovo).
#[test]
fn a_returned_package_has_values() {
    let text = || Value::String("text".into());
    assert_eq!(value(REAL[0], "T200"), Value::Package(vec![Value::Integer(6), Value::String("x".into())]));
    assert_eq!(value(REAL[0], "T201"), Value::Package(vec![text(), Value::Package(vec![text()])]));
    assert_eq!(value(REAL[0], "T202"), Value::Package(vec![Value::Integer(7)]));
    assert_eq!(value(REAL[0], "T300"), Value::Package([1, 2].map(Value::Integer).into()));
    assert_eq!(value(REAL[0], "T301"), Value::Integer(0x7_ffff));
}

/// Proves that a field without bits has a name, that its access fails, and that the others of its list work; the same for
/// a list with a connection. Fails when one field takes the names of a list with it (24 machines).
#[test]
fn a_field_that_cannot_be_accessed_has_a_name() {
    let (mut aml, mut host) = loaded(REAL[0]);
    assert!(matches!(
        aml.evaluate(&mut host, "\\ZA", &[]).expect_err("no bits").kind(),
        ErrorKind::Malformed(_)
    ));
    assert_eq!(aml.evaluate(&mut host, "\\ZB", &[]), Ok(Value::Integer(0)));
    aml.evaluate(&mut host, "\\T400", &[]).expect("writes");
    assert_eq!(host.written, [(0x5000, 7)]);
    // OperationRegion (GPIO, GeneralPurposeIo, 0, 8), Field (GPIO, ...) { Connection (Buffer () {1, 2}), PIN1, 1,
    // Connection (CONN), PIN2, 1 }
    let region = b"\x5b\x80GPIO\x08\x0a\x00\x0a\x08";
    let list = b"GPIO\x01\x02\x11\x05\x0a\x02\x01\x02PIN1\x01\x02CONNPIN2\x01";
    let body = [region.as_slice(), &code::package(&[0x5b, 0x81], list), b"\x08LAST\x01"].concat();
    assert_eq!(aml.load(&mut host, &code::table(&body)).expect("loads"), Loaded::default());
    for pin in ["\\PIN1", "\\PIN2"] {
        let error = aml.evaluate(&mut host, pin, &[]).expect_err("no GPIO");
        assert_eq!(*error.kind(), ErrorKind::NoHandler(8));
    }
    assert!(aml.exists("\\LAST"));
}

/// Proves that a wait lasts until its time-out, within the budget of sleep. Fails when firmware that waits as a delay
/// reads a register too early.
#[test]
fn a_wait_takes_its_time() {
    let (mut aml, mut host) = loaded(REAL[0]);
    assert_eq!(aml.evaluate(&mut host, "\\T501", &[]), Ok(Value::Integer(u64::MAX)));
    assert_eq!(host.slept, 5);
    assert_eq!(aml.evaluate(&mut host, "\\T502", &[]), Ok(Value::Integer(0)));
    assert_eq!(host.slept, 5, "a signalled event needs no wait");
    let mut aml = Aml::new(Limits { sleep_ms: 4, ..Limits::default() });
    aml.load(&mut host, REAL[0]).expect("loads");
    let error = aml.evaluate(&mut host, "\\T501", &[]).expect_err("longer than the budget");
    assert_eq!(*error.kind(), ErrorKind::TooMuchSleep);
}

/// Proves what replaces what: CopyObject an object of any type, and that an element which names a field is the field's
/// value. Fails with one of the types that ACPICA gives.
#[test]
fn copies_replace_objects_of_any_type() {
    for (method, kind) in [("T600", 2), ("T601", 1), ("T602", 1), ("T604", 1)] {
        assert_eq!(value(REAL[0], method), Value::Integer(kind), "{method}");
    }
    assert_eq!(value(REAL[0], "T603"), Value::Package(vec![Value::Integer(1)]));
}

/// Proves that ToInteger skips the white space of C, that ToHexString of an integer has a prefix and no zeros, and that
/// an access to 64 bits of ports is two. Fails when one of these is as before.
#[test]
fn texts_and_wide_ports() {
    assert_eq!(value(REAL[0], "T700"), Value::Integer(12));
    // Method (METH) { Return (ToHexString (123)) }
    let (mut aml, mut host) = loaded(&code::table(&code::method(b"\xa4\x98\x0a\x7b\x00")));
    assert_eq!(aml.evaluate(&mut host, "\\METH", &[]), Ok(Value::String("0x7B".into())));
    let (mut aml, mut host) = loaded(REAL[0]);
    assert_eq!(aml.evaluate(&mut host, "\\PQW", &[]), Ok(Value::Integer(0x0706_0504_0302_0100)));
}
