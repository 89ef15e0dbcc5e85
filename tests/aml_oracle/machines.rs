//! The tables of real machines beside ACPICA: a folder that `ACPI_TABLES` names, with a folder for each machine and in it
//! `dsdt.dat`, `ssdt1.dat`, `ssdt2.dat` ... as `acpidump` and `acpixtract` leave them. The project carries none.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use carapace_aml::{Aml, Error, ErrorKind, Kind, Limits, Value};

use crate::acpica::{self, Answer};
use crate::fake::FakeHost;
use crate::unnamed;

/// Evaluations in one run of acpiexec: what one leaves behind, the next ones see, here as there.
const AT_ONCE: usize = 200;
/// How many values of a machine are tried again alone, where they differ.
const MOST_ALONE: usize = 24;
/// Address spaces that acpiexec plays, so that their `_REG` has run there: the embedded controller, GPIO, serial buses.
const PLAYED: [u64; 3] = [3, 8, 9];

/// The machines in the folder.
pub fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let mut machines: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    machines.sort();
    machines
}

/// The DSDT and the SSDTs in the order of their numbers.
pub fn tables(machine: &Path) -> Vec<PathBuf> {
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
pub fn names(aml: &Aml) -> (BTreeSet<String>, Vec<String>) {
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
    same_alone: usize,
    /// A method sleeps longer than an evaluation may.
    sleeps: usize,
    both_fail: usize,
    /// Ours has no handler for the address space: the embedded controller's, CMOS, SMBus, by design.
    no_handler: usize,
    only_ours_fails: usize,
    only_acpica_fails: usize,
    different: usize,
    unread: usize,
}

/// Proves that the tables of real machines load whole, and that names and values are ACPICA's but for differences with a
/// name: address spaces without a handler, sleeps beyond the bound, names that ACPICA leaves out, and those in [`NAMED`].
/// Fails with each other one, or when a table is refused.
#[test]
fn tables_of_real_machines() {
    let Some(folder) = std::env::var_os("ACPI_TABLES") else {
        println!("ACPI_TABLES names no folder of machines' tables: NOT compared");
        return;
    };
    let judge = acpica::judges().pop().expect("at least the installed one");
    let machines = folders(Path::new(&folder));
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(machine) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let compared = compare(&judge, machine);
                    let name = machine.file_name().expect("a name").to_string_lossy();
                    println!("{name}: {:?}\n{}", compared.counts, compared.unnamed.join("\n"));
                    results.lock().unwrap_or_else(PoisonError::into_inner).push(compared);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut all = Counts::default();
    for Compared { counts, .. } in &results {
        all.both += counts.both;
        all.only_acpica += counts.only_acpica;
        all.only_ours += counts.only_ours;
        all.same += counts.same;
        all.same_alone += counts.same_alone;
        all.sleeps += counts.sleeps;
        all.both_fail += counts.both_fail;
        all.no_handler += counts.no_handler;
        all.only_ours_fails += counts.only_ours_fails;
        all.only_acpica_fails += counts.only_acpica_fails;
        all.different += counts.different;
        all.unread += counts.unread;
    }
    println!("in all: {all:?}");
    let unnamed: Vec<&String> = results.iter().flat_map(|compared| &compared.unnamed).collect();
    assert!(unnamed.is_empty(), "{} differences without a name: {unnamed:#?}", unnamed.len());
    assert!(all.both > 0, "no machine in the folder");
}

/// Proves that the kernel's bound on the sleep of one evaluation lets the event methods of real machines end. Fails when one
/// sleeps longer, and prints which sleep at all.
#[test]
fn event_methods_of_real_machines_sleep_less_than_the_kernel_allows() {
    let Some(folder) = std::env::var_os("ACPI_TABLES") else {
        println!("ACPI_TABLES names no folder of machines' tables: sleeps NOT measured");
        return;
    };
    let (mut events, mut too_long) = (0, Vec::new());
    for machine in folders(Path::new(&folder)) {
        let name = machine.file_name().expect("a name").to_string_lossy().into_owned();
        let mut aml = Aml::new(Limits { steps: 4_000_000, depth: 64, bytes: 32 << 20, sleep_ms: 600_000 });
        let mut host = FakeHost::default();
        for file in tables(&machine) {
            let table = std::fs::read(file).expect("a table");
            let _refused = aml.load(&mut host, &table);
        }
        let _first_error = aml.initialize(&mut host);
        let mut methods: Vec<_> = aml.children("\\_GPE");
        methods.retain(|&method| {
            let path = aml.path(method);
            path.starts_with("\\_GPE._E") || path.starts_with("\\_GPE._L")
        });
        methods.extend(["\\_SB._INI", "\\_PIC"].iter().filter_map(|path| aml.find(path)));
        for method in methods {
            let count = aml.arguments(method);
            let path = aml.path(method);
            let args = vec![Value::Integer(1); count.unwrap_or(0).into()];
            let before = host.slept;
            let result = count.map(|_| aml.evaluate(&mut host, method, &args));
            let slept = host.slept - before;
            events += 1;
            if slept > 0 {
                println!("{name} {path}: {slept} ms, {:?}", result.map(|result| result.err()));
            }
            if slept > KERNEL_SLEEP_MS {
                too_long.push(format!("{name} {path}: {slept} ms"));
            }
        }
    }
    println!("{events} methods");
    assert!(too_long.is_empty(), "{too_long:#?}");
}

/// What the kernel allows (`SLEEP_MS` in kernel/src/acpi/namespace.rs).
const KERNEL_SLEEP_MS: u64 = 10_000;

/// One machine: the counts, and each difference that has no name.
struct Compared {
    counts: Counts,
    unnamed: Vec<String>,
}

fn compare(judge: &Path, machine: &Path) -> Compared {
    let files = tables(machine);
    let tables: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).expect("a table")).collect();
    let fresh = || {
        // Bytes as the kernel bounds them: by the tables' size.
        let bytes = tables.iter().map(Vec::len).sum::<usize>() * 12 + (256 << 10);
        let mut aml = Aml::new(Limits { steps: 1_000_000, depth: 64, bytes, sleep_ms: 10_000 });
        let mut host = FakeHost::default();
        for (table, file) in tables.iter().zip(&files) {
            let loaded = aml.load(&mut host, table);
            loaded.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        aml.limit_further(768 << 10);
        connect(&mut aml, &mut host);
        (aml, host)
    };
    let (mut aml, mut host) = fresh();
    let (ours, mut with_value) = names(&aml);
    let theirs = acpica::namespace(judge, &files);
    let counts = Counts {
        both: ours.intersection(&theirs).count(),
        only_acpica: theirs.difference(&ours).count(),
        only_ours: ours.difference(&theirs).count(),
        ..Counts::default()
    };
    let mut compared = Compared { counts, unnamed: Vec::new() };
    compared.unnamed.extend(unnamed_names(&ours, &theirs));
    // A method that waits for what never comes, such as the answer of system management code (`QSMI` of the Lenovo Yoga
    // C640), fails here when its sleep is used up. acpiexec waits 10 s for each, in real time: it is not asked.
    with_value.retain(|path| {
        let waits = |result: Result<Value, Error>| {
            result.is_err_and(|error| *error.kind() == ErrorKind::TooMuchSleep)
        };
        let is_suspect = waits(aml.evaluate(&mut host, path.as_str(), &[]));
        // With a whole budget.
        let is_waiting = is_suspect && {
            (aml, host) = fresh();
            waits(aml.evaluate(&mut host, path.as_str(), &[]))
        };
        compared.counts.sleeps += usize::from(is_waiting);
        !is_waiting
    });
    let mut rest = with_value.as_slice();
    // More of them take too long.
    let mut alone = MOST_ALONE;
    while !rest.is_empty() {
        let paths = &rest[..rest.len().min(AT_ONCE)];
        let answers = acpica::try_evaluate(judge, &files, paths);
        let (mut aml, mut host) = fresh();
        for (path, theirs) in paths.iter().zip(&answers) {
            let ours = aml.evaluate(&mut host, path.as_str(), &[]);
            if !compared.take(path, ours, theirs.as_ref(), alone == 0) {
                alone = alone.saturating_sub(1);
                let (mut aml, mut host) = fresh();
                let ours = aml.evaluate(&mut host, path.as_str(), &[]);
                let theirs = acpica::try_evaluate(judge, &files, std::slice::from_ref(path)).pop().flatten();
                compared.take(path, ours, theirs.as_ref(), true);
            }
        }
        // The next one hangs there.
        let done = (answers.len() + 1).min(paths.len());
        compared.counts.unread += done - answers.len();
        rest = &rest[done..];
    }
    compared
}

