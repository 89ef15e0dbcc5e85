//! The bare-metal build of the boot shim and the kernel.
//!
//! One target directory and no flags but those of `.cargo/config.toml`, because a library built from source is cached by
//! them, and by the profile:
//! the first build with [`Profile::Fast`] builds that library once more.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use guest::qemu::utf8;

use crate::progress;
use crate::toolchain::{Library, Origin, TARGET, Toolchain, system_command};
use crate::workspace::Workspace;

/// The boot shim's file name.
pub const BOOT: &str = "carapace-boot";
/// The kernel's file name.
pub const KERNEL: &str = "carapace";

/// The file name of the kernel that has its debug information with it.
pub const KERNEL_FOR_GDB: &str = "carapace.debug";

/// How the compiler optimises (`Cargo.toml` has both profiles).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For users, tests and measurements: slow to build, fast to run.
    Release,
    /// For trying a change: compiles the changed parts only.
    Fast,
}

impl Profile {
    /// Cargo's name for it, and for its output folder.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Fast => "fast",
        }
    }

    /// Where a bare-metal program of this profile ends up.
    pub fn binary(self, workspace: &Workspace, name: &str) -> PathBuf {
        workspace.bare().join(TARGET).join(self.name()).join(name)
    }
}

/// Builds both, shows progress if this takes long, and prints the compiler's messages.
pub fn bare_metal(workspace: &Workspace, toolchain: &Toolchain, profile: Profile) -> Result<()> {
    let mut command =
        command(workspace, toolchain, profile, &["build", "--package=boot", "--package=kernel"]);
    let built_before = profile.binary(workspace, KERNEL).exists();
    let title = match toolchain.library {
        Library::FromSource if !built_before => {
            "building the kernel, the first time with Rust's library for this profile"
        }
        _ => "building the kernel",
    };
    watched(&mut command, title).with_context(|| format!("the bare-metal build failed, with {toolchain}"))
}

/// Runs a build of cargo's, shows its progress, and prints the compiler's messages.
///
/// # Errors
/// The build fails.
pub fn watched(command: &mut Command, title: &str) -> Result<()> {
    command.arg(if io::stderr().is_terminal() { "--color=always" } else { "--color=never" });
    let finished = progress::watch(command, title, None)?;
    let failed = !finished.status.success();
    if failed || finished.lines.iter().any(|line| is_diagnostic(line)) {
        finished.lines.iter().filter(|line| !is_status(line)).for_each(|line| eprintln!("{line}"));
    }
    ensure!(!failed, "cargo ended with {}", finished.status);
    Ok(())
}

/// Builds the kernel once more, with debug information; returns the file's path. Only the last step of the build differs:
/// QEMU's default kernel is stripped for its size. The build leaves that kernel's file alone, so that guests can boot
/// from it meanwhile.
///
/// Boot the new file itself: the compiler may place functions at other addresses than in the default kernel.
pub fn with_debug_information(workspace: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let file = Profile::Release.binary(workspace, KERNEL_FOR_GDB);
    let mut command = command(workspace, toolchain, Profile::Release, &["rustc", "--package=kernel"]);
    command.args(["--", "-Cstrip=none"]).arg(format!("--emit=link={}", utf8(&file)?));
    let finished = progress::watch(&mut command, "building a kernel with debug information", None)?;
    if !finished.status.success() {
        finished.lines.iter().for_each(|line| eprintln!("{line}"));
        bail!("the build of a kernel with debug information failed, with {toolchain}");
    }
    // Cargo does not track this file, and does not make it again after a removal.
    ensure!(file.exists(), "{} is gone; `cargo xtask clean` makes it be built again", file.display());
    Ok(file)
}

/// The cargo command for this toolchain. RUSTC_BOOTSTRAP, which lets a stable cargo build the library, is set
/// for this one command; our own crates deny unstable features.
fn command(workspace: &Workspace, toolchain: &Toolchain, profile: Profile, what: &[&str]) -> Command {
    let mut command = match toolchain.origin {
        Origin::Path => Command::new("cargo"),
        Origin::System => system_command("cargo"),
    };
    command.current_dir(&workspace.root);
    for name in FLAGS {
        command.env_remove(name);
    }
    command.args(what).args(["--profile", profile.name(), "--target", TARGET]);
    command.arg("--target-dir").arg(workspace.bare());
    if toolchain.library == Library::FromSource {
        command.env("RUSTC_BOOTSTRAP", "1");
        command.arg("-Zbuild-std=core,alloc,compiler_builtins");
        command.arg("-Zbuild-std-features=compiler-builtins-mem");
    }
    command
}

/// What would be used in place of the flags of `.cargo/config.toml`, or beside them.
const FLAGS: [&str; 5] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS",
];

/// Whether this is one of cargo's lines about its progress (`   Compiling elf v0.8.0`).
fn is_status(line: &str) -> bool {
    let line = without_colour(line);
    let verbs =
        ["Compiling", "Finished", "Downloading", "Downloaded", "Updating", "Locking", "Blocking", "Adding"];
    line.starts_with("  ") && verbs.contains(&line.split_whitespace().next().unwrap_or(""))
}

fn is_diagnostic(line: &str) -> bool {
    let line = without_colour(line);
    line.starts_with("warning") || line.starts_with("error")
}

fn without_colour(line: &str) -> String {
    let mut plain = String::new();
    let mut pieces = line.split('\u{1b}');
    plain.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, text)| text));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::path::PathBuf;

    fn sample(origin: Origin, library: Library) -> Command {
        let workspace = Workspace { root: "/src/carapace".into(), target: "/src/carapace/target".into() };
        let toolchain = Toolchain { origin, library, version: "rustc".into(), sysroot: PathBuf::new() };
        command(&workspace, &toolchain, Profile::Release, &["build"])
    }

    fn environment(command: &Command) -> HashMap<String, Option<String>> {
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        command.get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
    }

    /// Only a build with the library's source is allowed what stable Rust does not have.
    #[test]
    fn bootstrap_only_with_source() {
        let ordinary = sample(Origin::Path, Library::Precompiled);
        assert!(!environment(&ordinary).contains_key("RUSTC_BOOTSTRAP"));
        assert!(!ordinary.get_args().any(|argument| argument.to_string_lossy().starts_with("-Z")));
        let from_source = sample(Origin::Path, Library::FromSource);
        assert_eq!(environment(&from_source)["RUSTC_BOOTSTRAP"].as_deref(), Some("1"));
    }

    /// The system's cargo is run by its path, with a PATH on which rustup's stand-ins are not.
    #[test]
    fn system_toolchain_is_kept_apart() {
        let system = sample(Origin::System, Library::FromSource);
        assert_eq!(system.get_program(), "/usr/bin/cargo");
        let environment = environment(&system);
        assert_eq!(environment["PATH"].as_deref(), Some("/usr/bin:/bin"));
        assert_eq!(environment["RUSTUP_TOOLCHAIN"], None);
        assert_eq!(environment["RUSTFLAGS"], None);
    }

    /// Cargo's progress and the compiler's messages are distinguished, with colours and without.
    #[test]
    fn lines_are_told_apart() {
        assert!(is_status("   Compiling elf v0.8.0"));
        assert!(is_status("\u{1b}[1m\u{1b}[32m    Finished\u{1b}[0m `release` profile"));
        assert!(!is_status("  Compilingx"));
        assert!(is_diagnostic("\u{1b}[1m\u{1b}[33mwarning\u{1b}[0m: unused"));
        assert!(!is_diagnostic("   Compiling error v1.0.0"));
    }
}
