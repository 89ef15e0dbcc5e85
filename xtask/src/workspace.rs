//! Paths: the workspace and its build outputs.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// All members but those for bare metal, as cargo's arguments. Every build for this host that is not urgent chooses them
/// all, also where it makes one program: the features of dependencies are those of all chosen members together, so with
/// one choice each dependency is compiled once.
pub const HOST_MEMBERS: &[&str] = &["--workspace", "--exclude=boot", "--exclude=kernel"];

/// The paths of one checkout, all absolute.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

impl Workspace {
    /// The checkout this program belongs to: cargo says which one it is, and so does the build.
    pub fn find() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package.parent().context("the package lies in the workspace's root")?.to_owned();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => std::path::absolute(dir)?,
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The target directory of the bare-metal build; one of its own, so that its cache never meets another
    /// toolchain's and its lock never another cargo's.
    pub fn bare(&self) -> PathBuf {
        self.target.join("bare")
    }

    /// The state kept between runs.
    pub fn state(&self, name: &str) -> PathBuf {
        self.target.join("xtask").join(name)
    }
}
