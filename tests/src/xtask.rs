//! `cargo xtask`, as a user types it in the repository's root.

use std::path::Path;
use std::process::{Command, Stdio};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the repository's root")
}

/// `cargo xtask` with `arguments`, not started yet.
pub fn command(arguments: &[String]) -> Command {
    let mut command = Command::new("cargo");
    command.arg("xtask").args(arguments).current_dir(root());
    command
}

/// The QEMU command that `cargo xtask run` with these arguments would start.
#[track_caller]
pub fn qemu_command(arguments: &[String]) -> Vec<String> {
    let mut all = vec!["run".to_owned(), "--dry-run".to_owned()];
    all.extend_from_slice(arguments);
    let output = command(&all).stdin(Stdio::null()).output().expect("cargo can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "cargo xtask {all:?}: {}\n{out}{err}", output.status);
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("the last line is no JSON array: {error}\n{out}{err}"))
}