/// What acpiexec does at its start, so that both see the same: `_REG` of the address spaces that it plays (otherwise most of
/// what depends on an embedded controller differs for that alone), and all `_STA`. One may fail, as there.
fn connect(aml: &mut Aml, host: &mut FakeHost) {
    let (mut pending, mut status) = (aml.children("\\"), Vec::new());
    while let Some(object) = pending.pop() {
        pending.extend(aml.children(object).into_iter().rev());
        let path = aml.path(object);
        if path.ends_with("._REG") && aml.arguments(object) == Some(2) {
            for space in PLAYED {
                let _failed = aml.evaluate(host, object, &[Value::Integer(space), Value::Integer(1)]);
            }
        }
        if path.ends_with("._STA") && aml.arguments(object) == Some(0) {
            status.push(object);
        }
    }
    for object in status {
        let _failed = aml.evaluate(host, object, &[]);
    }
}

/// Names that only one of both has. Ours resolves names that are declared later; ACPICA leaves a term that names one out,
/// and puts what follows it where it does not belong. So a name that only ACPICA has must be elsewhere in ours.
fn unnamed_names(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> Vec<String> {
    let last = |path: &String| path.rsplit(['.', '\\']).next().unwrap_or_default().to_owned();
    let elsewhere: BTreeSet<String> = ours.difference(theirs).map(last).collect();
    let missing = theirs.difference(ours).filter(|path| !elsewhere.contains(&last(path)));
    missing.map(|path| format!("  only in ACPICA: {path}")).collect()
}

impl Compared {
    /// Counts one value; `false` asks for another try with fresh interpreters, unless this is it.
    fn take(&mut self, path: &str, ours: Result<Value, Error>, theirs: Option<&Answer>, alone: bool) -> bool {
        let counts = &mut self.counts;
        let Some(theirs) = theirs else {
            counts.unread += 1;
            return true;
        };
        match (ours, theirs) {
            (_, Answer::TooLong) => counts.unread += 1,
            (Err(_), Answer::Failed) => counts.both_fail += 1,
            (Err(error), _) if matches!(error.kind(), ErrorKind::NoHandler(_)) => counts.no_handler += 1,
            (Err(error), _) if *error.kind() == ErrorKind::TooMuchSleep => counts.sleeps += 1,
            (Ok(_), Answer::Failed) => counts.only_acpica_fails += 1,
            (Ok(ours), Answer::Value(theirs)) if unnamed(ours.clone()) == *theirs => match alone {
                false => counts.same += 1,
                true => counts.same_alone += 1,
            },
            _ if !alone => return false,
            (ours, theirs) => {
                match ours {
                    Err(_) => counts.only_ours_fails += 1,
                    Ok(_) => counts.different += 1,
                }
                if let Some((_, reason)) = NAMED.iter().find(|(end, _)| path.ends_with(end)) {
                    println!("  {path}: {reason}");
                } else {
                    let ours = ours.map_or_else(|error| error.to_string(), |value| format!("{value:?}"));
                    self.unnamed.push(format!("  {path}: ours {ours}; theirs {theirs:?}"));
                }
            }
        }
        true
    }
}

/// Values that differ, by the end of their path, each with the reason.
const NAMED: &[(&str, &str)] = &[
    ("\\BCEN", CONTROLLER),
    ("\\OSNF", KEPT),
    ("\\OSNV", KEPT),
    (".SBRG.MI0._STA", KEPT),
    (".SBRG.MI1._STA", KEPT),
    (".SBRG.RMSC._CRS", KEPT),
    (".GFX0.DD02._DCS", EVERYWHERE),
    (".I2C0.TPPL", EVERYWHERE),
];
const EVERYWHERE: &str =
    "set by a _REG that is called here for each address space, by acpiexec only where a region of it is";
const CONTROLLER: &str =
    "set by a _REG that reads the embedded controller: it ends there, acpiexec plays the controller";
const KEPT: &str = "kept from _OSI at acpiexec's start, while \"Windows 2006\" was off its list";
