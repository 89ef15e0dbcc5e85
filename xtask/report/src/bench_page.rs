//! The page of `cargo xtask bench --all`: tables, curves, and where the raw figures are.
//!
//! Invariants: as for the report's page: it fetches nothing, has no script, and each picture is there in words.

use maud::{Markup, html};

use crate::figure_tables::{self, Table};
use crate::figures::{Figures, What};
use crate::html::{document, html_table};
use crate::{curves, documents};

/// A part: its heading, what was done, its table, its curves.
type Part = (&'static str, &'static str, fn(&Figures) -> Table, &'static [(What, &'static str)]);

const PARTS: [Part; 10] = [
    (
        "Start, and a DIMM is added",
        "Each DIMM in a fresh guest. From device_add to _OST, the kernel's answer, by the clock and in time that QEMU's threads \
         computed; then the memory that it took: pages of the DIMM that it touched, and free memory of the guest.",
        figure_tables::add,
        &[
            (What::Add, "device_add to _OST"),
            (What::AddUsed, "memory that it took, in the DIMM and elsewhere"),
        ],
    ),
    (
        "The start beside the floor",
        "An image that prints one byte, in the same machine: what QEMU and its firmware take before a kernel runs. Huge pages of the \
         host are allowed, as for a guest that is not measured.",
        figure_tables::floor,
        &[],
    ),
    (
        "The firmware's code",
        "Fixed methods of AML on the host, each of which does one thing again and again: this interpreter and ACPICA's.",
        figure_tables::aml,
        &[],
    ),
    (
        "What an add counts",
        "Under QEMU's -icount shift=0, where a nanosecond of the guest's clock is an instruction: the same on a busy machine.",
        figure_tables::counted,
        &[],
    ),
    (
        "It is removed",
        "From device_del to DEVICE_DELETED, unused and with four fifths of its memory in use (Linux: a file in memory bound to the \
         node). A page's migration is what the second takes longer, for each of its pages.",
        figure_tables::remove,
        &[
            (What::RemoveIdle, "a DIMM that nothing uses"),
            (What::RemoveFull, "a DIMM with four fifths in use"),
        ],
    ),
    (
        "Migration beside plain copying",
        "offline moves all of a DIMM to another one in the same guest. The gap is the distance between the two.",
        figure_tables::migrate,
        &[],
    ),
    (
        "virtio-mem grows and shrinks",
        "A device without content, from nothing to its size and back, until QEMU's last answer to a request; and how much of the \
         memory that was there growing used.",
        figure_tables::virtio_mem,
        &[(What::Grow, "growing from nothing"), (What::Shrink, "shrinking to nothing")],
    ),
    (
        "Several CPUs",
        "A CPU of the guest is a thread of QEMU: where the guest has more CPUs than the host has cores, they wait for each other. \
         Busy: every CPU allocates, fills, verifies and frees meanwhile (Linux: writes a file in memory and removes it).",
        figure_tables::cpus,
        &[],
    ),
    (
        "Frame allocators on the host",
        "Nanoseconds for an operation of one thread. Linux's cannot run there: LLFree, measured elsewhere and scaled by the list's row in both runs, \
         stands for the state of the art.",
        figure_tables::allocator,
        &[],
    ),
    (
        "Frame allocators with two threads at once",
        "The time of an operation on one of the two.",
        figure_tables::allocator_two_threads,
        &[],
    ),
];

/// The page, whole.
pub fn render(figures: &Figures) -> String {
    let body = html! {
        header {
            h1 { "Carapace beside Linux" }
            p.lead { (documents::source(figures).replace('`', "")) }
            p.soft { "Guests are emulated: compare ratios of one run, not times of two machines. figures.json beside this page has every value." }
        }
        main {
            @for (number, (heading, text, of, drawn)) in PARTS.iter().enumerate() {
                @let table = of(figures);
                @if !table.rows.is_empty() {
                    section aria-labelledby=(format!("part-{number}")) {
                        h2 id=(format!("part-{number}")) { (heading) }
                        p { (text) }
                        (pictures(figures, number, drawn))
                        (html_table(&table, heading))
                    }
                }
            }
            @if !figures.failed.is_empty() {
                section aria-labelledby="failed" {
                    h2 id="failed" { "Not measured" }
                    ul { @for failed in &figures.failed { li { (failed) } } }
                }
            }
        }
    };
    document("Carapace beside Linux", &body)
}

fn pictures(figures: &Figures, number: usize, drawn: &[(What, &str)]) -> Markup {
    let pictures = drawn.iter().enumerate().filter_map(|(index, (what, title))| {
        let id = format!("curve-{number}-{index}");
        let drawn = match what {
            What::AddUsed => curves::draw_taken(figures, &id, title),
            what => curves::draw(figures, *what, &id, title),
        };
        Some((title, drawn?))
    });
    html! {
        div.pair {
            @for (title, picture) in pictures { figure { figcaption { (title) ", by size, both axes logarithmic" } (picture) } }
        }
    }
}
