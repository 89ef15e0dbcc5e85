//! `cargo xtask fuzz`: the targets in `tests/fuzz/`, built with LLVM's coverage and run for a bounded time.
//!
//! ```text
//!  tests/fuzz/corpus/TARGET          in the repository: the smallest set of inputs with all coverage so far
//!  tests/fuzz/target/corpus/TARGET   finds of runs on this machine; `--minimise` merges them into the corpus
//!  tests/fuzz/artifacts/TARGET       inputs that crashed, hung, or took too much memory
//! ```
//!
//! A stable compiler is enough: coverage is a pass of LLVM, and the fuzzed code has no `unsafe`, so it needs no sanitizer.
//! The folders are those of `cargo fuzz`, which does the same with a nightly compiler. `check` runs every target on its
//! corpus and on a number of random inputs, always the same ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cli::FuzzArgs;
use crate::setup::{self, Installing, Need};
use crate::workspace::Workspace;

/// A program in `tests/fuzz/fuzz_targets`.
#[derive(Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// The longest input, in bytes.
    longest: u32,
    /// The number of inputs in tests: enough for some seconds.
    runs: u32,
}

/// All targets. The longest inputs are, for example, two SSDTs, a DSDT of QEMU, a few lines, 64 operations.
pub const TARGETS: [Target; 8] = [
    Target { name: "aml", longest: 16 << 10, runs: 20_000 },
    Target { name: "boot", longest: 8 << 10, runs: 200_000 },
    Target { name: "crs", longest: 1 << 10, runs: 500_000 },
    Target { name: "elf", longest: 12 << 10, runs: 500_000 },
    Target { name: "memory", longest: 257, runs: 1_500 },
    Target { name: "shell", longest: 4 << 10, runs: 50_000 },
    Target { name: "tables", longest: 8 << 10, runs: 100_000 },
    Target { name: "virtio", longest: 512, runs: 50_000 },
];

/// Makes LLVM record which code an input reaches, in libFuzzer's form.
const COVERAGE: &str = "-Cpasses=sancov-module -Ccodegen-units=1 \
     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Named, so that build scripts are built without coverage.
const HOST: &str = "x86_64-unknown-linux-gnu";
/// An input that takes longer, in seconds, or more memory, in MiB, is a find.
const LIMITS: [&str; 2] = ["-timeout=30", "-rss_limit_mb=1024"];
/// Seconds for each target, unless a number of runs was asked for.
const TIME: u64 = 60;

/// Builds the targets and runs the one asked for, or all.
pub fn fuzz(workspace: &Workspace, args: &FuzzArgs, installing: Installing) -> Result<()> {
    let chosen = choose(args.target.as_deref())?;
    setup::ensure(workspace, &[Need::Cxx], installing)?;
    build(workspace)?;
    for target in chosen {
        let places = Places::of(workspace, target);
        if args.minimise {
            places.minimise(target)?;
            continue;
        }
        let mut command = places.command(target, &places.found)?;
        command.arg("-print_final_stats=1").arg(format!("-runs={}", args.runs.map_or(-1, i64::from)));
        if let Some(time) = args.time.or(args.runs.is_none().then_some(TIME)) {
            command.arg(format!("-max_total_time={time}"));
        }
        run(&mut command, target)?;
    }
    Ok(())
}

fn choose(name: Option<&str>) -> Result<Vec<&'static Target>> {
    let chosen: Vec<_> =
        TARGETS.iter().filter(|target| name.is_none_or(|name| name == target.name)).collect();
    if chosen.is_empty() {
        bail!("there is no such target; there are {}", TARGETS.map(|target| target.name).join(", "));
    }
    Ok(chosen)
}

/// Builds all targets.
pub fn build(workspace: &Workspace) -> Result<()> {
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--target", HOST, "--manifest-path"]);
    build.arg(workspace.root.join("tests/fuzz/Cargo.toml")).env("RUSTFLAGS", COVERAGE);
    build.env_remove("CARGO_TARGET_DIR");
    let status = build.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the fuzz targets cannot be built: {status}");
    }
    Ok(())
}

