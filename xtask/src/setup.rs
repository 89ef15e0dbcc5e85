//! The programs that tasks need on the machine: finds them, installs them, or prints the commands to install them.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::packages::{self, Apt};
use crate::progress;
use crate::toolchain::{self, TARGET, ThisMachine, Toolchain, Wanted};
use crate::workspace::Workspace;

/// Something that a task needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// `qemu-system-x86_64`.
    Qemu,
    /// A toolchain for bare metal.
    BareMetal,
    /// `iasl` and `acpiexec`: the tests' tables and their oracle.
    Acpica,
    /// `cargo fmt` and `cargo clippy`.
    Lints,
    /// A C++ compiler: LLVM's fuzzer is written in it.
    Cxx,
    /// `cargo deny`: licences, versions and advisories of dependencies.
    Deny,
    /// A toolchain with its library's source: what crate `bootloader`'s loaders are built with.
    LibrarySource,
    /// LLVM's `objcopy`, which the loader for a BIOS needs beside it.
    LlvmTools,
    /// UEFI firmware for QEMU.
    Ovmf,
}

impl Need {
    /// All needs but those of disk images, which `image` checks itself.
    pub const ALL: [Self; 6] =
        [Self::Qemu, Self::BareMetal, Self::Acpica, Self::Lints, Self::Cxx, Self::Deny];

    const fn name(self) -> &'static str {
        match self {
            Self::Qemu => "QEMU",
            Self::BareMetal => "bare-metal Rust",
            Self::Acpica => "ACPI tools",
            Self::Lints => "rustfmt, clippy",
            Self::Cxx => "C++ compiler",
            Self::Deny => "cargo deny",
            Self::LibrarySource => "Rust library's source",
            Self::LlvmTools => "LLVM tools",
            Self::Ovmf => "OVMF",
        }
    }

    /// What to type where we cannot install it.
    fn advice(self) -> String {
        match self {
            Self::Qemu => format!(
                "Debian, Ubuntu: {}\n\
                 Fedora: sudo dnf install qemu-system-x86-core    Arch: sudo pacman -S qemu-system-x86",
                packages::line_to_type(&["qemu-system-x86"])
            ),
            Self::BareMetal => {
                format!("rustup target add {TARGET}\nor, on Debian 12: {}", debian_toolchain())
            }
            Self::LibrarySource => {
                format!("rustup component add rust-src\nor, on Debian 12: {}", debian_toolchain())
            }
            Self::LlvmTools => "rustup component add llvm-tools".into(),
            Self::Ovmf => format!(
                "Debian, Ubuntu: {}\n\
                 Fedora: sudo dnf install edk2-ovmf    Arch: sudo pacman -S edk2-ovmf",
                packages::line_to_type(&["ovmf"])
            ),
            Self::Acpica => format!(
                "Debian, Ubuntu: {}\n\
                 Fedora: sudo dnf install acpica-tools    Arch: sudo pacman -S acpica",
                packages::line_to_type(&["acpica-tools"])
            ),
            Self::Lints => "rustup component add rustfmt clippy".into(),
            Self::Cxx => format!(
                "Debian, Ubuntu: {}\n\
                 Fedora: sudo dnf install gcc-c++    Arch: sudo pacman -S gcc",
                packages::line_to_type(&["g++"])
            ),
            Self::Deny => format!("cargo {}", deny_arguments().join(" ")),
        }
    }
}

/// The line that installs Debian's toolchain, which can build for bare metal.
fn debian_toolchain() -> String {
    let names = packages::toolchain().unwrap_or_else(|| {
        ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "lld-22"].map(str::to_owned).to_vec()
    });
    packages::line_to_type(&names)
}

/// Whether the machine may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installing {
    /// Yes; a person at the terminal is asked first.
    Allowed,
    /// No.
    Refused,
}

/// A program on this machine.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its absolute path.
    pub path: PathBuf,
    /// The line by which it names its version.
    pub version: String,
}

/// Something that is not there.
#[derive(Clone, Debug)]
struct Missing {
    need: Need,
    why: String,
}

/// Sees to it that what `needs` names is there.
///
/// # Errors
/// Something is missing and was not installed; the message says what to type.
pub fn ensure(workspace: &Workspace, needs: &[Need], installing: Installing) -> Result<()> {
    let mut missing = look_for(workspace, needs);
    if !missing.is_empty() && installing == Installing::Allowed && may_install(&missing)? {
        install(workspace, &missing)?;
        missing = look_for(workspace, needs);
    }
    if missing.is_empty() { Ok(()) } else { bail!(instructions(&missing)) }
}

/// `cargo xtask setup`: sees to everything, and reports each item.
pub fn report(workspace: &Workspace, installing: Installing) -> Result<()> {
    let outcome = ensure(workspace, &Need::ALL, installing);
    for need in Need::ALL {
        match describe(workspace, need) {
            Ok(lines) => {
                for line in lines {
                    println!("{:<16} {line}", need.name());
                }
            }
            Err(missing) => println!("{:<16} missing: {}", need.name(), missing.why),
        }
    }
    outcome
}

