//! The modules of each crate stand in layers: no module imports one that, directly or through others, imports it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates whose top-level modules have no import cycle.
const CRATES: [&str; 10] = [
    "kernel/src",
    "kernel/mm/src",
    "kernel/aml/src",
    "kernel/acpi/src",
    "kernel/irq/src",
    "kernel/lock/src",
    "kernel/cli/src",
    "kernel/virtio/src",
    "boot/src",
    "xtask/guest/src",
];

/// Modules that only tests import, and that may import everything.
const FOR_TESTS: [&str; 2] = ["sim", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The files of a module: `name.rs`, and those below `name/`.
fn files(source: &Path, name: &str) -> Vec<PathBuf> {
    let mut folders = vec![source.join(name)];
    let mut files: Vec<PathBuf> =
        [source.join(format!("{name}.rs"))].into_iter().filter(|file| file.exists()).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            match (path.is_dir(), FOR_TESTS.contains(&stem)) {
                (_, true) => {}
                (true, false) => folders.push(path),
                (false, false) => files.push(path),
            }
        }
    }
    files
}

/// The first words of the paths that follow `prefix` in `text`: one, or those of a list in braces.
fn named<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let word =
        |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let mut names = Vec::new();
    for (at, _) in text.match_indices(prefix) {
        let rest = &text[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(word(rest));
            continue;
        };
        let (mut depth, mut item) = (0, true);
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item = true,
                c if item && c.is_alphabetic() => {
                    names.push(word(&list[at..]));
                    item = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// Which top-level modules each top-level module of a crate imports.
fn imports(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let entries = std::fs::read_dir(source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let names: BTreeSet<String> = entries
        .flatten()
        .filter_map(|entry| entry.path().file_stem()?.to_str().map(str::to_owned))
        .filter(|name| !["lib", "main"].contains(&name.as_str()) && !FOR_TESTS.contains(&name.as_str()))
        .collect();
    let of = |name: &String| {
        let mut found = BTreeSet::new();
        for file in files(source, name) {
            let text = std::fs::read_to_string(&file).expect("a file of the sources");
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            let code: String = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .fold(String::new(), |code, line| code + line + "\n");
            let is_top = file.parent() == Some(source) || file.file_stem().is_some_and(|stem| stem == "mod");
            let above = if is_top { named(&code, "super::") } else { Vec::new() };
            found.extend(named(&code, "crate::").into_iter().chain(above).map(str::to_owned));
        }
        found.remove(name);
        found.intersection(&names).cloned().collect()
    };
    names.iter().map(|name| (name.clone(), of(name))).collect()
}

/// A way from a module back to itself.
fn cycle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    // Takes away modules that import nothing any more; those left lie on cycles or above one.
    let mut left = imports.clone();
    while let Some(lowest) = left.iter().find(|(_, below)| below.is_empty()).map(|(name, _)| name.clone()) {
        left.remove(&lowest);
        left.values_mut().for_each(|below| {
            below.remove(&lowest);
        });
    }
    let mut way = vec![left.keys().next()?.clone()];
    loop {
        let next = left.get(way.last()?)?.iter().next()?.clone();
        if let Some(start) = way.iter().position(|name| *name == next) {
            way.drain(..start);
            return Some(way);
        }
        way.push(next);
    }
}

/// Proves that the top-level modules of each crate can be read from the bottom up. Fails when one imports a module
/// above it.
#[test]
fn modules_have_no_import_cycle() {
    for crate_source in CRATES {
        let imports = imports(&root().join(crate_source));
        assert!(!imports.is_empty(), "{crate_source} has modules");
        if let Some(way) = cycle(&imports) {
            panic!("{crate_source}: {} import each other in a circle", way.join(" -> "));
        }
    }
}

/// Proves that the kernel's code for the CPU needs nothing of the kernel above it. Fails when a file there imports
/// another folder.
#[test]
fn arch_is_a_leaf() {
    let imports = imports(&root().join("kernel/src"));
    assert_eq!(imports.get("arch"), Some(&BTreeSet::new()));
}

/// Proves that imports are found in each form in which they are written. Fails when a form is not read, and a cycle
/// would pass unseen.
#[test]
fn imports_are_read() {
    let text = "use crate::one::{a, b};\nuse crate::{two, three::{c, d},\n    four};\nlet x = crate::five();";
    assert_eq!(named(text, "crate::"), ["one", "two", "three", "four", "five"]);
    let to = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let mut graph: BTreeMap<String, BTreeSet<String>> =
        [("a", to(&["b"])), ("b", to(&["c"])), ("c", to(&[]))]
            .map(|(name, below)| (name.to_owned(), below))
            .into();
    assert_eq!(cycle(&graph), None);
    graph.insert("c".to_owned(), to(&["b"]));
    assert_eq!(cycle(&graph), Some(vec!["b".to_owned(), "c".to_owned()]));
}
