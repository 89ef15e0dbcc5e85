//! The tier `deps`: licences, versions, sources and known holes of other people's crates, by `cargo deny` as
//! `xtask/deny.toml` says, for the workspace and for the fuzz targets' own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::outcome::Outcome;
use crate::progress;
use crate::workspace::Workspace;

/// How long the database of advisories may take to come.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The workspaces: this one, and that of the fuzz targets.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "tests/fuzz/Cargo.toml"];

/// A part of the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Checks that need the manifests only.
    Manifests,
    /// Published advisories about the crates; they have to be fetched first.
    Advisories,
}

/// All parts.
pub const PARTS: [Part; 2] = [Part::Manifests, Part::Advisories];

impl Part {
    /// Its name in the summary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manifests => "licences, versions and sources of dependencies",
            Self::Advisories => "advisories about dependencies",
        }
    }

    const fn checks(self) -> &'static [&'static str] {
        match self {
            Self::Manifests => &["bans", "licenses", "sources"],
            Self::Advisories => &["advisories"],
        }
    }
}

/// Checks a part. Advisories are left out, and said to be, where their database cannot be fetched.
pub fn check(workspace: &Workspace, part: Part) -> Result<Outcome> {
    if part == Part::Advisories {
        let mut fetch = deny(&workspace.root, MANIFESTS[0]);
        fetch.args(["fetch", "db"]).env("GIT_TERMINAL_PROMPT", "0");
        match progress::watch(&mut fetch, "fetching the database of advisories", Some(TIMEOUT)) {
            Ok(finished) if finished.status.success() => {}
            Ok(finished) => {
                finished.lines.iter().for_each(|line| eprintln!("{line}"));
                return Ok(Outcome::NotRun("their database cannot be fetched"));
            }
            Err(error) => {
                eprintln!("{error:#}");
                return Ok(Outcome::NotRun("their database does not come"));
            }
        }
    }
    let mut outcome = Outcome::Passed;
    for manifest in MANIFESTS {
        let mut command = deny(&workspace.root, manifest);
        command.arg("check").args(part.checks());
        if !command.status().context("cannot start cargo")?.success() {
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

fn deny(root: &Path, manifest: &str) -> Command {
    let mut command = Command::new("cargo");
    command.args(["deny", "--config=xtask/deny.toml", "--manifest-path", manifest]).current_dir(root);
    command
}