/// What of `need` this machine lacks, in words.
pub fn lacks(workspace: &Workspace, need: Need) -> Option<String> {
    describe(workspace, need).err().map(|missing| format!("{} ({})", need.name(), missing.why))
}

/// QEMU, which `ensure` has seen to.
pub fn qemu() -> Result<Program> {
    program("qemu-system-x86_64", "--version").map_err(anyhow::Error::msg)
}

/// The bare-metal toolchain, which `ensure` has seen to.
pub fn bare_metal_toolchain(workspace: &Workspace) -> Result<Toolchain> {
    chosen(workspace, Wanted::Target).map_err(anyhow::Error::msg)
}

/// A toolchain with the library's source, which `ensure` has seen to.
pub fn source_toolchain(workspace: &Workspace) -> Result<Toolchain> {
    chosen(workspace, Wanted::Source).map_err(anyhow::Error::msg)
}

fn chosen(workspace: &Workspace, wanted: Wanted) -> Result<Toolchain, String> {
    toolchain::choose(&ThisMachine(&workspace.root), wanted).map_err(|reasons| reasons.join("; "))
}

/// Where Debian and others install OVMF as one file.
const OVMF_PLACES: [&str; 4] = [
    "/usr/share/ovmf/OVMF.fd",
    "/usr/share/qemu/OVMF.fd",
    "/usr/share/edk2/ovmf/OVMF.fd",
    "/usr/share/edk2/x64/OVMF.4m.fd",
];

/// OVMF's file, which `ensure` has seen to.
pub fn ovmf() -> Result<PathBuf> {
    let found = OVMF_PLACES.into_iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| anyhow::anyhow!("there is none of {}", OVMF_PLACES.join(", ")))
}

/// LLVM's `objcopy` of the toolchain that builds loaders: rustup's component has it, Debian's toolchain does not.
fn objcopy(workspace: &Workspace) -> Result<PathBuf, String> {
    let hosts = chosen(workspace, Wanted::Source)?.sysroot.join("lib/rustlib");
    let entries = std::fs::read_dir(&hosts).into_iter().flatten().flatten();
    let mut places = entries.map(|host| host.path().join("bin/llvm-objcopy"));
    places.find(|path| path.is_file()).ok_or_else(|| format!("no llvm-objcopy in {}", hosts.display()))
}

fn look_for(workspace: &Workspace, needs: &[Need]) -> Vec<Missing> {
    needs.iter().filter_map(|&need| describe(workspace, need).err()).collect()
}

/// The state of an item, a line for each part.
fn describe(workspace: &Workspace, need: Need) -> Result<Vec<String>, Missing> {
    let line = |program: Program| format!("{}  {}", program.path.display(), program.version);
    let found = match need {
        Need::Qemu => program("qemu-system-x86_64", "--version").map(|program| vec![line(program)]),
        Need::BareMetal => chosen(workspace, Wanted::Target).map(|toolchain| vec![toolchain.to_string()]),
        Need::LibrarySource => chosen(workspace, Wanted::Source).map(|toolchain| vec![toolchain.to_string()]),
        Need::LlvmTools => objcopy(workspace).map(|path| vec![path.display().to_string()]),
        Need::Ovmf => ovmf().map(|path| vec![path.display().to_string()]).map_err(|why| why.to_string()),
        Need::Acpica => ["iasl", "acpiexec"]
            .into_iter()
            .map(|name| program(name, "-v").map(line))
            .collect::<Result<Vec<_>, _>>(),
        Need::Lints => ["fmt", "clippy"]
            .into_iter()
            .map(|name| cargo_component(workspace, name))
            .collect::<Result<Vec<_>, _>>(),
        Need::Cxx => program(&compiler(), "--version").map(|program| vec![line(program)]),
        Need::Deny => cargo_component(workspace, "deny").map(|line| vec![line]),
    };
    found.map_err(|why| Missing { need, why })
}

/// The C++ compiler that crate `cc` takes.
fn compiler() -> String {
    std::env::var("CXX").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "c++".into())
}

/// The `cargo deny` that is installed where there is none: it builds with Rust 1.88 and later.
const DENY_VERSION: &str = "0.20.2";

/// Installs `cargo deny`, unoptimised: that takes a fraction of the time, and looks at our few crates as quickly.
fn deny_arguments() -> [&'static str; 6] {
    ["install", "--locked", "--debug", "--version", DENY_VERSION, "cargo-deny"]
}

