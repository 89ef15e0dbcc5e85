//! Carapace's tasks. `cargo xtask run` boots the kernel on a machine that has nothing but cargo yet.
//!
//! The steps of `run`: `setup` provides QEMU and a toolchain, `build` builds, `accel` chooses the accelerator, package
//! `guest` composes the QEMU command and runs it. Results go to standard output, all other messages to standard error.

mod accel;
mod build;
mod cli;
mod completions;
mod console;
mod default;
mod demo;
mod deps;
mod dimm;
mod fuzz;
mod image;
mod mem;
mod outcome;
mod packages;
mod program;
mod progress;
mod run;
mod setup;
mod sh;
mod terminal;
mod test;
mod toolchain;
mod tour;
mod workspace;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::cli::{Cli, Task};
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
        Task::Tour(args) => tour::tour(&workspace, &args, installing)?,
        Task::Dimm(args) => return dimm::dimm(&args),
        Task::Mem(args) => return mem::mem(&args),
        Task::Sh(args) => return Ok(sh::sh(&args)),
        Task::Watch(_) => program::WATCH.run(&workspace, installing)?,
        Task::Completions { shell } => completions::write(shell, &mut std::io::stdout())?,
        Task::Bench(_) => program::BENCH.run(&workspace, installing)?,
        Task::Fuzz(args) => fuzz::fuzz(&workspace, &args, installing)?,
        Task::Image(args) => image::image(&workspace, &args, installing)?,
        Task::Report(_) => program::REPORT.run(&workspace, installing)?,
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

/// Cargo's target directory holds everything that was built, the bare-metal build and the verdict too.
fn clean(workspace: &Workspace) -> Result<()> {
    let mut command = Command::new("cargo");
    command.arg("clean").current_dir(&workspace.root).arg("--target-dir").arg(&workspace.target);
    ensure!(command.status().context("cannot start cargo")?.success(), "cargo clean failed");
    Ok(())
}
