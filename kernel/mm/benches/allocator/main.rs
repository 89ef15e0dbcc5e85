//! Benchmark of the frame allocator on the host, compared with `buddy_system_allocator` and a free list.
//!
//! ```text
//!  cargo bench -p carapace-mm --bench allocator [-- ALLOCATOR [ROW [REGIONS]]]    one JSON object per line
//! ```
//!
//! All allocators serve the same 8 GiB of simulated frames. Ours runs all of [`carapace_mm::Memory`] (choice of a region,
//! locks, counters), with 1, 16 and 256 regions. Each figure is the time of a round divided by its operations. A pair is
//! an allocation and a free. The list neither splits nor merges: it is the lower bound.
//!
//! Neighbours: `machine` is the simulated memory, `others` the other allocators, `rounds` the measured loops.

mod machine;
mod others;
mod rounds;

use std::env;

use machine::Carapace;
use others::{List, SystemBuddy};
use rounds::{ROWS, Row, measure};

/// A frame allocator.
pub trait Frames {
    /// Allocates 2^order frames and returns the first.
    fn allocate(&mut self, order: u8) -> Option<u64>;

    /// Frees a block from `allocate`.
    fn free(&mut self, frame: u64, order: u8);
}

/// Measures the rows that `allocator` serves and prints a line for each.
fn print<F: Frames>(allocator: &str, regions: usize, rows: &[&Row], mut frames: F) {
    for row in rows {
        let mut rounds = measure(row, &mut frames);
        rounds.sort_by(f64::total_cmp);
        let (min, median, max) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
        println!(
            "{{\"allocator\":\"{allocator}\",\"regions\":{regions},\"row\":\"{}\",\"unit\":\"ns\",\
             \"min\":{min:.2},\"median\":{median:.2},\"max\":{max:.2}}}",
            row.name
        );
    }
}

fn main() {
    // Cargo itself passes `--bench`.
    let mut words = env::args().skip(1).filter(|word| !word.starts_with("--"));
    let (allocator, row) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let only: Option<usize> = words.next().and_then(|word| word.parse().ok());
    let is_selected = |name: &str| name.starts_with(&allocator);
    let all: Vec<&Row> = ROWS.iter().filter(|other| other.name.contains(&row)).collect();
    if is_selected("list") {
        // The list has blocks of one order.
        for order in [0, 9] {
            let rows: Vec<&Row> = all.iter().copied().filter(|row| row.order == Some(order)).collect();
            print("list", 1, &rows, List::new(order));
        }
    }
    if is_selected("carapace") {
        let regions = [1, 16, 256].into_iter().filter(|&regions| only.is_none_or(|only| only == regions));
        regions
            .for_each(|regions| Carapace::with(regions, |frames| print("carapace", regions, &all, frames)));
    }
    if is_selected("buddy_system_allocator") {
        print("buddy_system_allocator", 1, &all, SystemBuddy::new());
    }
}
