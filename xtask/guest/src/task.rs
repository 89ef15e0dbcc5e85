//! `cargo xtask` as another program uses it: tests and measurements boot what `cargo xtask run` would boot.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};

/// Stands for a guest's own directory in the commands that are asked for.
pub const DIRECTORY: &str = "/guest-directory";
/// The commands so far, as a cache: most tests need the same one.
static COMMANDS: LazyLock<Mutex<HashMap<Vec<String>, Vec<String>>>> = LazyLock::new(Mutex::default);
/// Whether this process has had the kernel built.
static IS_BUILT: Mutex<bool> = Mutex::new(false);
/// Options with which another kernel is built, or something with it.
const BUILDING: [&str; 3] = ["--fast", "--gdb", "--image"];

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
/// `directory`. What has changed is built first, once in a process.
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
    let known = locked(&COMMANDS).get(&all).cloned();
    let command = match known {
        Some(known) => known,
        None => {
            let asked = ask(&all, options)?;
            locked(&COMMANDS).entry(all).or_insert(asked).clone()
        }
    };
    Ok(command.iter().map(|word| word.replace(DIRECTORY, directory)).collect())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks xtask, which builds at the first time: no source changes below a test, and while one builds a kernel of its own,
/// others go on.
fn ask(run: &[String], options: &[String]) -> Result<Vec<String>> {
    let mut run = run.to_vec();
    if !options.iter().any(|option| BUILDING.contains(&option.as_str())) {
        let mut is_built = locked(&IS_BUILT);
        if !*is_built {
            output(&["build".to_owned()])?;
            *is_built = true;
        }
        run.insert(1, "--no-build".to_owned());
    }
    let out = output(&run)?;
    let line = out.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("the last line is no JSON array:\n{out}"))
}

/// What `cargo xtask` prints with `arguments`.
fn output(arguments: &[String]) -> Result<String> {
    let output = command(arguments).stdin(Stdio::null()).output().context("cannot start cargo")?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "cargo xtask {arguments:?}: {}\n{out}{err}", output.status);
    Ok(out.into_owned())
}
