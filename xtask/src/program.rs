//! Programs that are compiled when they are asked for, so that `cargo xtask run` needs none of their crates.
//!
//! Their options are in package `options`: xtask has checked them when a program is compiled. The program takes this
//! process's place, so that signals and the terminal are its own.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::setup::{self, Installing, Need};
use crate::workspace::{HOST_MEMBERS, Workspace};

/// A program: its package, which is also the task's name.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    profile: &'static str,
    /// Cargo's output folder for the profile.
    folder: &'static str,
    title: &'static str,
    needs: &'static [Need],
}

/// The whole screen.
pub const WATCH: Program =
    Program { name: "watch", profile: "dev", folder: "debug", title: "compiling the view", needs: &[] };
/// The page.
pub const REPORT: Program = Program {
    name: "report",
    profile: "dev",
    folder: "debug",
    title: "compiling what draws the page",
    needs: &[Need::Qemu, Need::BareMetal],
};
/// Measuring is compiled for speed.
pub const BENCH: Program = Program {
    name: "bench",
    profile: "measure",
    folder: "measure",
    title: "compiling what measures",
    needs: &[Need::Qemu, Need::BareMetal],
};

impl Program {
    /// Compiles it.
    pub fn build(&self, workspace: &Workspace) -> Result<()> {
        let mut command = Command::new("cargo");
        command.args(["build", "--profile", self.profile]).args(HOST_MEMBERS).args(["--bin", self.name]);
        command.arg("--manifest-path");
        command.arg(workspace.root.join("Cargo.toml")).arg("--target-dir").arg(&workspace.target);
        build::watched(&mut command, self.title)
            .with_context(|| format!("package {} cannot be built", self.name))
    }

    /// Compiles it and becomes it. Returns only if that fails.
    pub fn run(&self, workspace: &Workspace, installing: Installing) -> Result<()> {
        setup::ensure(workspace, self.needs, installing)?;
        self.build(workspace)?;
        let program = workspace.target.join(self.folder).join(self.name);
        let error = Command::new(&program).args(own(self.name, env::args_os())).exec();
        Err(error).with_context(|| format!("cannot start {}", program.display()))
    }
}

/// The arguments that follow the task's name, without xtask's own.
fn own(name: &str, all: impl Iterator<Item = OsString>) -> Vec<OsString> {
    all.skip_while(|word| word != name).skip(1).filter(|word| word != "--no-install").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a program gets the options behind its task's name as they were typed, and none of xtask's.
    #[test]
    fn options_are_handed_on() {
        let of = |line: &str| own("bench", line.split(' ').map(OsString::from));
        assert_eq!(of("xtask --no-install bench --runs 3"), ["--runs", "3"]);
        assert_eq!(of("xtask bench --no-install --out bench"), ["--out", "bench"]);
    }
}
