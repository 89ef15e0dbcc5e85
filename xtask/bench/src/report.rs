//! Tables on the terminal and raw data on disk.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::host;
use crate::linux::Linux;
use ::report::figures::Host;

/// The raw data of a benchmark whose rows are guests.
#[derive(Debug, Serialize)]
pub struct Data<R> {
    host: Host,
    /// The package that Linux is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    linux: Option<String>,
    /// One for each guest.
    pub runs: Vec<R>,
}

impl<R> Data<R> {
    /// Describes the host, prints that, and has no row yet.
    pub fn new(linux: Option<&Linux>) -> Data<R> {
        let host = host::describe();
        host::print(&host);
        Data { host, linux: linux.map(|linux| linux.package.clone()), runs: Vec::new() }
    }
}

/// Least, median and most of some measurements; all `None` where there were none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least.
    pub least: Option<f64>,
    /// The one in the middle (of an even number, the lesser of the two).
    pub median: Option<f64>,
    /// The most.
    pub most: Option<f64>,
}

impl Spread {
    /// Of these.
    pub fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let median = values.get(values.len().saturating_sub(1) / 2).copied();
        Spread { least: values.first().copied(), median, most: values.last().copied() }
    }

    /// `1.0 / 1.5 / 2.0`, or a dash.
    pub fn show(&self, digits: usize) -> String {
        match (self.least, self.median, self.most) {
            (Some(least), Some(median), Some(most)) => {
                format!("{least:.digits$} / {median:.digits$} / {most:.digits$}")
            }
            _ => "-".to_owned(),
        }
    }
}

/// Prints rows under the first of them, in columns; numbers stand to the right.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &Vec<String>, column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_text = |column: usize| {
        let mut below = rows.iter().skip(1).map(|row| cell(row, column));
        below.any(|cell| cell.starts_with(|letter: char| letter.is_alphabetic()))
    };
    let left: Vec<bool> = (0..columns).map(is_text).collect();
    println!();
    for row in rows {
        let cells = widths.iter().enumerate().map(|(column, &width)| {
            let cell = cell(row, column);
            if left[column] { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

/// Writes raw data to `name` in `out`, and says where.
pub fn keep(out: &Path, name: &str, data: &impl Serialize) -> Result<()> {
    let file = out.join(name);
    let text = serde_json::to_string_pretty(data)? + "\n";
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("\nraw data: {}", file.display());
    Ok(())
}

/// Prints a dot for each measurement, as progress.
pub fn progress() {
    eprint!(".");
    // Progress may have no reader.
    let _ = std::io::stderr().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Least, median and most of odd, even and no measurements; fails when the middle is another one.
    #[test]
    fn spreads() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        assert_eq!(of(&[3.0, 1.0, 2.0]).show(0), "1 / 2 / 3");
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, Some(2.0));
        assert_eq!(of(&[]).show(1), "-");
    }
}
