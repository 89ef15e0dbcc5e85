//! The AML interpreter on the host beside ACPICA's, in turns in one run: fixed methods, each of which does one thing again
//! and again and says by `Timer` how long that took.
//!
//! ```text
//!  kernel/aml/benches/loops.asl ──iasl──> loops.aml ──> the crate's benchmark `interpreter`   ─┐
//!                                                  └──> acpiexec (Debian's acpica-tools)      ─┴─> nanoseconds an iteration
//! ```

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::report::{self, Data, Spread};
use options::BenchArgs;

/// The methods, and what an iteration of each does.
const METHODS: [(&str, &str); 7] = [
    ("\\LOOP", "counts a local variable up"),
    ("\\_SB.DEV0.VARS", "adds to a name of the enclosing scope"),
    ("\\_SB.DEV0.FELD", "writes and reads a field of 32 bits, reads one bit"),
    ("\\_SB.DEV0.SCAN", "selects a slot and asks for its two events"),
    ("\\_SB.DEV0.CALL", "calls a method with two arguments"),
    ("\\_SB.DEV0.RSRC", "makes a buffer with three named fields, returns it"),
    ("\\_SB.DEV0.TEXT", "joins a string and a number"),
];
/// The unit of `Timer`.
const NANOSECONDS: f64 = 100.0;

/// A method, once in either interpreter.
#[derive(Debug, Serialize)]
struct Run {
    method: &'static str,
    /// Nanoseconds an iteration.
    carapace_ns: f64,
    acpica_ns: f64,
}

/// Measures, prints, keeps.
pub fn bench(cli: &BenchArgs) -> Result<()> {
    let mut data = Data::new(None);
    let root = guest::task::root();
    let out = cli.out(root);
    let table = out.join("loops.aml");
    let mut compiler = Command::new("iasl");
    compiler.args(["-oa", "-of", "-p"]).arg(&table).arg(root.join("kernel/aml/benches/loops.asl"));
    let compiled = compiler.output().context("cannot start iasl (Debian's package acpica-tools)")?;
    ensure!(compiled.status.success(), "iasl: {}", String::from_utf8_lossy(&compiled.stdout));
    let per_iteration = |ticks: f64| ticks * NANOSECONDS / f64::from(cli.aml_count);
    for _ in 0..cli.runs {
        for (method, _) in METHODS {
            let carapace_ns = per_iteration(ours(&table, cli.aml_count, method)?);
            let acpica_ns = per_iteration(theirs(&table, cli.aml_count, method)?);
            data.runs.push(Run { method, carapace_ns, acpica_ns });
            report::progress();
        }
    }
    report::keep(&out, "aml.json", &data)?;
    print(&data.runs);
    Ok(())
}

/// What the crate's benchmark says.
fn ours(table: &Path, count: u32, method: &str) -> Result<f64> {
    let mut command = Command::new("cargo");
    command.args(["bench", "--quiet", "--package=carapace-aml", "--bench=interpreter", "--"]);
    command.arg(table).arg(count.to_string()).arg(method);
    let output = command.current_dir(guest::task::root()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "the benchmark ended with {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let ticks = text.trim().rsplit(' ').next().and_then(|ticks| ticks.parse().ok());
    ticks.with_context(|| format!("the benchmark says: {text}"))
}

/// What acpiexec says.
fn theirs(table: &Path, count: u32, method: &str) -> Result<f64> {
    let mut command = Command::new("acpiexec");
    command.arg("-b").arg(format!("evaluate {method} {count:#x}")).arg(table);
    let output = command.output().context("cannot start acpiexec (Debian's package acpica-tools)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    integer(&text).map(|ticks| ticks as f64).with_context(|| format!("acpiexec says: {text}"))
}

/// The integer that acpiexec prints as a method's value.
fn integer(text: &str) -> Option<u64> {
    let (_, digits) = text.split_once("[Integer] = ")?;
    u64::from_str_radix(digits.split_whitespace().next()?, 16).ok()
}

fn print(runs: &[Run]) {
    println!("\nnanoseconds an iteration: least / median / most");
    let heads = ["method", "an iteration", "Carapace", "acpiexec", "acpiexec / Carapace"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for (method, what) in METHODS {
        let of =
            |pick: &dyn Fn(&Run) -> f64| Spread::of(runs.iter().filter(|run| run.method == method).map(pick));
        let (ours, theirs) = (of(&|run| run.carapace_ns), of(&|run| run.acpica_ns));
        let ratio = of(&|run| run.acpica_ns / run.carapace_ns.max(f64::MIN_POSITIVE));
        let cells = [method.to_owned(), what.to_owned(), ours.show(0), theirs.show(0), ratio.show(1)];
        table.push(cells.to_vec());
    }
    report::table(&table);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the value is found in what acpiexec prints around it. Fails when it is read as a decimal number, or
    /// something else as a value.
    #[test]
    fn values_of_acpiexec() {
        let text = "Evaluating \\LOOP\nEvaluation of \\LOOP returned object 0x5, external buffer length 18\n  [Integer] = 000000000000270F\n";
        assert_eq!(integer(text), Some(0x270f));
        assert_eq!(integer("Evaluation of \\LOOP failed with status AE_AML_LOOP_TIMEOUT"), None);
    }
}
