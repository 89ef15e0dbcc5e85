//! The AML interpreter on the host beside ACPICA's, in turns in one run: fixed methods, each of which does one thing again
//! and again and says by `Timer` how long that took.
//!
//! ```text
//!  kernel/aml/benches/loops.asl ──iasl──> loops.aml ──> the crate's benchmark `interpreter`   ─┐
//!                                                  └──> acpiexec (Debian's acpica-tools)      ─┴─> nanoseconds an iteration
//! ```

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::report::{self, Data, Spread};
use options::BenchArgs;

use ::report::figures::{ACPIEXEC, Figures, OURS, What};

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
/// Where iasl and acpiexec are from.
const PACKAGE: &str = "Debian's package acpica-tools";
/// The unit of `Timer`.
const NANOSECONDS: f64 = 100.0;

/// A method, once in either interpreter.
#[derive(Debug, Serialize)]
struct Run {
    method: &'static str,
    /// Nanoseconds an iteration.
    carapace_ns: f64,
    /// Nothing where acpiexec is not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    acpica_ns: Option<f64>,
}

/// Measures, prints, keeps; `figures` gets both interpreters'.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let mut data = Data::new(None);
    let root = guest::task::root();
    let out = cli.out(root);
    let table = out.join("loops.aml");
    let mut compiler = Command::new("iasl");
    compiler.args(["-oa", "-of", "-p"]).arg(&table).arg(root.join("kernel/aml/benches/loops.asl"));
    let compiled = compiler.output().with_context(|| format!("cannot start iasl ({PACKAGE})"))?;
    ensure!(compiled.status.success(), "iasl: {}", String::from_utf8_lossy(&compiled.stdout));
    let per_iteration = |ticks: f64| ticks * NANOSECONDS / f64::from(cli.aml_count);
    for _ in 0..cli.runs {
        for (method, _) in METHODS {
            let carapace_ns = per_iteration(ours(&table, cli.aml_count, method)?);
            let acpica_ns = theirs(&table, cli.aml_count, method)?.map(per_iteration);
            data.runs.push(Run { method, carapace_ns, acpica_ns });
            report::progress();
        }
    }
    report::keep(&out, "aml.json", &data)?;
    collect(&data.runs, figures);
    print(&data.runs);
    Ok(())
}

fn collect(runs: &[Run], figures: &mut Figures) {
    for (method, what) in METHODS {
        let detail = format!("`{method}`: {what}");
        for run in runs.iter().filter(|run| run.method == method) {
            figures.push(What::Aml, OURS, None, Some(&detail), run.carapace_ns);
            if let Some(ns) = run.acpica_ns {
                figures.push(What::Aml, ACPIEXEC, None, Some(&detail), ns);
            }
        }
    }
    if runs.iter().any(|run| run.acpica_ns.is_none()) {
        figures.failed.push(format!("AML beside acpiexec: it is not installed ({PACKAGE})"));
    }
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

/// What acpiexec says; nothing where it is not installed.
fn theirs(table: &Path, count: u32, method: &str) -> Result<Option<f64>> {
    let mut command = Command::new("acpiexec");
    command.arg("-b").arg(format!("evaluate {method} {count:#x}")).arg(table);
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        output => output.context("cannot start acpiexec")?,
    };
    let text = String::from_utf8_lossy(&output.stdout);
    integer(&text).map(|ticks| Some(ticks as f64)).with_context(|| format!("acpiexec says: {text}"))
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
        let of = |pick: &dyn Fn(&Run) -> Option<f64>| {
            Spread::of(runs.iter().filter(|run| run.method == method).filter_map(pick))
        };
        let (ours, theirs) = (of(&|run| Some(run.carapace_ns)), of(&|run| run.acpica_ns));
        let ratio = of(&|run| Some(run.acpica_ns? / run.carapace_ns.max(f64::MIN_POSITIVE)));
        let cells = [method.to_owned(), what.to_owned(), ours.show(0), theirs.show(0), ratio.show(1)];
        table.push(cells.to_vec());
    }
    report::table(&table);
    if runs.iter().any(|run| run.acpica_ns.is_none()) {
        println!("acpiexec is not installed ({PACKAGE})");
    }
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

    /// Proves that both interpreters' figures go into the file under the same method, and that one says so where acpiexec is not
    /// installed. Fails when ours are lost with it, or its absence is silent.
    #[test]
    fn without_acpiexec() {
        let method = METHODS[1].0;
        let run = |acpica_ns| Run { method, carapace_ns: 60.0, acpica_ns };
        let rows = |runs: &[Run]| {
            let mut figures = Figures::default();
            collect(runs, &mut figures);
            let medians = [OURS, ACPIEXEC].map(|guest| figures.of(What::Aml, guest).next()?.median());
            (medians, figures.failed)
        };
        assert_eq!(rows(&[run(Some(130.0))]), ([Some(60.0), Some(130.0)], Vec::new()));
        let (medians, failed) = rows(&[run(None)]);
        assert_eq!(medians, [Some(60.0), None]);
        assert!(failed.len() == 1 && failed[0].contains("not installed"), "{failed:?}");
    }
}
