//! Checks in the sources what `deny(unsafe_code)` in `lib.rs` promises.

use std::fs;
use std::path::Path;

/// The files and lines of the crate that may say `unsafe`.
const ALLOWED: [(&str, &str); 5] = [
    ("boot.rs", "pub unsafe fn boot("),
    ("machine.rs", "pub unsafe trait Machine {"),
    ("machine.rs", "unsafe impl<M: Machine + ?Sized> Machine for &M {"),
    (
        "tables.rs",
        "pub unsafe fn edit_tables<T>(&self, work: impl FnOnce(&mut PageTables, &M) -> T) -> Option<T> {",
    ),
    ("tables.rs", "pub unsafe fn take_tables(&self, root: Pfn, features: CpuFeatures) {"),
];

fn collect(folder: &Path, below: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("the sources exist") {
        let entry = entry.expect("the folder can be read");
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        // The simulated machine and the tests have nothing to harm.
        if name == "sim" || name.ends_with("tests") || name.ends_with("tests.rs") {
            continue;
        }
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{name}/"), found);
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("a source is text");
        let words = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
        let words = words.filter(|line| line.contains("unsafe ") || line.contains("unsafe{"));
        found.extend(words.map(|line| (name.clone(), line.to_owned())));
    }
}

/// Proves that the memory core has no unsafe block: only the declarations that `lib.rs` lists are unsafe. Fails when an
/// unsafe block or another unsafe declaration is added.
#[test]
fn only_declarations_are_unsafe() {
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    found.retain(|(_, line)| !line.starts_with("#[expect(unsafe_code"));
    found.sort();
    let allowed: Vec<_> =
        ALLOWED.iter().map(|(file, line)| ((*file).to_owned(), (*line).to_owned())).collect();
    assert_eq!(found, allowed);
}
