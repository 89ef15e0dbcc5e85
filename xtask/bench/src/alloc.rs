//! The frame allocator on the host: ours, a well-known buddy and a plain list, in one run, with one thread or several.
//!
//! The measuring is done by `mm`'s benchmark `allocator`, which is compiled beside the allocator; here its rows
//! are laid side by side. The list never splits or merges: it is what touching a descriptor costs at least.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use ::report::figures::{Figures, Host, What};

use crate::host;
use crate::plot::{self, Bars};
use crate::report;
use options::BenchArgs;

/// The least of nine rounds of LLFree (the lock-free allocator of ATC'23, its Rust crate), with one thread and with two, and
/// of the same plain list in the same run, in ns: on two processors of an AMD EPYC (family 25), rustc 1.95, opt-level 3,
/// 8 GiB of simulated frames. That host was noisy, as ours is, and noise only adds: medians there are up to twice the
/// least round. Scaled by the list they say what LLFree would need here.
const LLFREE: [(&str, [f64; 2], Option<f64>); 10] = [
    ("order 0, 1M allocs in a row", [28.0, 42.0], Some(5.4)),
    ("free in order", [24.0, 27.0], Some(4.3)),
    ("free in random order", [34.0, 46.0], Some(13.0)),
    ("alloc after random free", [39.0, 45.0], Some(156.0)),
    ("repeat pair, empty", [68.0, 53.0], Some(1.9)),
    ("repeat pair, half used at random", [69.0, 78.0], Some(1.9)),
    ("order 9, allocs in a row", [60.0, 132.0], Some(6.5)),
    ("order 9, free at random", [21.0, 57.0], Some(9.0)),
    ("order 9, repeat pair, empty", [64.0, 56.0], Some(2.4)),
    ("random mix of orders 0..9, geometric, per op", [125.0, 132.0], None),
];

/// A measurement, as the benchmark prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    allocator: String,
    /// Among how many regions the allocator chooses.
    regions: u64,
    /// With how many threads the row is measured; the list, as the floor, with one all the same.
    threads: u8,
    row: String,
    unit: String,
    min: f64,
    median: f64,
    max: f64,
}

impl Measured {
    /// The column of the table for `threads` threads. The list has one thread in every table, as the floor.
    fn column(&self, threads: u8) -> Option<String> {
        if self.threads != threads {
            return None;
        }
        Some(match (self.allocator.as_str(), self.regions) {
            ("carapace", 1) => "Carapace, 1 region".to_owned(),
            ("carapace", regions) => format!("{regions} regions"),
            ("list", _) if threads > 1 => "list, 1 thread".to_owned(),
            (other, _) => other.to_owned(),
        })
    }
}

#[derive(Debug, Serialize)]
struct Data {
    host: Host,
    rows: Vec<Measured>,
}

/// Measures, prints, keeps; the least rounds of one thread and of two go into `figures`.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let host = host::describe();
    host::print(&host);
    eprintln!("allocator rows: some minutes");
    let mut command = Command::new("cargo");
    command.args(["bench", "--quiet", "--package=carapace-mm", "--bench=allocator", "--"]);
    let threads: Vec<String> = cli.threads.iter().map(u8::to_string).collect();
    command.arg(format!("--threads={}", threads.join(",")));
    let output = command.current_dir(guest::task::root()).stderr(Stdio::inherit()).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "the benchmark ended with {}", output.status);
    let rows = parse(&String::from_utf8_lossy(&output.stdout))?;
    let data = Data { host, rows };
    report::keep(&cli.out(guest::task::root()), "alloc.json", &data)?;
    for &threads in &cli.threads {
        let table = Table::of(&data.rows, threads);
        table.collect(figures);
        table.print();
        table.draw(&cli.out(guest::task::root()))?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Measured>> {
    let rows: Result<Vec<Measured>, _> = text.lines().map(serde_json::from_str).collect();
    let rows = rows.context("a line of the benchmark that is no measurement")?;
    ensure!(!rows.is_empty(), "the benchmark measured nothing");
    Ok(rows)
}

/// The figures of one number of threads.
struct Table<'a> {
    threads: u8,
    all: &'a [Measured],
    rows: Vec<String>,
    columns: Vec<String>,
}

