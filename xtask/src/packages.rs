//! Installing Debian packages.

use std::io::{self, IsTerminal};
use std::process::Command;

use anyhow::{Result, bail};

use crate::progress::{self, Finished};

/// Debian's toolchain that can build for bare metal; its linker comes in a package named by a version.
const TOOLCHAIN: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];
/// The package of it that says by its dependencies which LLVM, and so which linker, it belongs to.
const LLVM_USER: &str = "rust-web-llvm";

/// Who runs `apt-get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apt {
    /// We do: we are root.
    Root,
    /// `sudo` does, and may ask for a password.
    Sudo,
    /// `sudo` does, if it needs no password: there is no terminal to ask on.
    SilentSudo,
}

impl Apt {
    /// Whether packages can be installed here, and how.
    pub fn find() -> Option<Self> {
        which::which("apt-get").ok()?;
        if rustix::process::geteuid().is_root() {
            return Some(Self::Root);
        }
        which::which("sudo").ok()?;
        Some(if io::stdin().is_terminal() { Self::Sudo } else { Self::SilentSudo })
    }

    /// The words in front of `apt-get`.
    const fn prefix(self) -> &'static [&'static str] {
        match self {
            Self::Root => &[],
            Self::Sudo => &["sudo"],
            Self::SilentSudo => &["sudo", "--non-interactive"],
        }
    }

    /// Installs packages; updates the lists once if they lack one. Never removes a package: where apt would remove one
    /// because it is newer than the lists (`qemu-utils` from backports, say), the command also names this package in the
    /// lists' version.
    pub fn install(self, packages: &[String]) -> Result<()> {
        if self == Self::Sudo && !Command::new("sudo").arg("--validate").status()?.success() {
            bail!("sudo was refused");
        }
        let mut fresh = false;
        if !packages.iter().all(|package| is_known(package)) {
            self.update()?;
            fresh = true;
        }
        let mut wanted = packages.to_vec();
        loop {
            let finished =
                self.get(&install_arguments(&wanted), &format!("installing {}", packages.join(" ")))?;
            if finished.status.success() {
                return Ok(());
            }
            if wanted.len() == packages.len() {
                let in_the_way = removed(&finished.lines);
                let versions: Option<Vec<_>> = in_the_way.iter().map(|name| listed_version(name)).collect();
                if let Some(versions) = versions.filter(|versions| !versions.is_empty()) {
                    eprintln!("in the way, and taken to the version of the lists: {}", versions.join(" "));
                    wanted.push("--allow-downgrades".into());
                    wanted.extend(versions);
                    continue;
                }
            }
            if fresh {
                finished.lines.iter().for_each(|line| eprintln!("{line}"));
                bail!("apt-get could not install {}", packages.join(" "));
            }
            self.update()?;
            fresh = true;
        }
    }

    /// Fetches the lists of packages.
    pub fn update(self) -> Result<()> {
        let finished = self.get(&["update".to_owned()], "fetching the lists of packages")?;
        if !finished.status.success() {
            finished.lines.iter().for_each(|line| eprintln!("{line}"));
            eprintln!("apt-get update failed; trying with the lists that are there");
        }
        Ok(())
    }

    fn get(self, arguments: &[String], title: &str) -> Result<Finished> {
        let mut words = self.prefix().iter().copied().chain([
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "LC_ALL=C",
            "apt-get",
        ]);
        let mut command = Command::new(words.next().unwrap_or("env"));
        command.args(words).args(["--quiet", "--option=DPkg::Lock::Timeout=300"]).args(arguments);
        progress::watch(&mut command, title, None)
    }
}

fn install_arguments(packages: &[String]) -> Vec<String> {
    let fixed = ["install", "--yes", "--no-install-recommends", "--no-remove"];
    fixed.iter().map(|&word| word.to_owned()).chain(packages.iter().cloned()).collect()
}

/// The packages of the toolchain with the linker of the version that they need; none if these lists do not
/// have them (another release, or no lists yet).
pub fn toolchain() -> Option<Vec<String>> {
    let output = Command::new("apt-cache").args(["depends", LLVM_USER]).env("LC_ALL", "C").output().ok()?;
    let linker = linker_for(&String::from_utf8_lossy(&output.stdout))?;
    Some(TOOLCHAIN.iter().map(|&name| name.to_owned()).chain([linker]).collect())
}

/// The linker's package, from what `apt-cache depends` says of the package that links it to `rust-lld`.
fn linker_for(depends: &str) -> Option<String> {
    let version = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: llvm-"))?;
    version.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("lld-{version}"))
}

fn is_known(package: &str) -> bool {
    let show = Command::new("apt-cache").args(["show", "--quiet", package]).output();
    show.is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

/// The packages that `apt-get` says it would remove: the indented names under its heading.
fn removed(lines: &[String]) -> Vec<String> {
    let heading = lines.iter().position(|line| line.contains("will be REMOVED"));
    let below = heading.map_or(&[][..], |at| lines.get(at + 1..).unwrap_or_default());
    let names =
        below.iter().take_while(|line| line.starts_with(' ')).flat_map(|line| line.split_whitespace());
    names.map(|name| name.trim_end_matches('*').to_owned()).collect()
}

/// A package with its highest version in the lists, in the form of `apt-get install`; a version that is only installed
/// does not count.
fn listed_version(package: &str) -> Option<String> {
    let output = Command::new("apt-cache").args(["madison", package]).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.lines().next()?.split('|').nth(1)?.trim().to_owned();
    Some(format!("{package}={version}"))
}

/// What a person types to install packages: with new lists first, since a fresh machine has none.
pub fn line_to_type<S: AsRef<str>>(packages: &[S]) -> String {
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
    let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    format!("{sudo}apt-get update && {sudo}apt-get install --no-install-recommends {}", names.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The linker follows the LLVM that the toolchain was built with, whatever its number.
    #[test]
    fn linker_follows_llvm() {
        let depends = "rust-web-llvm\n  Depends: libc6\n  Depends: llvm-22\n  Conflicts: <rust-llvm>\n";
        assert_eq!(linker_for(depends).as_deref(), Some("lld-22"));
        assert_eq!(linker_for(&depends.replace("22", "23")).as_deref(), Some("lld-23"));
        assert_eq!(linker_for("rust-web-llvm\n  Depends: llvm-runtime\n"), None);
        assert_eq!(linker_for(""), None);
    }

    /// What stands in the way is read from `apt-get`'s own words, and nothing else of them.
    #[test]
    fn what_is_in_the_way_is_found() {
        let lines = [
            "The following packages will be REMOVED:",
            "  qemu-utils other*",
            "The following NEW packages will be installed:",
            "  seabios",
        ]
        .map(str::to_owned);
        assert_eq!(removed(&lines), ["qemu-utils", "other"]);
        assert!(removed(&lines[2..]).is_empty());
    }

    /// A user's own Rust from packages conflicts with this toolchain: it must not be thrown out unasked.
    #[test]
    fn nothing_is_removed() {
        assert!(install_arguments(&["qemu".into()]).contains(&"--no-remove".to_owned()));
    }
}
