//! The costs of steps, here and in Linux.

use guest::schema::Add;
use maud::{Markup, html};

use crate::data::{Event, Step};
use crate::figures::{Figures, What};
use crate::html::html_table;
use crate::{curves, documents, figure_tables, format};

/// What a step cost, as a table.
pub fn of(step: &Step) -> Markup {
    let rows = match &step.event {
        Event::Plugged(_) => step.add().map(plugged).unwrap_or_default(),
        Event::Ejected { migrated, isolating, migrating, unmapping, .. } => vec![
            ("Isolating", thousands(*isolating), "until nothing can be allocated from the DIMM any more"),
            (
                "Migrating",
                thousands(*migrating),
                "until all its content is elsewhere, page tables and flushes included",
            ),
            ("Unmapping", thousands(*unmapping), "until no page-table entry leads to it"),
            ("Content moved", format::frames(*migrated), "copied frame by frame"),
        ],
        Event::Allocated { pages, .. } => vec![
            ("Allocated", format::frames(*pages), "mapped by the largest leaves that fit"),
            (
                "Frames free",
                format!(
                    "{} to {}",
                    format::number(step.before.meminfo.free_pages),
                    format::number(step.after.meminfo.free_pages)
                ),
                "before and after; the difference is the allocation and the page tables that map it",
            ),
        ],
    };
    html! {
        div.wide role="region" tabindex="0" aria-label="Costs" {
            table {
                caption { "Costs." }
                thead { tr { th scope="col" { "Part" } th.n scope="col" { "Cost" } th scope="col" { "What that is" } } }
                tbody { @for (part, cost, what) in &rows { tr { th scope="row" { (part) } td.n { (cost) } td { (what) } } } }
            }
        }
    }
}

/// Whole microseconds of a clock that counts instructions: no more is known than their thousands.
fn thousands(us: u64) -> String {
    match us {
        0 => "under 1,000 instructions".to_owned(),
        us => format!("about {} instructions", format::number(us.saturating_mul(1000))),
    }
}

fn plugged(add: &Add) -> Vec<(&'static str, String, &'static str)> {
    let instructions = |count| format!("{} instructions", format::number(count));
    vec![
        (
            "AML",
            instructions(add.aml_ns),
            "the firmware's own code: which slot, where, how large, and the answer",
        ),
        ("Checks", instructions(add.check_ns), "whether memory answers where page tables are about to lie"),
        ("Mapping", instructions(add.map_ns), "direct map and vmemmap"),
        ("Online", instructions(add.online_ns), "the allocator of the new resource"),
        (
            "In all",
            instructions(add.answer_ns),
            "from the interrupt to _OST, the main loop and the log's lines included",
        ),
        ("Page-table entries", format::number(add.entries_written), "leaves, and links to new tables"),
        ("Page tables", format::number(add.tables), "new ones, all of them in the DIMM"),
        ("Descriptors", format::number(add.descriptors_written), "written, of all bytes of the memmap"),
        (
            "From elsewhere",
            format!("{} frames, {} bytes", add.existing_pages_used, add.existing_heap_bytes_used),
            "frames of other memory, and bytes of the heap",
        ),
    ]
}

/// The figures beside Linux's.
pub fn beside_linux(kept: &Figures, own: Option<&Figures>) -> Markup {
    html! {
        section aria-labelledby="beside-linux" {
            h2 id="beside-linux" { "Beside Linux" }
            p {
                "From " code { "device_add" } " to the kernel's answer, " code { "_OST" } ", on the clock: both kernels in the same emulated "
                "machine, in turns. Linux writes every descriptor of the memmap; that is why its time grows with the DIMM."
            }
            (measured(kept, "kept"))
            @if let Some(own) = own { h3 { "On this machine" } (measured(own, "own")) }
            @else {
                p.soft {
                    code { "cargo xtask bench --all" } " measures on this machine; a page that is made after it has the figures. With "
                    code { "--linux DIR" } " it measures Linux too."
                }
            }
        }
    }
}

fn measured(figures: &Figures, id: &str) -> Markup {
    let title = "Time from device_add to _OST, by the DIMM's size";
    html! {
        @if let Some(curves) = curves::draw(figures, What::Add, &format!("curves-{id}"), title) {
            figure { figcaption { (title) "; both axes are logarithmic" } (curves) }
        }
        (html_table(&figure_tables::add(figures), &documents::source(figures).replace('`', "")))
    }
}