/// Runs a target on its corpus and on its number of random inputs. The inputs are always the same, so a new failure
/// comes from a change of the code.
pub fn check(workspace: &Workspace, target: &Target) -> Result<()> {
    let places = Places::of(workspace, target);
    // Nothing that was found on this machine alone.
    let scratch = tempfile::tempdir().context("no folder for the finds")?;
    let mut command = places.command(target, scratch.path())?;
    command.args(["-seed=1", "-verbosity=0", "-print_final_stats=1"]).arg(format!("-runs={}", target.runs));
    run(&mut command, target)
}

/// Where a target and its inputs lie.
struct Places {
    program: PathBuf,
    kept: PathBuf,
    found: PathBuf,
    artifacts: PathBuf,
}

impl Places {
    fn of(workspace: &Workspace, target: &Target) -> Self {
        let fuzz = workspace.root.join("tests/fuzz");
        Self {
            program: fuzz.join("target").join(HOST).join("release").join(target.name),
            kept: fuzz.join("corpus").join(target.name),
            found: fuzz.join("target/corpus").join(target.name),
            artifacts: fuzz.join("artifacts").join(target.name),
        }
    }

    /// The command of the target on the corpus and on `found`, which also receives new finds.
    fn command(&self, target: &Target, found: &Path) -> Result<Command> {
        for folder in [found, &self.artifacts] {
            std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        }
        let mut command = Command::new(&self.program);
        command.arg(found).arg(&self.kept).args(LIMITS).arg(format!("-max_len={}", target.longest));
        command.arg(format!("-artifact_prefix={}/", self.artifacts.display()));
        Ok(command)
    }

    /// Replaces the corpus by the smallest set with the coverage of the corpus and of this machine's finds.
    fn minimise(&self, target: &Target) -> Result<()> {
        let new = self.kept.with_extension("new");
        std::fs::create_dir_all(&new).with_context(|| format!("{}", new.display()))?;
        let mut command = self.command(target, &new)?;
        command.arg(&self.found).arg("-merge=1");
        run(&mut command, target)?;
        std::fs::remove_dir_all(&self.kept).with_context(|| format!("{}", self.kept.display()))?;
        std::fs::rename(&new, &self.kept).with_context(|| format!("{}", new.display()))
    }
}

fn run(command: &mut Command, target: &Target) -> Result<()> {
    let status =
        command.status().with_context(|| format!("fuzz target {} cannot be started", target.name))?;
    if !status.success() {
        bail!("fuzz target {} failed: {status}; the input is in tests/fuzz/artifacts/{0}", target.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The targets are the programs of `fuzz/`, each with a corpus in the repository: one that is forgotten here
    /// would never be run.
    #[test]
    fn targets_are_complete() {
        let fuzz = Workspace::find().expect("this is in one").root.join("tests/fuzz");
        for (folder, suffix) in [("fuzz_targets", ".rs"), ("corpus", "")] {
            let entries = std::fs::read_dir(fuzz.join(folder)).expect(folder).map(|entry| {
                let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
                name.strip_suffix(suffix).expect("nothing else").to_owned()
            });
            let mut names: Vec<_> = entries.collect();
            names.sort_unstable();
            assert_eq!(names, TARGETS.map(|target| target.name), "tests/fuzz/{folder}");
        }
    }

    /// A name chooses its target, none chooses all, and another one is refused with the names there are.
    #[test]
    fn targets_are_chosen_by_name() {
        assert_eq!(choose(None).expect("all").len(), TARGETS.len());
        assert_eq!(choose(Some("crs")).expect("one").iter().map(|one| one.name).collect::<Vec<_>>(), ["crs"]);
        let error = choose(Some("dsdt")).expect_err("no such target").to_string();
        assert!(error.contains("aml, boot, crs, elf, memory"), "{error}");
    }
}
