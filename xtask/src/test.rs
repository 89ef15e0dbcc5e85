//! `cargo xtask test`: all tests, in tiers.
//!
//! ```text
//!  lints   formatting, clippy, documentation          host    tests of the libraries
//!  deps    other people's crates, by `cargo deny`     fuzz    each fuzz target: its corpus, some random inputs
//!  image   the disk image, only if asked for          qemu    tests that boot the kernel
//! ```
//!
//! Every step runs even if one before it failed, unless it needs what that was to make, with its output on the
//! terminal; the last lines say how long each of them took and how it ended.

mod steps;

use std::fmt;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::build;
use crate::cli::{TestArgs, Tier};
use crate::deps;
use crate::fuzz;
use crate::outcome::Outcome;
use crate::program;
use crate::setup::{self, Installing, Need};
use crate::workspace::Workspace;

use steps::Step;

/// What became of a step.
#[derive(Debug)]
struct Report {
    name: String,
    took: Duration,
    outcome: Outcome,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, took, outcome } = self;
        let seconds = took.as_secs_f64();
        match outcome {
            Outcome::Passed => write!(f, "passed   {seconds:>5.0} s  {name}"),
            Outcome::Failed => write!(f, "FAILED   {seconds:>5.0} s  {name}"),
            Outcome::NotRun(why) => write!(f, "not run  {seconds:>5.0} s  {name}: {why}"),
        }
    }
}

/// The tiers that were asked for, in the order they run.
fn chosen(args: &TestArgs) -> Result<Vec<Tier>> {
    let mut tiers = Tier::ALL.to_vec();
    tiers.extend(args.tier.contains(&Tier::Image).then_some(Tier::Image));
    tiers.retain(|tier| match tier {
        _ if !args.tier.is_empty() => args.tier.contains(tier),
        Tier::Qemu => !args.host,
        _ => !args.qemu,
    });
    if args.filter.is_some() {
        tiers.retain(|tier| matches!(tier, Tier::Host | Tier::Qemu));
    }
    if tiers.is_empty() {
        bail!("only the tiers `host` and `qemu` have tests with names");
    }
    Ok(tiers)
}

const fn needs(tier: Tier) -> &'static [Need] {
    match tier {
        Tier::Lints => &[Need::Lints],
        Tier::Deps => &[Need::Deny],
        Tier::Host => &[],
        Tier::Fuzz => &[Need::Cxx],
        Tier::Qemu => &[Need::Qemu, Need::BareMetal, Need::Acpica],
        Tier::Image => &[Need::Qemu, Need::BareMetal, Need::Ovmf, Need::LibrarySource, Need::LlvmTools],
    }
}

/// Runs the tests that were asked for.
pub fn test(workspace: &Workspace, args: &TestArgs, installing: Installing) -> Result<()> {
    let tiers = chosen(args)?;
    let needs: Vec<Need> = tiers.iter().flat_map(|&tier| needs(tier)).copied().collect();
    let started = Instant::now();
    setup::ensure(workspace, &needs, installing)?;
    let mut reports =
        vec![Report { name: "setup".into(), took: started.elapsed(), outcome: Outcome::Passed }];
    for tier in tiers {
        run(workspace, tier, args.filter.as_deref(), &mut reports);
    }
    eprintln!();
    for report in &reports {
        eprintln!("{report}");
    }
    eprintln!("{:>14.0} s  in all", started.elapsed().as_secs_f64());
    if reports.iter().any(|report| report.outcome == Outcome::Failed) {
        bail!("not everything passed");
    }
    Ok(())
}

