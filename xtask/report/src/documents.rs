//! The figures in README and docs: blocks between two comments, written from docs/figures.json.
//!
//! ```text
//!  <!-- figures: add -->
//!  | what | Carapace | Linux | ...        replaced as a whole
//!  <!-- end of figures -->
//! ```
//!
//! `cargo xtask bench --documents` writes the blocks; a test of xtask fails where one differs from the file. So a figure that
//! was measured stands in no document but by this way.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::figure_tables::{self, Table};
use crate::figures::{Figures, LINUX, OURS, Unit, What};

/// The file of figures, below the project's root.
pub const FILE: &str = "docs/figures.json";
const BEGIN: &str = "<!-- figures: ";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- end of figures -->";
/// Columns of a line of prose.
const COLUMNS: usize = 120;

/// The documents that may have blocks.
///
/// # Errors
/// The folder of documents cannot be read.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let docs = fs::read_dir(root.join("docs")).context("docs")?.flatten().map(|entry| entry.path());
    let docs = docs.filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let mut files: Vec<PathBuf> = docs.chain([root.join("README.md")]).collect();
    files.sort_unstable();
    Ok(files)
}

/// The names of a document's blocks.
pub fn names(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix(BEGIN)?.strip_suffix(BEGIN_END)).collect()
}

/// A document with its blocks written anew.
///
/// # Errors
/// There is no block of such a name, or one has no end.
pub fn with_figures(text: &str, figures: &Figures) -> Result<String> {
    let (mut new, mut inside) = (String::new(), None);
    for line in text.lines() {
        let begins = names(line).first().copied();
        match (inside, begins) {
            (Some(name), Some(_)) => bail!("block `{name}` has no end"),
            (Some(_), None) if line != END => continue,
            (Some(_), None) => inside = None,
            (None, begins) => inside = begins,
        }
        new += &format!("{line}\n");
        if let Some(name) = begins {
            new += &block(name, figures).with_context(|| format!("there is no block `{name}`"))?;
        }
    }
    match inside {
        Some(name) => bail!("block `{name}` has no end"),
        None => Ok(new),
    }
}

fn block(name: &str, figures: &Figures) -> Option<String> {
    Some(match name {
        "source" => wrapped(&source(figures)),
        "summary" => markdown(&figure_tables::summary(figures)),
        "add" => markdown(&figure_tables::add(figures)),
        "floor" => markdown(&figure_tables::floor(figures)),
        "aml" => markdown(&figure_tables::aml(figures)),
        "cpus" => markdown(&figure_tables::cpus(figures)),
        "remove" => markdown(&figure_tables::remove(figures)),
        "migrate" => markdown(&figure_tables::migrate(figures)),
        "virtio-mem" => markdown(&figure_tables::virtio_mem(figures)),
        "allocator" => markdown(&figure_tables::allocator(figures)),
        "allocator-two-threads" => markdown(&figure_tables::allocator_two_threads(figures)),
        "counted" => markdown(&figure_tables::counted(figures)),
        "growth" => wrapped(&growth(figures)),
        _ => return None,
    })
}

/// Where the figures come from.
pub fn source(figures: &Figures) -> String {
    let host = &figures.host;
    let qemu = host.qemu.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let linux = figures.linux.as_deref().map_or_else(String::new, |package| format!("; {package}"));
    let note = figures.note.as_deref().map_or_else(String::new, |note| format!(" {note}"));
    format!(
        "Measured on {} by `{}`, all kernels in turns in the same machine: {}, {} cores, load {} at the start; QEMU {} (TCG); \
         Carapace {}{linux}. Medians; of an even number of runs the lesser in the middle.{note}",
        host.day(),
        host.command(),
        host.cpu,
        host.cores,
        host.load,
        qemu.unwrap_or("of unknown version"),
        host.commit,
    )
}

/// How the time of an add grows with the DIMM.
fn growth(figures: &Figures) -> String {
    let of = |guest: &str, size: u64| figures.median(What::Add, guest, Some(size));
    let one = |size: u64| -> Option<String> {
        let [ours, linux] = [of(OURS, size)?, of(LINUX, size)?].map(|value| Unit::Milliseconds.show(value));
        Some(format!("{ours} and {linux} for {}", figure_tables::size(size)))
    };
    let smallest = figures.sizes(What::Add).first().copied();
    let largest = figures.largest_of_both(What::Add).filter(|largest| Some(*largest) != smallest);
    let sizes = smallest.into_iter().chain(largest);
    let pairs: Vec<String> = sizes.filter_map(one).collect();
    format!("From `device_add` to `_OST`, Carapace and Linux take {}.", pairs.join(", "))
}

/// The text in lines of a document's width.
fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ') {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines += &line;
            lines.push('\n');
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &line + "\n"
}

/// A table whose columns are aligned in the text too; all but the first stand to the right.
fn markdown(table: &Table) -> String {
    let all = || [&table.heads].into_iter().chain(&table.rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0).max(2);
    let widths: Vec<usize> = (0..table.heads.len()).map(width).collect();
    let line = |cells: &Vec<String>| {
        let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!(" {cell:<width$} |"),
            _ => format!(" {cell:>width$} |"),
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let ruler = widths.iter().enumerate().map(|(column, &width)| match column {
        0 => format!("{}|", "-".repeat(width + 2)),
        _ => format!("{}:|", "-".repeat(width + 1)),
    });
    let ruler = format!("|{}\n", ruler.collect::<String>());
    line(&table.heads) + &ruler + &table.rows.iter().map(line).collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest::size::ByteSize;

    fn figures(ours: f64) -> Figures {
        let mut figures = Figures::default();
        for (guest, ms) in [(OURS, ours), (LINUX, 70.0)] {
            figures.push(What::Add, guest, Some(ByteSize::new(1 << 28)), None, ms);
        }
        figures
    }

    /// Proves that a block is replaced as a whole by the figures, again and again the same, and that the text around it stays.
    /// Fails when another figure leaves the document as it is.
    #[test]
    fn blocks_are_written_anew() {
        let text = format!("before\n{BEGIN}growth{BEGIN_END}\nold\nold\n{END}\nbehind\n");
        let new = with_figures(&text, &figures(7.0)).unwrap();
        assert_eq!(
            new,
            format!(
                "before\n{BEGIN}growth{BEGIN_END}\nFrom `device_add` to `_OST`, Carapace and Linux take 7.00 ms and \
                 70.0 ms for 256M.\n{END}\nbehind\n"
            )
        );
        assert_eq!(with_figures(&new, &figures(7.0)).unwrap(), new);
        assert_ne!(with_figures(&new, &figures(8.0)).unwrap(), new);
        assert_eq!(names(&new), ["growth"]);
    }

    /// Proves that an unknown block and one without an end are errors. Fails when a mistyped name goes unnoticed.
    #[test]
    fn blocks_are_whole() {
        let of = |text: &str| with_figures(text, &figures(7.0)).unwrap_err().to_string();
        assert!(of(&format!("{BEGIN}nothing{BEGIN_END}\n{END}\n")).contains("nothing"));
        assert!(of(&format!("{BEGIN}add{BEGIN_END}\n")).contains("no end"));
        assert!(of(&format!("{BEGIN}add{BEGIN_END}\n{BEGIN}add{BEGIN_END}\n{END}\n")).contains("no end"));
    }
}
