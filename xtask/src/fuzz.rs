//! `cargo xtask fuzz`: the targets in `fuzz/`, built with LLVM's coverage and run for a bounded time.
//!
//! A stable compiler is enough: coverage is a pass of LLVM, and no sanitizer is asked for, since what is fuzzed has no
//! `unsafe`. Every target is seeded with the tables that the tests of its crate use; what a run finds worth keeping
//! stays in `fuzz/target/corpus`, an input that crashes in `fuzz/artifacts`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cli::FuzzArgs;
use crate::workspace::Workspace;

/// The targets, each with where its seeds lie.
const TARGETS: [(&str, Option<&str>); 5] = [
    ("aml", Some("kernel/aml/tests/fixtures")),
    ("crs", Some("kernel/aml/tests/fixtures")),
    ("tables", None),
    ("shell", None),
    ("boot", None),
];

/// What tells LLVM to note which code an input reaches, as libFuzzer wants it.
const COVERAGE: &str = "-Cpasses=sancov-module -Ccodegen-units=1 \
     -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Named, so that build scripts are built without coverage.
const HOST: &str = "x86_64-unknown-linux-gnu";
/// An input that takes longer, in seconds, or more memory, in MiB, is a find.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// Builds the targets and runs the one asked for, or all.
pub fn fuzz(workspace: &Workspace, args: &FuzzArgs) -> Result<()> {
    let names = TARGETS.map(|(name, _)| name);
    if let Some(target) = args.target.as_deref()
        && !names.contains(&target)
    {
        bail!("there is no target {target}; there are {}", names.join(", "));
    }
    let folder = workspace.root.join("fuzz");
    let mut build = Command::new("cargo");
    build.args(["build", "--release", "--target", HOST]).env("RUSTFLAGS", COVERAGE).current_dir(&folder);
    run(&mut build, "the build of the fuzz targets")?;
    let chosen =
        TARGETS.iter().filter(|(name, _)| args.target.as_deref().is_none_or(|target| target == *name));
    for (name, seeds) in chosen {
        run_target(workspace, &folder, name, *seeds, args.time)?;
    }
    Ok(())
}

fn run_target(
    workspace: &Workspace,
    folder: &Path,
    name: &str,
    seeds: Option<&str>,
    time: u64,
) -> Result<()> {
    let (corpus, artifacts) = (folder.join("target/corpus").join(name), folder.join("artifacts"));
    for made in [&corpus, &artifacts] {
        std::fs::create_dir_all(made).with_context(|| format!("{}", made.display()))?;
    }
    let mut command = Command::new(folder.join("target").join(HOST).join("release").join(name));
    command.arg(&corpus).args(seeds.map(|seeds| workspace.root.join(seeds)));
    command.args(LIMITS).args(["-print_final_stats=1", "-max_len=8192"]);
    command
        .arg(format!("-max_total_time={time}"))
        .arg(format!("-artifact_prefix={}/{name}-", artifacts.display()));
    run(&mut command, &format!("the fuzz target {name}"))
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("{what} cannot be started"))?;
    if !status.success() {
        bail!("{what} failed: {status}");
    }
    Ok(())
}
