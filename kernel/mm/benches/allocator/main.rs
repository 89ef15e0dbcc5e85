//! Benchmark of the frame allocator on the host, compared with `buddy_system_allocator` and a free list.
//!
//! ```text
//!  cargo bench -p carapace-mm --bench allocator [-- [--threads=N,...] [ALLOCATOR [ROW [REGIONS]]]]
//! ```
//!
//! prints one JSON object per line.
//!
//! All allocators serve the same 8 GiB of simulated frames. Ours runs all of [`carapace_mm::Memory`] (choice of a region,
//! locks, counters), with 1, 16 and 256 regions, and with several threads in one region and in as many as threads. Each
//! figure is the time of a round divided by its operations; with several threads, by those of one thread. A pair is an
//! allocation and a free. The list neither splits nor merges: it is the lower bound.
//!
//! Neighbours: `machine` is the simulated memory, `others` the other allocators, `rounds` the measured loops.

mod machine;
mod others;
mod rounds;

use std::env;

use machine::Carapace;
use others::{List, Locked, SystemBuddy};
use rounds::{ROWS, Row, measure};

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

/// Measures the rows that `allocator` serves and prints a line for each. Each of `handles` is used by a thread.
fn print<F: Frames + Send>(allocator: &str, regions: usize, rows: &[&Row], handles: impl Fn() -> Vec<F>) {
    for row in rows {
        print_row(allocator, regions, row, handles());
    }
}

fn print_row<F: Frames + Send>(allocator: &str, regions: usize, row: &Row, handles: Vec<F>) {
    let threads = handles.len();
    let mut rounds = measure(row, handles);
    rounds.sort_by(f64::total_cmp);
    let (min, median, max) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
    println!(
        "{{\"allocator\":\"{allocator}\",\"regions\":{regions},\"threads\":{threads},\"row\":\"{}\",\
         \"unit\":\"ns\",\"min\":{min:.2},\"median\":{median:.2},\"max\":{max:.2}}}",
        row.name
    );
}

/// The threads of `--threads=1,2`; one without it.
fn threads() -> Vec<usize> {
    let given = env::args().find_map(|word| word.strip_prefix("--threads=").map(str::to_owned));
    let given = given.unwrap_or_else(|| "1".to_owned());
    given.split(',').map(|number| number.parse().expect("--threads takes numbers")).collect()
}

fn main() {
    // Cargo itself passes `--bench`.
    let mut words = env::args().skip(1).filter(|word| !word.starts_with("--"));
    let (allocator, row) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let only: Option<usize> = words.next().and_then(|word| word.parse().ok());
    let is_selected = |name: &str| name.starts_with(&allocator);
    let all: Vec<&Row> = ROWS.iter().filter(|other| other.name.contains(&row)).collect();
    if is_selected("list") {
        // The list has blocks of one order. It has no lock: other figures are scaled by it.
        for order in [0, 9] {
            let mut list = List::new(order);
            for row in all.iter().filter(|row| row.order == Some(order)) {
                print_row("list", 1, row, vec![&mut list]);
            }
        }
    }
    for threads in threads() {
        let mut choices = if threads == 1 { vec![1, 16, 256] } else { vec![1, threads] };
        choices.retain(|&regions| only.is_none_or(|only| only == regions));
        if is_selected("carapace") {
            for regions in choices {
                Carapace::with(regions, |frames| print("carapace", regions, &all, || vec![frames; threads]));
            }
        }
        if is_selected("buddy_system_allocator") {
            let mut buddy = SystemBuddy::new();
            if threads == 1 {
                all.iter().for_each(|row| print_row("buddy_system_allocator", 1, row, vec![&mut buddy]));
            } else {
                let buddy = Locked::new(buddy);
                print("buddy_system_allocator, locked", 1, &all, || vec![&buddy; threads]);
            }
        }
    }
}
