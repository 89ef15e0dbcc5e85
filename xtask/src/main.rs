//! Carapace's tasks. `cargo xtask run` boots the kernel on a machine that has nothing but cargo yet.
//!
//! The way of `run`: `setup` sees to QEMU and a toolchain, `build` builds, `accel` chooses the accelerator,
//! `qemu` composes the command, package `guest` runs it. Results go to standard output, everything else
//! to standard error.

mod accel;
mod build;
mod cli;
mod completions;
mod default;
mod demo;
mod deps;
mod dimm;
mod fuzz;
mod image;
mod outcome;
mod packages;
mod progress;
mod qemu;
mod run;
mod setup;
mod terminal;
mod test;
mod toolchain;
mod workspace;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use guest::launch::exit_code;

use crate::cli::{BenchArgs, Cli, Task, WatchArgs};
use crate::setup::{Installing, Need};
use crate::workspace::Workspace;

fn main() -> ExitCode {
    match task(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn task(cli: Cli) -> Result<u8> {
    let workspace = Workspace::find()?;
    let installing = if cli.no_install { Installing::Refused } else { Installing::Allowed };
    let Some(command) = cli.command else {
        default::greet(&workspace);
        return Ok(0);
    };
    match command {
        Task::Run(args) => return run::run(&workspace, &args, installing),
        Task::Build => build(&workspace, installing)?,
        Task::Test(args) => test::test(&workspace, &args, installing)?,
        Task::Demo(args) => demo::demo(&workspace, &args, installing)?,
        Task::Dimm(args) => return dimm::dimm(&args),
        Task::Watch(args) => watch(&workspace, &args)?,
        Task::Completions { shell } => completions::write(shell, &mut std::io::stdout())?,
        Task::Bench(args) => return bench(&workspace, &args, installing),
        Task::Fuzz(args) => fuzz::fuzz(&workspace, &args, installing)?,
        Task::Image(args) => image::image(&workspace, &args, installing)?,
        Task::Report(args) => return report(&workspace, &args, installing),
        Task::Setup => setup::report(&workspace, installing)?,
        Task::Clean => clean(&workspace)?,
    }
    Ok(0)
}

fn build(workspace: &Workspace, installing: Installing) -> Result<()> {
    setup::ensure(workspace, &[Need::BareMetal], installing)?;
    let profile = build::Profile::Release;
    build::bare_metal(workspace, &setup::bare_metal_toolchain(workspace)?, profile)?;
    for name in [build::BOOT, build::KERNEL] {
        println!("{}", profile.binary(workspace, name).display());
    }
    Ok(())
}

/// Measuring is a program of its own: it is compiled for speed, and has crates that nothing else needs.
fn bench(workspace: &Workspace, args: &BenchArgs, installing: Installing) -> Result<u8> {
    setup::ensure(workspace, &[Need::Qemu, Need::BareMetal], installing)?;
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--profile=measure", "--package=bench", "--manifest-path"]);
    command.arg(workspace.root.join("Cargo.toml")).arg("--").args(&args.arguments);
    eprintln!("compiling what measures; the first time takes some minutes");
    let status = command.status().context("cannot start cargo")?;
    Ok(exit_code(status))
}

/// The view is a program of its own: what it needs to draw is not compiled for those who only want `run`. It takes
/// this process's place, so that signals and the terminal are its own.
fn watch(workspace: &Workspace, args: &WatchArgs) -> Result<()> {
    let mut build = Command::new("cargo");
    build
        .args(["build", "--quiet", "--package=watch", "--manifest-path"])
        .arg(workspace.root.join("Cargo.toml"));
    build.arg("--target-dir").arg(&workspace.target);
    let program = workspace.target.join("debug").join("watch");
    if !program.is_file() {
        eprintln!("compiling the view; the first time takes a minute or two");
    }
    ensure!(build.status().context("cannot start cargo")?.success(), "the view cannot be built");
    let mut view = Command::new(&program);
    if let Some(path) = &args.qmp {
        view.arg("--qmp").arg(path);
    }
    // Returns only if it fails.
    Err(view.exec()).with_context(|| format!("cannot start {}", program.display()))
}

/// So is the page of `report`, which has crates that nothing else needs either.
fn report(workspace: &Workspace, args: &BenchArgs, installing: Installing) -> Result<u8> {
    setup::ensure(workspace, &[Need::Qemu, Need::BareMetal], installing)?;
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package=report", "--manifest-path"]);
    command.arg(workspace.root.join("Cargo.toml")).arg("--").args(&args.arguments);
    eprintln!("booting, plugging, drawing; the first time it is compiled before");
    let status = command.status().context("cannot start cargo")?;
    Ok(exit_code(status))
}

/// Cargo's target directory holds everything that was built, the bare-metal build and the verdict too.
fn clean(workspace: &Workspace) -> Result<()> {
    let mut command = Command::new("cargo");
    command.arg("clean").current_dir(&workspace.root).arg("--target-dir").arg(&workspace.target);
    ensure!(command.status().context("cannot start cargo")?.success(), "cargo clean failed");
    Ok(())
}
