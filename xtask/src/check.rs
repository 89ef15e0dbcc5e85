//! `cargo xtask test`: what runs on the host, and what boots the kernel.
//!
//! Every step runs even if one before it failed, with its output on the terminal; the last lines say how each
//! of them ended.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::cli::TestArgs;
use crate::setup::{self, Installing, Need};
use crate::workspace::Workspace;

/// Guests at a time: each one keeps a processor busy.
const GUESTS: &str = "--test-threads=2";

/// The members for bare metal, looked at apart from the others: with them their dependencies would have features
/// that they have not.
const BARE_METAL: &[&str] = &["--package=boot", "--package=kernel"];
/// All other members.
const HOST: &[&str] = &["--workspace", "--exclude=boot", "--exclude=kernel"];

/// One cargo command.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    name: &'static str,
    arguments: Vec<String>,
    rustdoc_flags: Option<&'static str>,
}

/// Which halves of the tests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Halves {
    host: Half,
    qemu: Half,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Runs,
    LeftOut,
}

impl Halves {
    fn asked_for(args: &TestArgs) -> Self {
        let unless = |other| if other { Half::LeftOut } else { Half::Runs };
        Self { host: unless(args.qemu), qemu: unless(args.host) }
    }
}

/// Runs the tests that were asked for.
pub fn test(workspace: &Workspace, args: &TestArgs, installing: Installing) -> Result<()> {
    let halves = Halves::asked_for(args);
    let mut needs = Vec::new();
    if halves.host == Half::Runs && args.filter.is_none() {
        needs.push(Need::Lints);
    }
    if halves.qemu == Half::Runs {
        needs.extend([Need::Qemu, Need::BareMetal, Need::Acpica]);
    }
    setup::ensure(workspace, &needs, installing)?;
    let filter = args.filter.as_deref();
    let mut outcomes = Vec::new();
    if halves.host == Half::Runs {
        let boot_has_library = workspace.root.join("boot/src/lib.rs").is_file();
        for step in host_steps(filter, boot_has_library) {
            outcomes.push((step.name, cargo(workspace, &step)?));
        }
    }
    if halves.qemu == Half::Runs {
        build::bare_metal(workspace, &setup::bare_metal_toolchain(workspace)?)?;
        let step = qemu_step(filter);
        outcomes.push((step.name, cargo(workspace, &step)?));
    }
    eprintln!();
    for (name, outcome) in &outcomes {
        eprintln!("{}: {name}", outcome.word());
    }
    if outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Failed) {
        bail!("not everything passed");
    }
    Ok(())
}

fn step(name: &'static str, words: &[&str]) -> Step {
    Step { name, arguments: words.iter().map(|&word| word.to_owned()).collect(), rustdoc_flags: None }
}

fn host_steps(filter: Option<&str>, boot_has_library: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    if filter.is_none() {
        steps.push(step("formatting", &["fmt", "--all", "--check"]));
        for (name, members) in [("lints", HOST), ("lints, bare metal", BARE_METAL)] {
            let words = [&["clippy"], members, &["--all-targets", "--", "--deny=warnings"]].concat();
            steps.push(step(name, &words));
        }
        for (name, members) in [("documentation", HOST), ("documentation, bare metal", BARE_METAL)] {
            let mut documentation = step(name, &[&["doc", "--no-deps"], members].concat());
            documentation.rustdoc_flags = Some("--deny=warnings");
            steps.push(documentation);
        }
    }
    // Without a choice of packages cargo takes those that the workspace names as its host members.
    let mut tests = step("tests on the host", &["test"]);
    tests.arguments.extend(filter.map(str::to_owned));
    steps.push(tests);
    if boot_has_library {
        let mut tests = step("tests of the boot shim's library", &["test", "--package=boot", "--lib"]);
        tests.arguments.extend(filter.map(str::to_owned));
        steps.push(tests);
    }
    steps
}

fn qemu_step(filter: Option<&str>) -> Step {
    let mut tests = step("tests in QEMU", &["test", "--package=tests", "--", GUESTS]);
    tests.arguments.extend(filter.map(str::to_owned));
    tests
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
}

impl Outcome {
    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
        }
    }
}

fn cargo(workspace: &Workspace, step: &Step) -> Result<Outcome> {
    eprintln!("\n== {}: cargo {}", step.name, step.arguments.join(" "));
    let started = Instant::now();
    let mut command = Command::new("cargo");
    command.args(&step.arguments).current_dir(&workspace.root);
    if let Some(flags) = step.rustdoc_flags {
        command.env("RUSTDOCFLAGS", flags);
    }
    let status = command.status().context("cannot start cargo")?;
    eprintln!("== {}: {:.0} s", step.name, started.elapsed().as_secs_f64());
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(host: bool, qemu: bool) -> TestArgs {
        TestArgs { host, qemu, filter: None }
    }

    /// Without a choice everything runs; a choice leaves out the other half and nothing more.
    #[test]
    fn halves() {
        let both = Halves { host: Half::Runs, qemu: Half::Runs };
        assert_eq!(Halves::asked_for(&args(false, false)), both);
        assert_eq!(Halves::asked_for(&args(true, false)), Halves { qemu: Half::LeftOut, ..both });
        assert_eq!(Halves::asked_for(&args(false, true)), Halves { host: Half::LeftOut, ..both });
    }

    /// The whole of the host's half denies warnings; a filter reaches every test command, and only those.
    #[test]
    fn host_half() {
        let whole = host_steps(None, true);
        assert!(whole[0].arguments.contains(&"--check".to_owned()));
        for (command, members) in
            [("clippy", HOST), ("clippy", BARE_METAL), ("doc", HOST), ("doc", BARE_METAL)]
        {
            let of_these = |step: &&Step| {
                step.arguments[0] == command
                    && members.iter().all(|word| step.arguments.iter().any(|is| is == word))
            };
            let step = whole.iter().find(of_these).expect("every member is looked at");
            let denies = step.arguments.last().is_some_and(|last| last == "--deny=warnings");
            assert!(denies || step.rustdoc_flags == Some("--deny=warnings"), "{step:?}");
        }
        let filtered = host_steps(Some("buddy"), true);
        assert!(filtered.iter().all(|step| step.arguments.contains(&"buddy".to_owned())));
        assert_eq!(filtered.len(), 2);
    }

    /// Never more guests at a time than this machine was measured with, with a filter too.
    #[test]
    fn guests_at_a_time() {
        assert_eq!(qemu_step(Some("plug")).arguments, ["test", "--package=tests", "--", GUESTS, "plug"]);
    }
}
