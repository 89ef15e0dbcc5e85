//! The cargo commands of the tiers. Neighbour: `test` runs them.
//!
//! All tests are compiled with the same choice of members, so that cargo compiles each dependency once: with another
//! choice it would enable other features. What a step runs of them is chosen by target.

use crate::workspace::HOST_MEMBERS;

/// Guests at a time: each one keeps a processor busy.
const GUESTS: &str = "--test-threads=2";

/// The test programs of package `tests`, which cargo runs only if they are named. `image` has ignored tests alone.
const QEMU_TESTS: [&str; 5] = ["aml_oracle", "cloud_hypervisor", "e2e", "image", "static_tables"];

/// The members for bare metal. Clippy checks them separately: a build together with the others enables features of their
/// dependencies that they do not use.
const BARE_METAL: &[&str] = &["--package=boot", "--package=kernel"];

/// One cargo command.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name in the summary.
    pub name: &'static str,
    /// What follows `cargo`.
    pub arguments: Vec<String>,
    /// For rustdoc.
    pub rustdoc_flags: Option<&'static str>,
}

fn step(name: &'static str, words: &[&str]) -> Step {
    Step { name, arguments: words.iter().map(|&word| word.to_owned()).collect(), rustdoc_flags: None }
}

/// Formatting, clippy and documentation, all without a warning.
pub fn lints() -> Vec<Step> {
    let mut steps = vec![step("formatting", &["fmt", "--all", "--check"])];
    steps.push(step(
        "formatting of the fuzz targets",
        &["fmt", "--manifest-path=tests/fuzz/Cargo.toml", "--check"],
    ));
    steps.push(step(
        "formatting of the disk image's maker",
        &["fmt", "--manifest-path=xtask/image/Cargo.toml", "--check"],
    ));
    // The tests that run only if named (package `tests`) are not among `--all-targets`.
    for (name, members, targets) in [
        ("lints", HOST_MEMBERS, "--all-targets"),
        ("lints, tests in QEMU", HOST_MEMBERS, "--test=*"),
        ("lints, bare metal", BARE_METAL, "--all-targets"),
    ] {
        let words = [&["clippy"], members, &[targets, "--", "--deny=warnings"]].concat();
        steps.push(step(name, &words));
    }
    for (name, members) in [("documentation", HOST_MEMBERS), ("documentation, bare metal", BARE_METAL)] {
        let mut documentation = step(name, &[&["doc", "--no-deps"], members].concat());
        documentation.rustdoc_flags = Some("--deny=warnings");
        steps.push(documentation);
    }
    steps
}

/// Tests of the libraries.
pub fn host(filter: Option<&str>) -> Vec<Step> {
    // The tests of package `tests` are targets only if named.
    let mut all = step("tests on the host", &[&["test"], HOST_MEMBERS].concat());
    let mut boot = step("tests of the boot shim's library", &["test", "--package=boot", "--lib"]);
    for tests in [&mut all, &mut boot] {
        tests.arguments.extend(filter.map(str::to_owned));
    }
    vec![all, boot]
}

/// Tests that boot the kernel.
pub fn qemu(filter: Option<&str>) -> Step {
    let targets = QEMU_TESTS.map(|test| format!("--test={test}"));
    let mut tests = step("tests in QEMU", &[&["test"], HOST_MEMBERS].concat());
    tests.arguments.extend(targets);
    tests.arguments.extend(["--".to_owned(), GUESTS.to_owned()]);
    tests.arguments.extend(filter.map(str::to_owned));
    tests
}

/// Tests that boot the disk image. They are ignored in every other run.
pub fn image() -> Step {
    let image = &["--test=image", "--", "--ignored", "--test-threads=1"];
    step("tests of the disk image", &[&["test"], HOST_MEMBERS, image].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every member is looked at, and warnings are denied.
    #[test]
    fn lints_deny_warnings() {
        let whole = lints();
        assert!(whole[0].arguments.contains(&"--check".to_owned()));
        for (command, members, targets) in [
            ("clippy", HOST_MEMBERS, "--all-targets"),
            ("clippy", HOST_MEMBERS, "--test=*"),
            ("clippy", BARE_METAL, "--all-targets"),
            ("doc", HOST_MEMBERS, "--no-deps"),
            ("doc", BARE_METAL, "--no-deps"),
        ] {
            let of_these = |step: &&Step| {
                let has = |word: &&str| step.arguments.iter().any(|is| is == word);
                step.arguments[0] == command && members.iter().all(has) && has(&targets)
            };
            let step = whole.iter().find(of_these).expect("every member is looked at");
            let denies = step.arguments.last().is_some_and(|last| last == "--deny=warnings");
            assert!(denies || step.rustdoc_flags == Some("--deny=warnings"), "{step:?}");
        }
    }

    /// A test program that runs only if named is named: a forgotten one would never run.
    #[test]
    fn named_tests_are_complete() {
        let root = crate::workspace::Workspace::find().expect("this is in one").root;
        let manifest = std::fs::read_to_string(root.join("tests/Cargo.toml")).expect("a manifest");
        let programs = manifest.split("[[test]]").skip(1).map(|rest| {
            let rest = rest.split_once("name = \"").expect("a name").1;
            rest.split_once('"').expect("its end").0
        });
        let mut programs: Vec<&str> = programs.collect();
        programs.sort_unstable();
        assert_eq!(programs, QEMU_TESTS);
    }

    /// A filter reaches every test command.
    #[test]
    fn filters_reach_the_tests() {
        let filtered = host(Some("buddy"));
        assert!(filtered.iter().all(|step| step.arguments.contains(&"buddy".to_owned())));
        assert_eq!(filtered.len(), 2);
    }

    /// Never more guests at a time than this machine was measured with, with a filter too.
    #[test]
    fn guests_at_a_time() {
        let words = qemu(Some("plug")).arguments;
        assert_eq!(words[words.len() - 3..], ["--", GUESTS, "plug"]);
    }
}
