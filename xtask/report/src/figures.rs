//! Measured figures: the file that `cargo xtask bench --all` writes, and from which README, docs and pages take theirs.
//!
//! ```text
//!  bench --all ──> target/bench/figures.json ──(--documents)──> docs/figures.json ──> documents: blocks of README and docs
//!                                                                               └──> curves and tables of the pages
//! ```
//!
//! Invariants: a row has every measured value, not only the median; each figure is computed from the rows.
//! Neighbours: `documents` makes Markdown of the rows, `curves` pictures, `bench_page` and `page` show both.

use std::path::Path;

use anyhow::{Context, Result};
use guest::size::ByteSize;
use serde::{Deserialize, Serialize};

use crate::format;

/// The names of the kernels in the rows.
pub const OURS: &str = "Carapace";
/// The other one.
pub const LINUX: &str = "Linux";
/// An image that prints one byte, beside which the start is measured.
pub const ONE_BYTE: &str = "one byte";
/// ACPICA's interpreter of AML.
pub const ACPIEXEC: &str = "acpiexec";

/// A description of the machine and of the measured kernel.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Host {
    /// The processor's name.
    pub cpu: String,
    /// Processors that may be used.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The host's kernel.
    pub kernel: String,
    /// QEMU's version line.
    pub qemu: String,
    /// This project's commit; `-dirty` behind it where files differ from it.
    pub commit: String,
    /// Seconds since 1970 at the start.
    pub started: u64,
    /// How many processes were waiting for a processor at the start (a minute's mean).
    pub load: f64,
    /// The command, with `DIR` for each path.
    pub command: Vec<String>,
}

impl Host {
    /// The day of the start, `2026-11-28`.
    pub fn day(&self) -> String {
        // Howard Hinnant's civil_from_days, for days since 1970.
        let days = self.started / 86_400 + 719_468;
        let (era, of_era) = (days / 146_097, days % 146_097);
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        format!("{year}-{month:02}-{day:02}")
    }

    /// The command as a line.
    pub fn command(&self) -> String {
        self.command.join(" ")
    }
}

/// What a row measures.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// From the start of QEMU to the shell's prompt.
    Start,
    /// `device_add` to `_OST`.
    Add,
    /// What QEMU's threads computed in that time.
    AddCpu,
    /// Bytes of a DIMM's backing that the host has given a page for, after the add.
    Backing,
    /// Bytes of other memory that an add used.
    AddUsed,
    /// `device_del` to `DEVICE_DELETED`, nothing allocated in the DIMM.
    RemoveIdle,
    /// The same with four fifths of the DIMM in use.
    RemoveFull,
    /// What a removal takes longer for each page of 4 KiB that it migrates.
    Move,
    /// Plain copying of a page.
    Copy,
    /// Migration of a page, from one DIMM to another.
    Migrate,
    /// A virtio-mem device grows from nothing to a size.
    Grow,
    /// Bytes of other memory that growing used.
    GrowUsed,
    /// It shrinks to nothing.
    Shrink,
    /// An operation of a frame allocator on the host.
    Allocator,
    /// The same on one of two threads that run at once.
    AllocatorTwoThreads,
    /// Instructions, entries and frames of an add; `detail` says for which CPU and slots, and which part.
    Counted,
    /// From the start of QEMU to the prompt, or to the first byte of an image that does nothing else; `detail` says by which clock.
    Floor,
    /// An iteration of a method of AML on the host; `detail` is the method and what it does.
    Aml,
    /// Guests with several CPUs, what takes time; `detail` is their number and what they do.
    Cpus,
    /// The same, what is counted.
    CpusCounted,
}

impl What {
    /// The unit of its values.
    pub const fn unit(self) -> Unit {
        match self {
            What::Backing | What::AddUsed | What::GrowUsed => Unit::Bytes,
            What::Move
            | What::Copy
            | What::Migrate
            | What::Allocator
            | What::AllocatorTwoThreads
            | What::Aml => Unit::Nanoseconds,
            What::Counted | What::CpusCounted => Unit::Count,
            What::Start
            | What::Floor
            | What::Cpus
            | What::Add
            | What::AddCpu
            | What::RemoveIdle
            | What::RemoveFull
            | What::Grow
            | What::Shrink => Unit::Milliseconds,
        }
    }
}

