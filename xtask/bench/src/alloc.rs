//! The frame allocator on the host: ours, a well-known buddy and a plain list, in one run.
//!
//! The measuring is done by `mm`'s benchmark `allocator`, which is compiled beside the allocator; here its rows
//! are laid side by side. The list never splits or merges: it is what touching a descriptor costs at least.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::plot::{self, Bars};
use crate::report;
use options::BenchArgs;

/// Medians of LLFree (the lock-free allocator of ATC'23, its Rust crate, one thread) and of the same plain list
/// in the same run, in ns: on two processors of an AMD EPYC (family 25), rustc 1.95, opt-level 3, 8 GiB of
/// simulated frames. Scaled by the list they say what LLFree would need here.
const LLFREE: [(&str, f64, Option<f64>); 10] = [
    ("order 0, 1M allocs in a row", 42.0, Some(5.9)),
    ("free in order", 40.0, Some(4.6)),
    ("free in random order", 45.0, Some(23.0)),
    ("alloc after random free", 47.0, Some(170.0)),
    ("repeat pair, empty", 76.0, Some(1.95)),
    ("repeat pair, half used at random", 79.0, Some(1.9)),
    ("order 9, allocs in a row", 88.0, Some(7.7)),
    ("order 9, free at random", 30.0, Some(9.6)),
    ("order 9, repeat pair, empty", 74.0, Some(2.5)),
    ("random mix of orders 0..9, geometric, per op", 138.0, None),
];

/// A measurement, as the benchmark prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    allocator: String,
    /// Among how many regions the allocator chooses.
    regions: u64,
    row: String,
    unit: String,
    min: f64,
    median: f64,
    max: f64,
}

impl Measured {
    fn column(&self) -> String {
        match (self.allocator.as_str(), self.regions) {
            ("carapace", 1) => "Carapace, 1 region".to_owned(),
            ("carapace", regions) => format!("{regions} regions"),
            (other, _) => other.to_owned(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Data {
    host: Host,
    rows: Vec<Measured>,
}

/// Measures, prints, keeps.
pub fn bench(cli: &BenchArgs) -> Result<()> {
    let host = Host::describe();
    host.print();
    eprintln!("allocator rows: some minutes");
    let mut command = Command::new("cargo");
    command.args(["bench", "--quiet", "--package=carapace-mm", "--bench=allocator"]);
    let output = command.current_dir(guest::task::root()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "the benchmark ended with {}", output.status);
    let rows = parse(&String::from_utf8_lossy(&output.stdout))?;
    let data = Data { host, rows };
    report::keep(&cli.out(guest::task::root()), "alloc.json", &data)?;
    print(&data.rows);
    draw(&data.rows, &cli.out(guest::task::root()))
}

fn parse(text: &str) -> Result<Vec<Measured>> {
    let rows: Result<Vec<Measured>, _> = text.lines().map(serde_json::from_str).collect();
    let rows = rows.context("a line of the benchmark that is no measurement")?;
    ensure!(!rows.is_empty(), "the benchmark measured nothing");
    Ok(rows)
}

/// The values of `key` in the order they come.
fn distinct(rows: &[Measured], key: impl Fn(&Measured) -> String) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for row in rows.iter().map(key) {
        if !seen.contains(&row) {
            seen.push(row);
        }
    }
    seen
}

fn find<'a>(rows: &'a [Measured], row: &str, column: &str) -> Option<&'a Measured> {
    rows.iter().find(|measured| measured.row == row && measured.column() == column)
}

/// What LLFree would need in this run, by the list's rows in both.
fn llfree(rows: &[Measured], row: &str) -> Option<f64> {
    let (_, theirs, list) = LLFREE.iter().find(|(name, ..)| *name == row)?;
    Some(theirs * find(rows, row, "list")?.median / (*list)?)
}

fn print(rows: &[Measured]) {
    println!("\nnanoseconds, medians; LLFree: measured elsewhere, scaled by the list's row in both runs");
    let columns = distinct(rows, Measured::column);
    let mut table = vec![vec!["row".to_owned()]];
    table[0].extend(columns.iter().cloned());
    table[0].push("LLFree, scaled".to_owned());
    for row in distinct(rows, |measured| measured.row.clone()) {
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        let mut line = vec![row.clone()];
        line.extend(columns.iter().map(|column| number(find(rows, &row, column).map(|found| found.median))));
        line.push(number(llfree(rows, &row)));
        table.push(line);
    }
    report::table(&table);
}

fn draw(rows: &[Measured], out: &Path) -> Result<()> {
    let groups = distinct(rows, |measured| measured.row.clone());
    let of = |name: &str, value: &dyn Fn(&str) -> Option<f64>| {
        (name.to_owned(), groups.iter().map(|row| value(row)).collect())
    };
    let mut series: Vec<(String, Vec<Option<f64>>)> = distinct(rows, Measured::column)
        .iter()
        .map(|column| of(column, &|row| find(rows, row, column).map(|found| found.median)))
        .collect();
    series.push(of("LLFree, scaled", &|row| llfree(rows, row)));
    let title = "frame allocators on the host".to_owned();
    plot::write_bars(&out.join("alloc.svg"), &Bars { title, unit: "ns", groups: groups.clone(), series })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LLFree's figure grows with the list's; where the list has no row there is none.
    #[test]
    fn scaled_by_the_list() {
        let line = |allocator: &str, row: &str, median: f64| {
            format!(
                r#"{{"allocator":"{allocator}","regions":1,"row":"{row}","unit":"ns","min":1,"median":{median},"max":9}}"#
            )
        };
        let text = [
            line("list", "free in order", 9.2),
            line("carapace", "free in order", 50.0),
            line("carapace", "random mix of orders 0..9, geometric, per op", 100.0),
        ];
        let rows = parse(&text.join("\n")).unwrap();
        assert_eq!(llfree(&rows, "free in order"), Some(80.0));
        assert_eq!(llfree(&rows, "random mix of orders 0..9, geometric, per op"), None);
        assert_eq!(distinct(&rows, Measured::column), ["list", "Carapace, 1 region"]);
        assert!(parse("").is_err() && parse("warning").is_err());
    }
}
