//! Tables of figures: heads and rows of text, which `documents` writes as Markdown and the pages as HTML.

use crate::figures::{ACPIEXEC, Figures, LINUX, ONE_BYTE, OURS, Row, Unit, What};
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

/// The start beside the least that is possible in the same machine.
pub fn floor(figures: &Figures) -> Table {
    let heads = ["from the start of QEMU", "to one byte", "to Carapace's prompt", "the prompt takes"];
    beside(figures, What::Floor, &heads, [ONE_BYTE, OURS], "not measured")
}

/// The AML interpreter beside ACPICA's.
pub fn aml(figures: &Figures) -> Table {
    let heads = ["an iteration of", "Carapace", "acpiexec", "acpiexec takes"];
    beside(figures, What::Aml, &heads, [OURS, ACPIEXEC], "no acpiexec")
}

/// A line for each detail that one of the two has, and how many times as much as the first's the second's is.
fn beside(figures: &Figures, what: What, heads: &[&str], both: [&str; 2], absent: &str) -> Table {
    let mut table = Table::new(heads);
    let mut details: Vec<&Option<String>> = Vec::new();
    for row in both.iter().flat_map(|guest| figures.of(what, guest)) {
        if !details.contains(&&row.detail) {
            details.push(&row.detail);
        }
    }
    for detail in details {
        let median = |guest| figures.of(what, guest).find(|row| row.detail == *detail)?.median();
        let [first, second] = both.map(median);
        let cell = |value: Option<f64>| value.map_or_else(|| absent.to_owned(), |ms| what.unit().show(ms));
        let name = detail.clone().unwrap_or_default();
        table.rows.push(vec![name, cell(first), cell(second), times(first, second)]);
    }
    table
}

/// Guests with several CPUs: a column for each kernel and number of CPUs.
pub fn cpus(figures: &Figures) -> Table {
    let whats = [What::Cpus, What::CpusCounted];
    pivot(figures, &whats, "kernel, CPUs", |row| {
        let detail = row.detail.clone().unwrap_or_default();
        let (cpus, part) = detail.split_once(": ").unwrap_or(("1", &detail));
        (part.to_owned(), format!("{}, {cpus}", row.guest), shown(row.what.unit(), row.median()))
    })
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
        let copy = copy.and_then(Row::median);
        let name = format!("{}, {}", size(row.size.unwrap_or(0)), row.detail.clone().unwrap_or_default());
        let [copied, migrated] = [copy, row.median()].map(|value| shown(Unit::Nanoseconds, value));
        table.rows.push(vec![name, copied, migrated, times(copy, row.median())]);
    }
    table
}

/// The frame allocators with one thread, a column each.
pub fn allocator(figures: &Figures) -> Table {
    allocators(figures, What::Allocator)
}

/// The same with two threads.
pub fn allocator_two_threads(figures: &Figures) -> Table {
    allocators(figures, What::AllocatorTwoThreads)
}

fn allocators(figures: &Figures, what: What) -> Table {
    pivot(figures, &[what], "row", |row| {
        let name = row.detail.clone().unwrap_or_default();
        (name, row.guest.clone(), row.median().map_or_else(|| "–".to_owned(), |ns| format!("{ns:.1}")))
    })
}

/// What an add counts, by the CPU's leaves, slots, size: a column for each part.
pub fn counted(figures: &Figures) -> Table {
    pivot(figures, &[What::Counted], "CPU's leaves, slots, DIMM", |row| {
        let detail = row.detail.clone().unwrap_or_default();
        let (shape, part) = detail.split_once(": ").unwrap_or((&detail, "count"));
        let name = format!("{shape}, {}", size(row.size.unwrap_or(0)));
        (name, part.to_owned(), shown(Unit::Count, row.median()))
    })
}