/// What a value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Billionths of a second.
    Nanoseconds,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
}

impl Unit {
    /// A value with its unit, in three digits or four.
    pub fn show(self, value: f64) -> String {
        let nanoseconds = match self {
            Unit::Milliseconds => value * 1e6,
            Unit::Nanoseconds => value,
            Unit::Bytes => return format::size(value as u64),
            // A mean of few things has a part of one.
            Unit::Count if value < 100.0 && value.fract() != 0.0 => return format!("{value:.2}"),
            Unit::Count => return format::number(value as u64),
        };
        let units = [(1e9, "s"), (1e6, "ms"), (1e3, "µs")];
        let unit = units.into_iter().find(|(size, _)| nanoseconds >= *size);
        let (size, name) = unit.unwrap_or((1.0, "ns"));
        let scaled = nanoseconds / size;
        let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
        format!("{scaled:.digits$} {name}")
    }

    /// The factor between two lines of a logarithmic axis.
    pub const fn step(self) -> f64 {
        match self {
            Unit::Milliseconds | Unit::Nanoseconds | Unit::Count => 10.0,
            Unit::Bytes => 32.0,
        }
    }
}

/// The values of one thing, one kernel, one size.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Row {
    /// What was measured.
    pub what: What,
    /// Whose it is: [`OURS`], [`LINUX`], or an allocator.
    pub guest: String,
    /// The DIMM's or the device's size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Which of several things of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// One value for each run, in the order of the runs.
    pub values: Vec<f64>,
}

impl Row {
    /// The value in the middle; of an even number the lesser of the two.
    pub fn median(&self) -> Option<f64> {
        let mut values = self.values.clone();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len().saturating_sub(1) / 2).copied()
    }
}

/// Figures that were measured in one run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Figures {
    /// Where.
    pub host: Host,
    /// The package that Linux is from.
    #[serde(default)]
    pub linux: Option<String>,
    /// What else a reader should know of these figures.
    #[serde(default)]
    pub note: Option<String>,
    /// Guests that did not do what was measured, and why.
    #[serde(default)]
    pub failed: Vec<String>,
    /// The measurements.
    pub rows: Vec<Row>,
}

impl Figures {
    /// The median of one thing; `None` if it was not measured.
    pub fn median(&self, what: What, guest: &str, size: Option<u64>) -> Option<f64> {
        self.of(what, guest).find(|row| row.size == size && row.detail.is_none())?.median()
    }

    /// Bytes that an add took in all: of the DIMM, as the host sees it, and of other memory.
    pub fn taken(&self, guest: &str, size: u64) -> Option<f64> {
        let of = |what| self.median(what, guest, Some(size));
        Some(of(What::Backing)? + of(What::AddUsed)?)
    }

