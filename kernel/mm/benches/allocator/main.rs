//! Nanoseconds of the frame allocator on the host, beside `buddy_system_allocator` and a plain list.
//!
//! ```text
//!  cargo bench -p mm --bench allocator [-- ALLOCATOR [ROW [REGIONS]]]     one JSON object a line
//! ```
//!
//! All allocators serve the same 8 GiB of simulated frames; this kernel's goes the whole way through
//! [`carapace_mm::Memory`] (choice of a region, locks, counters), with the memory as one region, as 16 and as 256.
//! Each figure is a round's time divided by its operations; a pair is an allocation and a free. The list
//! never splits or merges: it is a floor for what the machine can do, and the measure of how fast this one is.
//!
//! Neighbours: `machine` is the memory under it, `others` the allocators beside ours, `rounds` what is timed.

mod machine;
mod others;
mod rounds;

use std::env;

use machine::Carapace;
use others::{List, SystemBuddy};
use rounds::{ROWS, Row, measure};

/// An allocator of frames, as the rounds use it.
pub trait Frames {
    /// The first of 2^order frames.
    fn allocate(&mut self, order: u8) -> Option<u64>;

    /// Gives back what `allocate` gave.
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
    // What cargo itself passes ("--bench") is no filter.
    let mut words = env::args().skip(1).filter(|word| !word.starts_with("--"));
    let (allocator, row) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let only: Option<usize> = words.next().and_then(|word| word.parse().ok());
    let wanted = |name: &str| name.starts_with(&allocator);
    let all: Vec<&Row> = ROWS.iter().filter(|other| other.name.contains(&row)).collect();
    if wanted("list") {
        // The list has blocks of one order.
        for order in [0, 9] {
            let rows: Vec<&Row> = all.iter().copied().filter(|row| row.order == Some(order)).collect();
            print("list", 1, &rows, List::new(order));
        }
    }
    if wanted("carapace") {
        let regions = [1, 16, 256].into_iter().filter(|&regions| only.is_none_or(|only| only == regions));
        regions.for_each(|regions| print("carapace", regions, &all, Carapace::new(regions)));
    }
    if wanted("buddy_system_allocator") {
        print("buddy_system_allocator", 1, &all, SystemBuddy::new());
    }
}