/// A table of rows that say their line, their column and their cell; both in the order in which they come.
fn pivot(
    figures: &Figures,
    whats: &[What],
    head: &str,
    place: impl Fn(&Row) -> (String, String, String),
) -> Table {
    let cells: Vec<_> = figures.rows.iter().filter(|row| whats.contains(&row.what)).map(place).collect();
    let (mut names, mut columns): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (name, column, _) in &cells {
        for (list, word) in [(&mut names, name), (&mut columns, column)] {
            if !list.contains(&word.as_str()) {
                list.push(word);
            }
        }
    }
    let heads: Vec<&str> = [head].into_iter().chain(columns.iter().copied()).collect();
    let mut table = Table::new(&heads);
    for name in names {
        let cell = |column: &&str| {
            let found = cells.iter().find(|(line, of, _)| line == name && of == column);
            found.map_or_else(|| "–".to_owned(), |(_, _, text)| text.clone())
        };
        table.rows.push([name.to_owned()].into_iter().chain(columns.iter().map(cell)).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a row of figures stands in its line and its column, whatever their order, and that a missing one is a dash.
    /// Fails when lines or columns are mixed.
    #[test]
    fn pivots() {
        let mut figures = Figures::default();
        let rows = [("256M", "a", 1.0), ("1T", "a", 2_500.0), ("1T", "b", 3.0)];
        for (bytes, part, value) in rows {
            let bytes: ByteSize = bytes.parse().unwrap();
            figures.push(What::Counted, OURS, Some(bytes), Some(&format!("1 GiB, 32: {part}")), value);
        }
        let table = counted(&figures);
        assert_eq!(table.heads[1..], ["a", "b"]);
        assert_eq!(table.rows, [["1 GiB, 32, 256M", "1", "–"], ["1 GiB, 32, 1T", "2,500", "3"]]);
    }

    /// Proves that a method that acpiexec did not run has ours, and says why there is no other; and that the start is compared
    /// with the floor, not the floor with the start. Fails when a missing figure is a number, or the columns are exchanged.
    #[test]
    fn beside_another() {
        let mut figures = Figures::default();
        let rows = [(OURS, "loop", 50.0), (OURS, "call", 200.0), (ACPIEXEC, "loop", 125.0)];
        for (guest, detail, ns) in rows {
            figures.push(What::Aml, guest, None, Some(detail), ns);
        }
        let absent = ["call", "200 ns", "no acpiexec", "–"];
        assert_eq!(aml(&figures).rows, [["loop", "50.0 ns", "125 ns", "2.5x"], absent]);
        for (guest, ms) in [(OURS, 150.0), (ONE_BYTE, 100.0)] {
            figures.push(What::Floor, guest, None, Some("clock"), ms);
        }
        assert_eq!(floor(&figures).rows, [["clock", "100 ms", "150 ms", "1.5x"]]);
    }

    /// Proves that a figure of a guest with several CPUs stands in that guest's column, with its unit. Fails when numbers of CPUs or
    /// kernels are mixed.
    #[test]
    fn several_cpus() {
        let mut figures = Figures::default();
        let mut push = |what, guest, detail, value| figures.push(what, guest, None, Some(detail), value);
        push(What::CpusCounted, OURS, "2: requests", 1.01);
        push(What::Cpus, OURS, "2: add", 2.5);
        push(What::Cpus, OURS, "4: add", 8.5);
        push(What::Cpus, LINUX, "4: add", 77.0);
        let table = cpus(&figures);
        assert_eq!(table.heads, ["kernel, CPUs", "Carapace, 2", "Carapace, 4", "Linux, 4"]);
        assert_eq!(table.rows, [["requests", "1.01", "–", "–"], ["add", "2.50 ms", "8.50 ms", "77.0 ms"]]);
    }

    /// Proves how many times as much is said. Fails when the two are exchanged.
    #[test]
    fn factors() {
        let of = |ours, linux| times(Some(ours), Some(linux));
        assert_eq!([of(2.0, 5.0), of(2.0, 50.0), of(0.0, 1.0)], ["2.5x", "25x", "–"]);
        assert_eq!(times(None, Some(1.0)), "–");
    }
}