    /// The rows of one thing and one kernel.
    pub fn of<'a>(&'a self, what: What, guest: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.what == what && row.guest == guest)
    }

    /// The sizes at which `what` was measured, ascending.
    pub fn sizes(&self, what: What) -> Vec<u64> {
        let mut sizes: Vec<u64> =
            self.rows.iter().filter(|row| row.what == what).filter_map(|row| row.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The largest size at which both kernels were measured.
    pub fn largest_of_both(&self, what: What) -> Option<u64> {
        let both =
            |size: &u64| [OURS, LINUX].iter().all(|guest| self.median(what, guest, Some(*size)).is_some());
        self.sizes(what).into_iter().rfind(both)
    }

    /// Adds a value to its row.
    pub fn push(
        &mut self,
        what: What,
        guest: &str,
        size: Option<ByteSize>,
        detail: Option<&str>,
        value: f64,
    ) {
        let size = size.map(ByteSize::bytes);
        let is_it = |row: &&mut Row| {
            row.what == what && row.guest == guest && row.size == size && row.detail.as_deref() == detail
        };
        // A nanosecond, and a thousandth of one: no measurement here knows more.
        let value = (value * 1e6).round() / 1e6;
        match self.rows.iter_mut().find(is_it) {
            Some(row) => row.values.push(value),
            None => {
                let (guest, detail) = (guest.to_owned(), detail.map(str::to_owned));
                self.rows.push(Row { what, guest, size, detail, values: vec![value] });
            }
        }
    }

    /// The file's text: a line for each row, so that two runs can be compared line by line.
    ///
    /// # Errors
    /// None but one of this program's own.
    pub fn to_text(&self) -> Result<String> {
        let rows: Result<Vec<String>, _> = self.rows.iter().map(serde_json::to_string).collect();
        Ok(format!(
            "{{\n\"host\": {},\n\"linux\": {},\n\"note\": {},\n\"failed\": {},\n\"rows\": [\n{}\n]\n}}\n",
            serde_json::to_string(&self.host)?,
            serde_json::to_string(&self.linux)?,
            serde_json::to_string(&self.note)?,
            serde_json::to_string(&self.failed)?,
            rows?.join(",\n")
        ))
    }
}

/// The figures that the project keeps.
///
/// # Errors
/// None but one of this program's own: the file is compiled in.
pub fn kept() -> Result<Figures> {
    serde_json::from_str(include_str!("../../../docs/figures.json")).context("docs/figures.json")
}

/// The figures of a file of `cargo xtask bench --all`; nothing where there is none.
///
/// # Errors
/// There is such a file, and it has something else in it.
pub fn read(path: &Path) -> Result<Option<Figures>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the kept figures are there and have Linux's side. Fails when the file loses rows of the report's curve.
    #[test]
    fn kept_figures_are_whole() {
        let kept = kept().unwrap();
        assert!(kept.linux.is_some() && kept.sizes(What::Add).len() >= 4);
        assert!(kept.largest_of_both(What::Add).is_some() && kept.host.day().len() == 10);
    }

    /// Proves that values go to their row, that the median is one of them, and that the text is read back as it was.
    /// Fails when rows that differ in size or detail alone are mixed.
    #[test]
    fn rows_are_kept_apart() {
        let mut figures = Figures::default();
        let size = |bytes| Some(ByteSize::new(bytes));
        for value in [9.0, 5.0, 7.0, 8.0] {
            figures.push(What::Add, OURS, size(4096), None, value);
        }
        figures.push(What::Add, OURS, size(8192), None, 1.0);
        figures.push(What::Add, LINUX, size(4096), None, 70.0);
        figures.push(What::Add, OURS, size(4096), Some("other"), 3.0);
        assert_eq!(figures.rows.len(), 4);
        assert_eq!(figures.median(What::Add, OURS, Some(4096)), Some(7.0));
        assert_eq!(figures.largest_of_both(What::Add), Some(4096));
        let text = figures.to_text().unwrap();
        let again: Figures = serde_json::from_str(&text).unwrap();
        assert_eq!(again.to_text().unwrap(), text);
        assert_eq!(again.median(What::Add, LINUX, Some(4096)), Some(70.0));
        assert_eq!(again.median(What::Grow, LINUX, Some(4096)), None);
    }

    /// Proves days and units. Fails when a month begins on the wrong day or a unit is a thousand times too large.
    #[test]
    fn days_and_units() {
        let day = |started| Host { started, ..Host::default() }.day();
        assert_eq!(
            [day(0), day(951_782_400), day(1_795_867_200)],
            ["1970-01-01", "2000-02-29", "2026-11-28"]
        );
        let ms = |value| Unit::Milliseconds.show(value);
        assert_eq!([ms(7.44), ms(58.31), ms(219_382.0), ms(0.25)], ["7.44 ms", "58.3 ms", "219 s", "250 µs"]);
        let ns = |value| Unit::Nanoseconds.show(value);
        assert_eq!(
            [ns(4.6), ns(269.4), ns(2693.4), ns(21_787.0)],
            ["4.60 ns", "269 ns", "2.69 µs", "21.8 µs"]
        );
        assert_eq!([Unit::Bytes.show(8192.0), Unit::Bytes.show(0.0)], ["8 KiB", "0 B"]);
        let count = |value| Unit::Count.show(value);
        assert_eq!([count(0.0), count(1.012), count(93_159.4)], ["0", "1.01", "93,159"]);
    }
}
