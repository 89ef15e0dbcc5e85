//! Tables of figures: heads and rows of text, which `documents` writes as Markdown and the pages as HTML.

use crate::figures::{Figures, LINUX, OURS, Unit, What};
use guest::size::ByteSize;

/// A table. The first column names the row; numbers stand in the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The heads of the columns.
    pub heads: Vec<String>,
    /// The rows, each as long as the heads.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    fn new(heads: &[&str]) -> Table {
        Table { heads: heads.iter().map(|&head| head.to_owned()).collect(), rows: Vec::new() }
    }
}

/// A size as QEMU writes it.
pub fn size(bytes: u64) -> String {
    ByteSize::new(bytes).to_string()
}

fn shown(unit: Unit, value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| unit.show(value))
}

/// How many times as much as ours Linux's is.
pub fn times(ours: Option<f64>, linux: Option<f64>) -> String {
    match ours.zip(linux) {
        Some((ours, linux)) if ours > 0.0 => {
            let times = linux / ours;
            let digits = usize::from(times < 9.95);
            format!("{times:.digits$}x")
        }
        _ => "–".to_owned(),
    }
}

/// A row of [`beside_linux`]: its name, what it measures, at which size.
type Line = (String, What, Option<u64>);

fn beside_linux(figures: &Figures, lines: &[Line]) -> Table {
    let mut table = Table::new(&["what", "Carapace", "Linux", "Linux takes"]);
    for (name, what, size) in lines {
        let [ours, linux] = [OURS, LINUX].map(|guest| figures.median(*what, guest, *size));
        if ours.is_some() || linux.is_some() {
            let [first, second] = [ours, linux].map(|value| shown(what.unit(), value));
            table.rows.push(vec![name.clone(), first, second, times(ours, linux)]);
        }
    }
    table
}

fn by_size(figures: &Figures, what: What, name: &str) -> Vec<Line> {
    let line = |bytes| (format!("{name}, {}", size(bytes)), what, Some(bytes));
    figures.sizes(what).into_iter().map(line).collect()
}

/// The lines that a reader sees first: the smallest and the largest size of both kernels.
pub fn summary(figures: &Figures) -> Table {
    let mut lines = vec![("start to prompt".to_owned(), What::Start, None)];
    let shown = [
        (What::Add, "add a DIMM"),
        (What::AddUsed, "other memory that it used"),
        (What::RemoveIdle, "remove it unused"),
        (What::RemoveFull, "remove it in use"),
        (What::Grow, "virtio-mem grows to"),
        (What::Shrink, "and shrinks from"),
    ];
    for (what, name) in shown {
        let smallest = figures.sizes(what).first().copied().filter(|_| what != What::AddUsed);
        let largest = figures.largest_of_both(what).filter(|largest| Some(*largest) != smallest);
        let line = |bytes| (format!("{name}, {}", size(bytes)), what, Some(bytes));
        lines.extend(smallest.into_iter().chain(largest).map(line));
    }
    beside_linux(figures, &lines)
}

/// Start and add, with the host's memory that a DIMM takes.
pub fn add(figures: &Figures) -> Table {
    let mut lines = vec![("start to prompt".to_owned(), What::Start, None)];
    lines.extend(by_size(figures, What::Add, "`device_add` to `_OST`"));
    lines.extend(by_size(figures, What::AddCpu, "the same in CPU time"));
    let used = |bytes| (format!("other memory that it used, {}", size(bytes)), What::AddUsed, Some(bytes));
    lines.extend(figures.largest_of_both(What::AddUsed).map(used));
    let mut table = beside_linux(figures, &lines);
    if let Some(bytes) = figures.largest_of_both(What::Backing) {
        let [ours, linux] = [OURS, LINUX].map(|guest| figures.taken(guest, bytes));
        if ours.is_some() || linux.is_some() {
            let [first, second] = [ours, linux].map(|value| shown(Unit::Bytes, value));
            let name = format!("the same and the pages of the DIMM that it touched, {}", size(bytes));
            table.rows.push(vec![name, first, second, times(ours, linux)]);
        }
    }
    table
}

/// Removal, unused and in use.
pub fn remove(figures: &Figures) -> Table {
    let mut lines = by_size(figures, What::RemoveIdle, "unused");
    lines.extend(by_size(figures, What::RemoveFull, "four fifths in use"));
    lines.extend(by_size(figures, What::Move, "a page that migrates"));
    beside_linux(figures, &lines)
}

/// Growing and shrinking.
pub fn virtio_mem(figures: &Figures) -> Table {
    let mut lines = by_size(figures, What::Grow, "grow");
    lines.extend(by_size(figures, What::GrowUsed, "other memory used"));
    lines.extend(by_size(figures, What::Shrink, "shrink"));
    beside_linux(figures, &lines)
}

/// Migration beside plain copying.
pub fn migrate(figures: &Figures) -> Table {
    let mut table =
        Table::new(&["DIMMs, memory in use as", "copying a page", "migrating it", "migrating takes"]);
    for row in figures.of(What::Migrate, OURS) {
        let copy =
            figures.of(What::Copy, OURS).find(|copy| copy.size == row.size && copy.detail == row.detail);
        let copy = copy.and_then(crate::figures::Row::median);
        let name = format!("{}, {}", size(row.size.unwrap_or(0)), row.detail.clone().unwrap_or_default());
        let [copied, migrated] = [copy, row.median()].map(|value| shown(Unit::Nanoseconds, value));
        table.rows.push(vec![name, copied, migrated, times(copy, row.median())]);
    }
    table
}

/// The frame allocators, a column each.
pub fn allocator(figures: &Figures) -> Table {
    let mine = || figures.rows.iter().filter(|row| row.what == What::Allocator);
    let (mut names, mut details): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for row in mine() {
        let detail = row.detail.as_deref().unwrap_or_default();
        if !names.contains(&row.guest.as_str()) {
            names.push(&row.guest);
        }
        if !details.contains(&detail) {
            details.push(detail);
        }
    }
    let heads: Vec<&str> = ["ns an operation"].into_iter().chain(names.iter().copied()).collect();
    let mut table = Table::new(&heads);
    for detail in details {
        let cell = |name: &&str| {
            let row = mine().find(|row| row.guest == *name && row.detail.as_deref() == Some(detail));
            row.and_then(crate::figures::Row::median)
                .map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
        };
        table.rows.push([detail.to_owned()].into_iter().chain(names.iter().map(cell)).collect());
    }
    table
}
