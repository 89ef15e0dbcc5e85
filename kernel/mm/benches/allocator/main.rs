//! Benchmark of the frame allocator on the host, compared with `buddy_system_allocator` and a free list.
//!
//! ```text
//!  cargo bench -p carapace-mm --bench allocator [-- [--threads=N,...] [--rounds=N] [ALLOCATOR [ROW [REGIONS]]]]
//! ```
//!
//! prints one JSON object per line.
//!
//! All allocators serve the same 8 GiB of simulated frames. Ours runs all of [`carapace_mm::Memory`] (choice of a region,
//! locks, counters), with 1, 16 and 256 regions, and with several threads in one region and in as many as threads. Each
//! figure is the time of a round divided by its operations; with several threads, by those of one thread. A pair is an
//! allocation and a free. The list neither splits nor merges: it is the lower bound, with one thread in every table.
//!
//! The allocators of a row are measured in turns, a round of each and so on: a host whose speed drifts is slow for all of
//! them. `--rounds=N` takes other than 9 rounds. `valgrind --tool=callgrind --toggle-collect='*measured*'` counts the
//! measured loops alone.
//!
//! Neighbours: `machine` is the simulated memory, `others` the other allocators, `rounds` the measured loops.

mod machine;
mod others;
mod rounds;

use std::env;

use machine::{Carapace, booted};
use others::{List, Locked, SystemBuddy};
use rounds::{ROWS, Row, round};

/// A frame allocator.
pub trait Frames {
    /// Allocates 2^order frames and returns the first.
    fn allocate(&mut self, order: u8) -> Option<u64>;

    /// Frees a block from `allocate`.
    fn free(&mut self, frame: u64, order: u8);
}

impl<F: Frames> Frames for &mut F {
    #[inline]
    fn allocate(&mut self, order: u8) -> Option<u64> {
        (**self).allocate(order)
    }

    #[inline]
    fn free(&mut self, frame: u64, order: u8) {
        (**self).free(frame, order);
    }
}

/// One round of a row, in nanoseconds per operation. `None` when the allocator cannot do the row.
type Round<'a> = dyn FnMut(&Row, usize) -> Option<f64> + 'a;

/// An allocator with so many regions: a column of the table.
struct Column<'a> {
    allocator: &'static str,
    regions: usize,
    round: Box<Round<'a>>,
}

impl<'a> Column<'a> {
    fn new(
        allocator: &'static str,
        regions: usize,
        round: impl FnMut(&Row, usize) -> Option<f64> + 'a,
    ) -> Column<'a> {
        Column { allocator, regions, round: Box::new(round) }
    }

    fn list() -> Column<'a> {
        let mut lists = [0, 9].map(|order| (order, List::new(order)));
        Column::new("list", 1, move |row, nr| {
            let (_, list) = lists.iter_mut().find(|(order, _)| row.order == Some(*order))?;
            Some(round(row, vec![list], nr))
        })
    }

    fn carapace(threads: usize, regions: usize) -> Column<'a> {
        let memory = booted(regions);
        Column::new("carapace", regions, move |row, nr| {
            Some(round(row, vec![Carapace(&memory); threads], nr))
        })
    }

    fn system_buddy(threads: usize) -> Column<'a> {
        let mut buddy = SystemBuddy::new();
        if threads == 1 {
            return Column::new("buddy_system_allocator", 1, move |row, nr| {
                Some(round(row, vec![&mut buddy], nr))
            });
        }
        let buddy = Locked::new(buddy);
        Column::new("buddy_system_allocator, locked", 1, move |row, nr| {
            Some(round(row, vec![&buddy; threads], nr))
        })
    }

    /// The columns of the table for `threads` threads.
    fn all(threads: usize, is_wanted: impl Fn(&str, usize) -> bool) -> Vec<Column<'a>> {
        let regions = if threads == 1 { vec![1, 16, 256] } else { vec![1, threads] };
        let mut columns = Vec::new();
        if is_wanted("list", 1) {
            columns.push(Column::list());
        }
        let regions = regions.into_iter().filter(|&regions| is_wanted("carapace", regions));
        columns.extend(regions.map(|regions| Column::carapace(threads, regions)));
        if is_wanted("buddy_system_allocator", 1) {
            columns.push(Column::system_buddy(threads));
        }
        columns
    }
}

/// Measures a row in `rounds` rounds, in which the columns take turns, after one to warm up. Prints a line for each.
fn print_row(row: &Row, threads: usize, columns: &mut [Column<'_>], rounds: usize) {
    let mut times = vec![Vec::new(); columns.len()];
    for nr in 0..=rounds {
        for (column, times) in columns.iter_mut().zip(&mut times) {
            let time = (column.round)(row, nr);
            times.extend(time.filter(|_| nr > 0));
        }
    }
    for (Column { allocator, regions, .. }, mut times) in columns.iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let [Some(min), Some(max)] = [times.first(), times.last()] else { continue };
        let median = times[times.len() / 2];
        println!(
            "{{\"allocator\":\"{allocator}\",\"regions\":{regions},\"threads\":{threads},\"row\":\"{}\",\
             \"unit\":\"ns\",\"min\":{min:.2},\"median\":{median:.2},\"max\":{max:.2}}}",
            row.name
        );
    }
}

/// The numbers of `--NAME=1,2`.
fn numbers(name: &str) -> Option<Vec<usize>> {
    let given = env::args().find_map(|word| word.strip_prefix(&format!("--{name}=")).map(str::to_owned))?;
    Some(given.split(',').map(|number| number.parse().expect("a number")).collect())
}

fn main() {
    // Cargo itself passes `--bench`.
    let mut words = env::args().skip(1).filter(|word| !word.starts_with("--"));
    let (allocator, row) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let only: Option<usize> = words.next().and_then(|word| word.parse().ok());
    let rounds = numbers("rounds").map_or(9, |rounds| rounds[0]);
    for threads in numbers("threads").unwrap_or_else(|| vec![1]) {
        let mut columns = Column::all(threads, |name, regions| {
            name.starts_with(&allocator) && (name != "carapace" || only.is_none_or(|only| only == regions))
        });
        for row in ROWS.iter().filter(|other| other.name.contains(&row)) {
            print_row(row, threads, &mut columns, rounds);
        }
    }
}
