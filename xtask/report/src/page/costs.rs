//! The costs of steps, here and in Linux.

use guest::schema::Add;
use maud::{Markup, html};

use crate::data::{Event, Step};
use crate::figures::{Figures, Row};
use crate::format;

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
                "machine, in turns. Linux keeps the memmap in the DIMM here too, block by block, and writes every descriptor of it; "
                "that is why its time grows with the DIMM."
            }
            (table(kept))
            @if let Some(own) = own { h3 { "On this machine" } (table(own)) }
            @else {
                p.soft {
                    code { "cargo xtask bench" } " measures on this machine; a page that is made after it has the figures. With "
                    code { "--linux DIR" } " it measures Linux too."
                }
            }
        }
    }
}

fn table(figures: &Figures) -> Markup {
    let ms = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1} ms"));
    let bytes = |value: Option<u64>| value.map_or_else(|| "–".to_owned(), format::size);
    let times = |row: &Row| {
        let pair = row.ours_ms.zip(row.linux_ms);
        pair.map_or_else(|| "–".to_owned(), |(ours, linux)| format!("{:.0} times", linux / ours))
    };
    html! {
        div.wide role="region" tabindex="0" aria-label="Figures beside Linux" {
            table {
                caption { (figures.source) }
                thead { tr {
                    th scope="col" { "DIMM" } th.n scope="col" { "Carapace" } th.n scope="col" { "Linux" } th.n scope="col" { "Linux takes" }
                    th.n scope="col" { "Host memory it takes" } th.n scope="col" { "under Linux" }
                } }
                tbody {
                    @for row in &figures.rows { tr {
                        th scope="row" { (format::size(row.size)) } td.n { (ms(row.ours_ms)) } td.n { (ms(row.linux_ms)) } td.n { (times(row)) }
                        td.n { (bytes(row.ours_resident)) } td.n { (bytes(row.linux_resident)) }
                    } }
                    @if let Some(boot) = figures.boot_s { tr {
                        th scope="row" { "start to prompt" } td.n { (format!("{:.2} s", boot.ours)) } td.n { (format!("{:.2} s", boot.linux)) }
                        td.n { (format!("{:.0} times", boot.linux / boot.ours)) } td.n { "–" } td.n { "–" }
                    } }
                }
            }
        }
    }
}
