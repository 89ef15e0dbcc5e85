//! Tables of our own: the ASL sources in `tests/asl`, compiled by ACPICA's `iasl`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `tests/asl/NAME.asl` into `directory`; the table's path. Warnings are passed over: the
/// sources are wrong on purpose.
#[track_caller]
pub fn compile(name: &str, directory: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("asl").join(format!("{name}.asl"));
    let table = directory.join(format!("{name}.aml"));
    let output = Command::new("iasl").arg("-p").arg(&table).arg(&source).output();
    let output = output.expect("iasl can be started (Debian's package acpica-tools)");
    assert!(output.status.success(), "{name}.asl: {}", String::from_utf8_lossy(&output.stdout));
    table
}