impl<'a> Table<'a> {
    fn of(all: &'a [Measured], threads: u8) -> Table<'a> {
        let rows = distinct(all.iter().map(|measured| measured.row.clone()));
        let columns = distinct(all.iter().filter_map(|measured| measured.column(threads)));
        Table { threads, all, rows, columns }
    }

    /// The least of the rounds: what else runs on the host only adds to a round, and the columns are measured in turns.
    fn least(&self, row: &str, column: &str) -> Option<f64> {
        let is_it = |measured: &&Measured| {
            measured.row == row && measured.column(self.threads).as_deref() == Some(column)
        };
        Some(self.all.iter().find(is_it)?.min)
    }

    /// How much slower the list is in a row here than in LLFree's run.
    fn slowdown(&self, row: &str) -> Option<f64> {
        let (.., theirs) = LLFREE.iter().find(|(name, ..)| *name == row)?;
        let is_it = |measured: &&Measured| {
            measured.row == row && measured.allocator == "list" && measured.threads == self.threads
        };
        Some(self.all.iter().find(is_it)?.min / (*theirs)?)
    }

    /// What LLFree would need in this run, by the list's rows in both; the mix, which the list cannot do, by the
    /// geometric mean of all of them.
    fn llfree(&self, row: &str) -> Option<f64> {
        let (_, theirs, list) = LLFREE.iter().find(|(name, ..)| *name == row)?;
        let theirs = theirs.get(usize::from(self.threads).checked_sub(1)?)?;
        if list.is_some() {
            return Some(theirs * self.slowdown(row)?);
        }
        let all: Vec<f64> = self.rows.iter().filter_map(|row| self.slowdown(row)).collect();
        if all.is_empty() {
            return None;
        }
        Some(theirs * (all.iter().map(|factor| factor.ln()).sum::<f64>() / all.len() as f64).exp())
    }

    fn collect(&self, figures: &mut Figures) {
        let what = match self.threads {
            1 => What::Allocator,
            2 => What::AllocatorTwoThreads,
            _ => return,
        };
        for row in &self.rows {
            let columns = self.columns.iter().map(|column| (column.as_str(), self.least(row, column)));
            for (column, least) in columns.chain([("LLFree, scaled", self.llfree(row))]) {
                if let Some(least) = least {
                    figures.push(what, column, None, Some(row), least);
                }
            }
        }
    }

    fn print(&self) {
        let threads = self.threads;
        println!(
            "\nnanoseconds, the least of the rounds, {threads} thread(s); LLFree: measured elsewhere, scaled by the list's row in both runs"
        );
        let mut table = vec![vec!["row".to_owned()]];
        table[0].extend(self.columns.iter().cloned());
        table[0].push("LLFree, scaled".to_owned());
        for row in &self.rows {
            let number =
                |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
            let mut line = vec![row.clone()];
            line.extend(self.columns.iter().map(|column| number(self.least(row, column))));
            line.push(number(self.llfree(row)));
            table.push(line);
        }
        report::table(&table);
    }

    fn draw(&self, out: &Path) -> Result<()> {
        let of = |name: &str, value: &dyn Fn(&str) -> Option<f64>| {
            (name.to_owned(), self.rows.iter().map(|row| value(row)).collect())
        };
        let columns = self.columns.iter();
        let mut series: Vec<(String, Vec<Option<f64>>)> =
            columns.map(|column| of(column, &|row| self.least(row, column))).collect();
        series.push(of("LLFree, scaled", &|row| self.llfree(row)));
        let (title, file) = match self.threads {
            1 => ("frame allocators on the host".to_owned(), "alloc.svg".to_owned()),
            threads => (
                format!("frame allocators on the host, {threads} threads"),
                format!("alloc-{threads}-threads.svg"),
            ),
        };
        plot::write_bars(&out.join(file), &Bars { title, unit: "ns", groups: self.rows.clone(), series })
    }
}

/// Each value once, in the order they come.
fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the least rounds are shown, that LLFree's figure is that of as many threads and grows with the list's in
    /// the same table, that the mix's grows with the mean of the others', that there is none where nothing scales it, or
    /// for more threads than were measured; and that the file of figures gets both tables. Fails when the columns of two
    /// tables mix, or medians come in.
    #[test]
    fn scaled_by_the_list() {
        let line = |allocator: &str, threads: u8, row: &str, min: f64| {
            format!(
                r#"{{"allocator":"{allocator}","regions":1,"threads":{threads},"row":"{row}","unit":"ns","min":{min},"median":99,"max":999}}"#
            )
        };
        let mix = "random mix of orders 0..9, geometric, per op";
        let text = [
            line("list", 1, "free in order", 8.6),
            line("list", 2, "free in order", 12.9),
            line("list", 2, "order 9, free at random", 108.0),
            line("carapace", 1, "free in order", 50.0),
            line("carapace", 2, "free in order", 60.0),
            line("carapace", 2, mix, 100.0),
            line("carapace", 3, mix, 100.0),
        ];
        let rows = parse(&text.join("\n")).unwrap();
        let [one, two, three] = [1, 2, 3].map(|threads| Table::of(&rows, threads));
        let close = |got: Option<f64>, wanted: f64| (got.unwrap() - wanted).abs() < 1e-6;
        assert!(close(one.llfree("free in order"), 48.0));
        assert!(close(two.llfree("free in order"), 81.0));
        assert!(close(one.llfree(mix), 250.0));
        assert!(close(two.llfree(mix), 132.0 * 6.0), "the mean of 3 and 12");
        assert_eq!([three.llfree("free in order"), three.llfree(mix)], [None, None]);
        assert_eq!(one.columns, ["list", "Carapace, 1 region"]);
        assert_eq!(two.columns, ["list, 1 thread", "Carapace, 1 region"]);
        assert_eq!(one.least("free in order", "Carapace, 1 region"), Some(50.0));
        assert_eq!(two.least("free in order", "Carapace, 1 region"), Some(60.0));
        let mut figures = Figures::default();
        [&one, &two, &three].iter().for_each(|table| table.collect(&mut figures));
        let of = |what, guest: &str| {
            let mut rows = figures.of(what, guest);
            rows.find(|row| row.detail.as_deref() == Some("free in order")).and_then(|row| row.median())
        };
        let both = [What::Allocator, What::AllocatorTwoThreads];
        assert_eq!(both.map(|what| of(what, "Carapace, 1 region")), [Some(50.0), Some(60.0)]);
        let theirs = both.map(|what| of(what, "LLFree, scaled"));
        assert!(close(theirs[0], 48.0) && close(theirs[1], 81.0));
        assert!(parse("").is_err() && parse("warning").is_err());
    }
}
