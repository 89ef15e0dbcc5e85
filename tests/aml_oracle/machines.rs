//! The tables of real machines beside ACPICA: a folder that `ACPI_TABLES` names, with a folder for each machine and in it
//! `dsdt.dat`, `ssdt1.dat`, `ssdt2.dat` ... as `acpidump` and `acpixtract` leave them. The project carries none.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use carapace_aml::{Aml, ErrorKind, Kind, Limits};

use crate::acpica::{self, Answer};
use crate::fake::FakeHost;
use crate::unnamed;

/// As many evaluations as fit into acpiexec's command line.
const AT_ONCE: usize = 20;

/// The DSDT and the SSDTs in the order of their numbers.
fn tables(machine: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(machine).expect("a machine's folder");
    let mut files: Vec<(bool, usize, PathBuf)> = files
        .filter_map(|file| {
            let path = file.expect("a file").path();
            let stem = path.file_stem()?.to_str()?.to_lowercase();
            let number = stem.strip_prefix("ssdt").map(|number| number.parse().unwrap_or(0));
            (stem == "dsdt" || number.is_some()).then(|| (number.is_some(), number.unwrap_or(0), path))
        })
        .collect();
    files.sort();
    files.into_iter().map(|(_, _, path)| path).collect()
}

/// All names, and of those that have a value without arguments the paths.
fn names(aml: &Aml) -> (BTreeSet<String>, Vec<String>) {
    let (mut all, mut with_value) = (BTreeSet::new(), Vec::new());
    let mut pending = aml.children("\\");
    while let Some(object) = pending.pop() {
        let path = aml.path(object);
        let has_value = match aml.kind(object) {
            Some(Kind::Integer | Kind::String | Kind::Buffer | Kind::Package) => true,
            Some(Kind::Method) => aml.arguments(object) == Some(0),
            _ => false,
        };
        // What the interpreters bring themselves differs.
        if has_value && !["\\_REV", "\\_OS"].contains(&path.as_str()) {
            with_value.push(path.clone());
        }
        pending.extend(aml.children(object));
        all.insert(path);
    }
    with_value.sort();
    (all, with_value)
}

/// What became of the comparison.
#[derive(Debug, Default)]
struct Counts {
    both: usize,
    only_acpica: usize,
    only_ours: usize,
    same: usize,
    both_fail: usize,
    /// Ours has no handler for the address space: the embedded controller's, CMOS, SMBus, by design.
    no_handler: usize,
    only_ours_fails: usize,
    only_acpica_fails: usize,
    different: usize,
    unread: usize,
}

/// Proves that the tables of real machines load whole, and shows how far names and values agree with ACPICA's; each
/// difference is printed. Fails when a table is refused, or when the namespaces differ by more than one name in a
/// hundred: terms are left out then.
#[test]
fn tables_of_real_machines() {
    let Some(folder) = std::env::var_os("ACPI_TABLES") else {
        println!("ACPI_TABLES names no folder of machines' tables: NOT compared");
        return;
    };
    let judge = acpica::judges().pop().expect("at least the installed one");
    let mut machines: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    machines.sort();
    let mut all = Counts::default();
    for machine in machines {
        let counts = compare(&judge, &machine);
        println!("{}: {counts:?}", machine.file_name().expect("a name").to_string_lossy());
        assert!(
            counts.only_acpica * 100 <= counts.both && counts.both > 0,
            "{}: {counts:?}",
            machine.display()
        );
        all.both += counts.both;
        all.only_acpica += counts.only_acpica;
        all.only_ours += counts.only_ours;
        all.same += counts.same;
        all.both_fail += counts.both_fail;
        all.no_handler += counts.no_handler;
        all.only_ours_fails += counts.only_ours_fails;
        all.only_acpica_fails += counts.only_acpica_fails;
        all.different += counts.different;
        all.unread += counts.unread;
    }
    println!("in all: {all:?}");
}

fn compare(judge: &Path, machine: &Path) -> Counts {
    let files = tables(machine);
    let tables: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a table")).collect();
    let fresh = || {
        // Bytes as the kernel bounds them: by the tables' size.
        let bytes = tables.iter().map(Vec::len).sum::<usize>() * 12 + (256 << 10);
        let mut aml = Aml::new(Limits { steps: 1_000_000, depth: 64, bytes, sleep_ms: 2_000 });
        let mut host = FakeHost::default();
        for (table, file) in tables.iter().zip(&files) {
            let loaded = aml.load(&mut host, table);
            loaded.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        aml.limit_further(768 << 10);
        (aml, host)
    };
    let (aml, _) = fresh();
    let (ours, with_value) = names(&aml);
    let theirs = acpica::namespace(judge, &files);
    let mut counts = Counts {
        both: ours.intersection(&theirs).count(),
        only_acpica: theirs.difference(&ours).count(),
        only_ours: ours.difference(&theirs).count(),
        ..Counts::default()
    };
    let show = |what: &str, names: Vec<&String>| {
        if !names.is_empty() {
            println!("  only in {what}: {:?}", names.iter().take(8).collect::<Vec<_>>());
        }
    };
    show("ACPICA", theirs.difference(&ours).collect());
    show("ours", ours.difference(&theirs).collect());
    for paths in with_value.chunks(AT_ONCE) {
        let (mut aml, mut host) = fresh();
        for (path, theirs) in paths.iter().zip(acpica::try_evaluate(judge, &files, paths)) {
            let ours = aml.evaluate(&mut host, path.as_str(), &[]);
            let Some(theirs) = theirs else {
                counts.unread += 1;
                continue;
            };
            match (ours, theirs) {
                (_, Answer::TooLong) => counts.unread += 1,
                (Err(_), Answer::Failed) => counts.both_fail += 1,
                (Err(error), _) if matches!(error.kind(), ErrorKind::NoHandler(_)) => counts.no_handler += 1,
                (Err(error), theirs) => {
                    counts.only_ours_fails += 1;
                    println!("  {path}: ours {error}; theirs {theirs:?}");
                }
                (Ok(_), Answer::Failed) => counts.only_acpica_fails += 1,
                (Ok(ours), Answer::Value(theirs)) => {
                    let ours = unnamed(ours);
                    if ours == theirs {
                        counts.same += 1;
                    } else {
                        counts.different += 1;
                        println!("  {path}: ours {ours:?}; theirs {theirs:?}");
                    }
                }
            }
        }
    }
    counts
}