fn program(name: &str, version_flag: &str) -> Result<Program, String> {
    let path = which::which(name).map_err(|_| format!("no {name} on PATH"))?;
    let output = Command::new(&path).arg(version_flag).output().map_err(|why| format!("{name}: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let telling = |line: &&str| line.contains("version");
    let version = text.lines().map(str::trim).find(telling).unwrap_or("version unknown").to_owned();
    Ok(Program { path, version })
}

fn cargo_component(workspace: &Workspace, name: &str) -> Result<String, String> {
    let output = Command::new("cargo").args([name, "--version"]).current_dir(&workspace.root).output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(format!("cargo {name}  {}", String::from_utf8_lossy(&output.stdout).trim()))
        }
        _ => Err(format!("cargo {name} does not run")),
    }
}

fn install(workspace: &Workspace, missing: &[Missing]) -> Result<()> {
    let lacks = |need| missing.iter().any(|missing| missing.need == need);
    let apt = Apt::find();
    let mut wanted = Vec::new();
    if lacks(Need::Qemu) {
        wanted.push("qemu-system-x86".to_owned());
    }
    if lacks(Need::Acpica) {
        wanted.push("acpica-tools".to_owned());
        // Not needed, but looked at where it is there.
        wanted.push("ovmf".to_owned());
    }
    if lacks(Need::Cxx) {
        wanted.push("g++".to_owned());
    }
    if lacks(Need::Lints) {
        rustup(workspace, &["component", "add", "rustfmt", "clippy"])?;
    }
    if lacks(Need::Deny) {
        let mut command = Command::new("cargo");
        command.args(deny_arguments()).env("CARGO_PROFILE_DEV_DEBUG", "0").env_remove("CARGO_TARGET_DIR");
        let finished = progress::watch(&mut command, "building cargo deny", None)?;
        if !finished.status.success() {
            finished.lines.iter().for_each(|line| eprintln!("{line}"));
        }
    }
    if lacks(Need::Ovmf) {
        wanted.push("ovmf".to_owned());
    }
    let mut debian = lacks(Need::BareMetal) && !rustup(workspace, &["target", "add", TARGET])?;
    debian |= lacks(Need::LibrarySource) && !rustup(workspace, &["component", "add", "rust-src"])?;
    if lacks(Need::LlvmTools) {
        rustup(workspace, &["component", "add", "llvm-tools"])?;
    }
    if debian && let Some(apt) = apt {
        if packages::toolchain().is_none() {
            apt.update()?;
        }
        wanted.extend(packages::toolchain().unwrap_or_default());
    }
    match apt {
        Some(apt) if !wanted.is_empty() => apt.install(&wanted),
        _ => Ok(()),
    }
}

/// Asks rustup, where it is; false if it is not, or cannot do it.
fn rustup(workspace: &Workspace, arguments: &[&str]) -> Result<bool> {
    if which::which("rustup").is_err() {
        return Ok(false);
    }
    let line = format!("rustup {}", arguments.join(" "));
    let mut command = Command::new("rustup");
    command.args(arguments).current_dir(&workspace.root);
    match progress::watch(&mut command, &line, Some(Duration::from_secs(180))) {
        Ok(finished) if finished.status.success() => Ok(true),
        Ok(finished) => {
            let reason = finished.lines.iter().find(|line| line.starts_with("error:"));
            eprintln!("{line}: {}", reason.map_or("it failed and did not say why", String::as_str));
            Ok(false)
        }
        Err(why) => {
            eprintln!("{line}: {why}");
            Ok(false)
        }
    }
}

/// Lists what is missing; asks at a terminal before the installation, and without a terminal installs at once.
fn may_install(missing: &[Missing]) -> Result<bool> {
    for item in missing {
        eprintln!("missing: {} ({})", item.need.name(), item.why);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(true);
    }
    eprint!("Install what is missing now, with rustup, cargo or apt-get? [Y/n] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Ok(false);
    }
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes")
}

/// One message with all that is missing and what to type for it.
fn instructions(missing: &[Missing]) -> String {
    let mut text = "this is missing on the machine:".to_owned();
    for Missing { need, why } in missing {
        text += &format!(
            "\n\n{}: {why}. To get it, type:\n  {}",
            need.name(),
            need.advice().replace('\n', "\n  ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message names everything that is missing, and what to type for each.
    #[test]
    fn instructions_are_complete() {
        let missing = Need::ALL.map(|need| Missing { need, why: "not there".into() });
        let text = instructions(&missing);
        for needed in [
            "qemu-system-x86",
            "rustup target add x86_64-unknown-none",
            "rust-web-src",
            "acpica-tools",
            "rustup component add rustfmt clippy",
            "g++",
            "cargo install --locked --debug --version",
        ] {
            assert!(text.contains(needed), "{needed} in: {text}");
        }
    }

    /// Only `y`, `yes` or an empty line is a yes.
    #[test]
    fn answers() {
        assert!(["", "y\n", "YES\n"].into_iter().all(is_yes));
        assert!(!["n\n", "no", "yep", "what?"].into_iter().any(is_yes));
    }
}
