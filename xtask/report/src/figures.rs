//! What plugging costs beside Linux: the figures that the project keeps, and those of a run of `cargo xtask bench`
//! on this machine, where there was one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// Figures that were measured in one run.
#[derive(Clone, Debug, Deserialize)]
pub struct Figures {
    /// Where they come from.
    pub source: String,
    /// Start to prompt.
    #[serde(default)]
    pub boot_s: Option<Pair>,
    /// By the DIMM's size.
    pub rows: Vec<Row>,
}

/// A figure of ours and of Linux's.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Pair {
    /// Ours.
    pub ours: f64,
    /// Linux's.
    pub linux: f64,
}

/// What a DIMM cost.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Row {
    /// Its size in bytes.
    pub size: u64,
    /// `device_add` to `_OST`, in milliseconds.
    #[serde(default)]
    pub ours_ms: Option<f64>,
    /// The same of Linux.
    #[serde(default)]
    pub linux_ms: Option<f64>,
    /// Bytes of the host's memory that the DIMM's backing has then.
    #[serde(default)]
    pub ours_resident: Option<u64>,
    /// The same of Linux.
    #[serde(default)]
    pub linux_resident: Option<u64>,
}

/// The figures that the project keeps.
///
/// # Errors
/// None but one of this program's own: the file is compiled in.
pub fn kept() -> Result<Figures> {
    serde_json::from_str(include_str!("linux.json")).context("the figures that the project keeps")
}

/// `plug.json` as `cargo xtask bench` writes it, as far as it is looked at.
#[derive(Debug, Deserialize)]
struct Bench {
    #[serde(default)]
    linux: Option<String>,
    runs: Vec<BenchRun>,
}

#[derive(Debug, Deserialize)]
struct BenchRun {
    guest: String,
    size: u64,
    #[serde(default)]
    plugged: Option<BenchPlugged>,
}

#[derive(Debug, Deserialize)]
struct BenchPlugged {
    ms: f64,
    resident: u64,
}

/// The medians of the last `cargo xtask bench` whose raw data lie at `path`; nothing where there are none.
///
/// # Errors
/// There is such a file, and it is not what `cargo xtask bench` writes.
pub fn own(path: &Path) -> Result<Option<Figures>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    read(&text).map(Some).with_context(|| format!("{}", path.display()))
}

fn read(text: &str) -> Result<Figures> {
    let bench: Bench = serde_json::from_str(text)?;
    let mut measured: BTreeMap<(u64, bool), Vec<(f64, u64)>> = BTreeMap::new();
    for run in &bench.runs {
        if let Some(plugged) = &run.plugged {
            let key = (run.size, run.guest == "Linux");
            measured.entry(key).or_default().push((plugged.ms, plugged.resident));
        }
    }
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for ((size, linux), mut values) in measured {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let Some(&(ms, resident)) = values.get((values.len() - 1) / 2) else { continue };
        let row = rows.entry(size).or_insert(Row { size, ..Row::default() });
        if linux {
            (row.linux_ms, row.linux_resident) = (Some(ms), Some(resident));
        } else {
            (row.ours_ms, row.ours_resident) = (Some(ms), Some(resident));
        }
    }
    let linux = bench.linux.map_or_else(String::new, |package| format!(", beside {package}"));
    let source =
        format!("target/bench/plug.json: the last run of cargo xtask bench on this machine{linux}; medians.");
    Ok(Figures { source, boot_s: None, rows: rows.into_values().collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kept figures are there, with their source and Linux's side of each.
    #[test]
    fn kept_figures_are_whole() {
        let kept = kept().unwrap();
        assert!(kept.source.contains("Linux") && kept.rows.len() >= 4);
        assert!(kept.rows.iter().all(|row| row.ours_ms.is_some() && row.linux_ms.is_some()));
    }

    /// Of several runs the one in the middle counts, failed ones do not, and guests are kept apart.
    #[test]
    fn medians_of_a_run() {
        let run = |guest: &str, ms: u32| {
            format!(
                r#"{{"guest":"{guest}","size":4096,"plugged":{{"ms":{ms},"cpu_ms":1,"resident":{ms},"gained":1}}}}"#
            )
        };
        let runs = [run("Carapace", 9), run("Linux", 70), run("Carapace", 5), run("Carapace", 7)].join(",");
        let text = format!(
            r#"{{"host":{{}},"linux":"x","runs":[{runs},{{"guest":"Linux","size":1,"error":"no"}}]}}"#
        );
        let figures = read(&text).unwrap();
        assert_eq!(figures.rows.len(), 1);
        let Row { ours_ms, linux_ms, ours_resident, .. } = figures.rows[0];
        assert_eq!((ours_ms, linux_ms, ours_resident), (Some(7.0), Some(70.0), Some(7)));
        assert!(read("{}").is_err());
        assert!(own(Path::new("/nowhere/plug.json")).unwrap().is_none());
    }
}
