//! Locks: the global lock, shared by host and firmware, is released as often as it was taken, even after failures; and
//! mutexes are taken in the order of their levels.
mod code;
mod host;

use carapace_aml::{Aml, ErrorKind, Limits, Value};
use code::{method, named_method, package, table};
use host::TestHost;

/// Acquire (`name`, 0xFFFF).
fn acquire(name: &str) -> Vec<u8> {
    [&[0x5b, 0x23], name.as_bytes(), &[0xff, 0xff]].concat()
}

/// Release (`name`).
fn release(name: &str) -> Vec<u8> {
    [&[0x5b, 0x27], name.as_bytes()].concat()
}

/// Mutex (`name`, `level`).
fn mutex(name: &str, level: u8) -> Vec<u8> {
    [&[0x5b, 0x01], name.as_bytes(), &[level]].concat()
}

fn loaded(body: &[&[u8]]) -> (Aml, TestHost) {
    let (mut aml, mut host) = (Aml::new(Limits::default()), TestHost::default());
    let loaded = aml.load(&mut host, &table(&body.concat())).expect("loads");
    assert_eq!(loaded.refused, []);
    (aml, host)
}

fn reason(aml: &mut Aml, host: &mut TestHost, path: &str) -> Option<ErrorKind> {
    aml.evaluate(host, path, &[]).err().map(|error| error.kind().clone())
}

/// OperationRegion (REGN, SystemIO, 0x10, 4), Field (REGN, ByteAcc, Lock, Preserve) { FLD0, 8 }
fn locked_field() -> Vec<u8> {
    [b"\x5b\x80REGN\x01\x0a\x10\x0a\x04".as_slice(), &package(&[0x5b, 0x81], b"REGN\x11FLD0\x08")].concat()
}

/// An access to a field with the Lock rule takes and releases the global lock, even if the access fails; code that holds
/// it does not take it a second time. Breaks if firmware waits for ever.
#[test]
fn a_locked_field_gives_the_global_lock_back() {
    let both = [acquire("\\_GL_"), b"\x70FLD0\x60".to_vec(), release("\\_GL_")].concat();
    let (mut aml, mut host) = loaded(&[&locked_field(), &method(&both)]);
    assert_eq!(aml.evaluate(&mut host, "\\FLD0", &[]), Ok(Value::Integer(0x10)));
    assert_eq!((host.taken, host.given_back), (1, 1));
    host.refuse_ports = true;
    assert!(matches!(reason(&mut aml, &mut host, "\\FLD0"), Some(ErrorKind::Host(_))));
    assert_eq!((host.taken, host.given_back), (2, 2));
    host.refuse_ports = false;
    assert_eq!(reason(&mut aml, &mut host, "\\METH"), None);
    assert_eq!((host.taken, host.given_back), (3, 3));
}

/// A method that fails, or ends, while it holds the global lock gives it back; one that does not get it has it not, and
/// gives nothing back. Breaks if the end of an evaluation forgets the host.
#[test]
fn the_global_lock_does_not_outlive_an_evaluation() {
    let fails = [acquire("\\_GL_"), b"\xa4\x78\x01\x00\x00\x00".to_vec()].concat(); // Return (Divide (1, 0))
    let (mut aml, mut host) =
        loaded(&[&method(&fails), &named_method("KEEP", &acquire("\\_GL_")), &locked_field()]);
    assert_eq!(reason(&mut aml, &mut host, "\\METH"), Some(ErrorKind::DivideByZero));
    assert_eq!((host.taken, host.given_back), (1, 1));
    assert_eq!(reason(&mut aml, &mut host, "\\KEEP"), None);
    assert_eq!((host.taken, host.given_back), (2, 2));
    host.refuse_lock = true;
    for path in ["\\KEEP", "\\FLD0"] {
        assert!(matches!(reason(&mut aml, &mut host, path), Some(ErrorKind::Host(_))), "{path}");
    }
    assert_eq!((host.taken, host.given_back), (2, 2));
    host.refuse_lock = false;
    assert_eq!(reason(&mut aml, &mut host, "\\KEEP"), None);
    assert_eq!((host.taken, host.given_back), (3, 3));
}

/// A mutex may have the level of a held one, or a higher one, not a lower one; a serialized method's level ends with the
/// method. Breaks if two threads of execution could wait for each other, or if a level outlives its method.
#[test]
fn mutexes_have_an_order() {
    let serialized = package(&[0x14], b"SERI\x58\xa3"); // Method (SERI, 0, Serialized, 5) { Noop }
    let (mut aml, mut host) = loaded(&[
        &mutex("LOW0", 1),
        &mutex("MID0", 2),
        &mutex("MID1", 2),
        &serialized,
        &named_method("UPWA", &[acquire("LOW0"), acquire("MID0"), acquire("MID1")].concat()),
        &named_method("DOWN", &[acquire("MID0"), acquire("LOW0")].concat()),
        &named_method("WRON", &[acquire("LOW0"), acquire("MID0"), release("LOW0")].concat()),
        &named_method("OVER", &[b"SERI".to_vec(), acquire("LOW0")].concat()),
        &named_method("HELD", &[acquire("MID0"), release("MID0"), acquire("LOW0")].concat()),
        &package(&[0x14], &[b"INSI\x58".as_slice(), &acquire("LOW0")].concat()),
    ]);
    let low = || Some(ErrorKind::MutexOrder("\\LOW0".into()));
    for (path, expected) in [
        ("\\UPWA", None),
        ("\\DOWN", low()),
        ("\\WRON", low()),
        ("\\OVER", None),
        ("\\HELD", None),
        ("\\INSI", low()),
        ("\\UPWA", None),
    ] {
        assert_eq!(reason(&mut aml, &mut host, path), expected, "{path}");
    }
}
