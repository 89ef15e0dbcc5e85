//! `cargo xtask`, as a user types it in the repository's root.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// Stands for a guest's own directory in the commands that are asked for.
pub(crate) const DIRECTORY: &str = "/guest-directory";
/// The commands that were asked for: xtask builds before it answers, and most tests want the same.
static COMMANDS: LazyLock<Mutex<HashMap<Vec<String>, Vec<String>>>> = LazyLock::new(Mutex::default);

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

/// The QEMU command that `cargo xtask run` with `options`, and `qemu` after `--`, would start, with the
/// sockets `serial` and `qmp` in `directory`. Builds what is not built.
#[track_caller]
pub fn qemu_command(options: &[String], qemu: &[String], directory: &Path) -> Vec<String> {
    let directory = directory.to_str().expect("a path in UTF-8");
    let mut all = ["run", "--dry-run", "--qmp"].map(str::to_owned).to_vec();
    all.push(format!("{DIRECTORY}/qmp"));
    all.extend(["--serial".to_owned(), format!("unix:{DIRECTORY}/serial")]);
    all.extend_from_slice(options);
    all.push("--".to_owned());
    all.extend_from_slice(qemu);
    // Held while xtask builds: tests beside this one want the same build.
    let mut commands = COMMANDS.lock().unwrap_or_else(PoisonError::into_inner);
    let command = commands.entry(all).or_insert_with_key(|all| ask(all));
    command.iter().map(|word| word.replace(DIRECTORY, directory)).collect()
}

#[track_caller]
fn ask(arguments: &[String]) -> Vec<String> {
    let output = command(arguments).stdin(Stdio::null()).output().expect("cargo can be started");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "cargo xtask {arguments:?}: {}\n{out}{err}", output.status);
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("the last line is no JSON array: {error}\n{out}{err}"))
}