/// Runs a tier's steps.
fn run(workspace: &Workspace, tier: Tier, filter: Option<&str>, reports: &mut Vec<Report>) {
    match tier {
        Tier::Lints | Tier::Host => {
            let steps = if tier == Tier::Lints { steps::lints() } else { steps::host(filter) };
            reports.extend(steps.iter().map(|step| report(step.name, || cargo(workspace, step))));
        }
        Tier::Deps => {
            for part in deps::PARTS {
                reports.push(report(part.name(), || deps::check(workspace, part)));
            }
        }
        Tier::Fuzz => {
            let built = report("fuzz targets are built", || passes(fuzz::build(workspace)));
            let there = built.outcome == Outcome::Passed;
            reports.push(built);
            for target in fuzz::TARGETS.iter().filter(|_| there) {
                let name = format!("fuzz target {}", target.name);
                reports.push(report(&name, || passes(fuzz::check(workspace, target))));
            }
        }
        Tier::Image => {
            let step = steps::image();
            reports.push(report(step.name, || cargo(workspace, &step)));
        }
        Tier::Qemu => {
            let built = report("boot shim and kernel are built", || {
                passes(build::bare_metal(
                    workspace,
                    &setup::bare_metal_toolchain(workspace)?,
                    build::Profile::Release,
                ))
            });
            let there = built.outcome == Outcome::Passed;
            reports.push(built);
            if there {
                // A test that starts one of them waits for a screen, not for a compiler.
                let programs = [&program::WATCH, &program::REPORT];
                reports.push(report("programs that the tests start are built", || {
                    passes(programs.iter().try_for_each(|program| program.build(workspace)))
                }));
                let step = steps::qemu(filter);
                reports.push(report(step.name, || cargo(workspace, &step)));
            }
        }
    }
}

/// What `work` was and how it went; an error is a failure, and is printed.
fn report(name: &str, work: impl FnOnce() -> Result<Outcome>) -> Report {
    eprintln!("\n== {name}");
    let started = Instant::now();
    let outcome = work().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Outcome::Failed
    });
    Report { name: name.to_owned(), took: started.elapsed(), outcome }
}

fn passes(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

fn cargo(workspace: &Workspace, step: &Step) -> Result<Outcome> {
    eprintln!("cargo {}", step.arguments.join(" "));
    let mut command = Command::new("cargo");
    command.args(&step.arguments).current_dir(&workspace.root);
    if let Some(flags) = step.rustdoc_flags {
        command.env("RUSTDOCFLAGS", flags);
    }
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() { Outcome::Passed } else { Outcome::Failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(host: bool, qemu: bool, tier: &[Tier], filter: Option<&str>) -> TestArgs {
        TestArgs { host, qemu, tier: tier.to_vec(), filter: filter.map(str::to_owned) }
    }

    /// Without a choice all default tiers run; `--host` and `--qemu` each leave out the other's tiers only; a filter leaves
    /// out the tiers without named tests.
    #[test]
    fn choices() {
        use Tier::{Deps, Fuzz, Host, Lints, Qemu};
        let chosen = |host, qemu, tier: &[Tier], filter| chosen(&args(host, qemu, tier, filter)).ok();
        assert_eq!(chosen(false, false, &[], None), Some(Tier::ALL.to_vec()));
        assert_eq!(chosen(true, false, &[], None), Some(vec![Lints, Deps, Host, Fuzz]));
        assert_eq!(chosen(false, true, &[], None), Some(vec![Qemu]));
        assert_eq!(chosen(false, false, &[Fuzz, Lints], None), Some(vec![Lints, Fuzz]));
        assert_eq!(chosen(false, false, &[], Some("buddy")), Some(vec![Host, Qemu]));
        assert_eq!(chosen(true, false, &[], Some("buddy")), Some(vec![Host]));
        assert_eq!(chosen(false, false, &[Lints], Some("buddy")), None);
    }

    /// The last lines tell the three ends apart.
    #[test]
    fn reports() {
        let line = |outcome| {
            let report = Report { name: "it".into(), took: Duration::from_millis(61_400), outcome };
            report.to_string()
        };
        assert_eq!(line(Outcome::Passed), "passed      61 s  it");
        assert_eq!(line(Outcome::Failed), "FAILED      61 s  it");
        assert_eq!(line(Outcome::NotRun("no net")), "not run     61 s  it: no net");
    }

    /// A step that ends in an error has failed, and the next ones run.
    #[test]
    fn errors_are_failures() {
        assert_eq!(report("it", || bail!("broken")).outcome, Outcome::Failed);
        assert_eq!(report("it", || passes(Ok(()))).outcome, Outcome::Passed);
    }
}
