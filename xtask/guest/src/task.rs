//! `cargo xtask` as another program uses it: tests and measurements boot what `cargo xtask run` would boot.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

/// Stands for a guest's own directory in the commands that are asked for.
pub const DIRECTORY: &str = "/guest-directory";
/// The commands so far, as a cache: xtask builds before it answers, and most tests need the same command.
static COMMANDS: LazyLock<Mutex<HashMap<Vec<String>, Vec<String>>>> = LazyLock::new(Mutex::default);

/// The repository's root.
pub fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package)
}

/// `cargo xtask` with `arguments`, not started yet.
pub fn command(arguments: &[String]) -> Command {
    let mut command = Command::new("cargo");
    command.arg("xtask").args(arguments).current_dir(root());
    command
}

/// The QEMU command of `cargo xtask run` with `options`, and `qemu` after `--`, with the sockets `serial` and `qmp` in
/// `directory`. Builds what is not built.
///
/// # Errors
/// The build fails, or the options are wrong.
pub fn qemu_command(options: &[String], qemu: &[String], directory: &Path) -> Result<Vec<String>> {
    let directory = directory.to_str().context("a directory whose path is not UTF-8")?;
    let mut all = ["run", "--dry-run", "--qmp"].map(str::to_owned).to_vec();
    all.push(format!("{DIRECTORY}/qmp"));
    all.extend(["--serial".to_owned(), format!("unix:{DIRECTORY}/serial")]);
    all.extend_from_slice(options);
    all.push("--".to_owned());
    all.extend_from_slice(qemu);
    // Held while xtask builds: parallel tests need the same build.
    let mut commands = COMMANDS.lock().unwrap_or_else(PoisonError::into_inner);
    let command = match commands.get(&all) {
        Some(known) => known,
        None => {
            let asked = ask(&all)?;
            commands.entry(all).or_insert(asked)
        }
    };
    Ok(command.iter().map(|word| word.replace(DIRECTORY, directory)).collect())
}

fn ask(arguments: &[String]) -> Result<Vec<String>> {
    let output = command(arguments).stdin(Stdio::null()).output().context("cannot start cargo")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "cargo xtask {arguments:?}: {}\n{out}{err}", output.status);
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("the last line is no JSON array:\n{out}{err}"))
}
