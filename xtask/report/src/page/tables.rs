//! Resources and sections as tables, in words.

use guest::schema::{PAGE, Section};
use maud::{Markup, html};

use crate::data::Snapshot;
use crate::format;

/// Resources after a step.
pub fn resources(snapshot: &Snapshot) -> Markup {
    html! {
        div.wide role="region" tabindex="0" aria-label="Resources" {
            table {
                caption { "Resources after the step: what came as a whole, and goes as a whole." }
                thead { tr {
                    th scope="col" { "Resource" } th scope="col" { "Device" } th.n scope="col" { "From address" } th.n scope="col" { "Size" }
                    th.n scope="col" { "Memmap" } th.n scope="col" { "Usable" } th.n scope="col" { "Free" } th.n scope="col" { "Largest free block" }
                    th scope="col" { "In words" }
                } }
                tbody { @for row in &snapshot.resources { tr {
                    th scope="row" { (row.id) } td { code { (row.device) } } td.n { code { (format!("{:#x}", row.base)) } }
                    td.n { (format::size(row.size)) } td.n { (format::frames(row.memmap_pages)) } td.n { (format::frames(row.usable_pages)) }
                    td.n { (format::frames(row.free_pages)) } td.n { (format::frames(row.largest_free_pages)) }
                    td { (row.state) ", node " (row.node) "; " (zone(&row.zone)) }
                } } }
            }
        }
    }
}

/// What a zone means.
fn zone(name: &str) -> &str {
    match name {
        "kernel" => "for the kernel's own needs first",
        "movable" => "for movable memory only",
        "any" => "for every kind of allocation",
        other => other,
    }
}

/// Sections that follow each other and are alike but for how much of them is free.
#[derive(Debug)]
struct Alike<'a> {
    first: &'a Section,
    last: &'a Section,
    memmap: u64,
    usable: u64,
    free: u64,
}

fn alike(sections: &[Section]) -> Vec<Alike<'_>> {
    let mut runs: Vec<Alike<'_>> = Vec::new();
    for row in sections {
        let goes_on = |run: &&mut Alike<'_>| {
            let last = run.last;
            let same = |row: &Section| {
                (row.resource, row.state, row.present_pages, row.memmap_pages, row.free_pages)
            };
            last.section + 1 == row.section && same(last) == same(row)
        };
        match runs.last_mut().filter(goes_on) {
            Some(run) => {
                run.last = row;
                run.memmap += row.memmap_pages;
                run.usable += row.usable_pages;
                run.free += row.free_pages;
            }
            None => runs.push(Alike {
                first: row,
                last: row,
                memmap: row.memmap_pages,
                usable: row.usable_pages,
                free: row.free_pages,
            }),
        }
    }
    runs
}

/// Sections after a step; those that are alike share a row.
pub fn sections(snapshot: &Snapshot) -> Markup {
    html! {
        div.wide role="region" tabindex="0" aria-label="Sections" {
            table {
                caption {
                    "Sections after the step: 128 MiB each. Neighbours that are alike share a row; of a large DIMM only those that begin "
                    "and end it are shown."
                }
                thead { tr {
                    th scope="col" { "Sections" } th.n scope="col" { "From address" } th scope="col" { "Resource" } th.n scope="col" { "Memmap" }
                    th.n scope="col" { "Usable" } th.n scope="col" { "Free" } th scope="col" { "In words" }
                } }
                tbody { @for run in alike(&snapshot.sections) { tr {
                    th scope="row" {
                        @if run.first.section == run.last.section { (run.first.section) }
                        @else { (run.first.section) " to " (run.last.section) }
                    }
                    td.n { code { (format!("{:#x}", run.first.start_pfn * PAGE)) } } td { (run.first.resource) }
                    td.n { (format::frames(run.memmap)) } td.n { (format::frames(run.usable)) } td.n { (format::frames(run.free)) }
                    td { (in_words(run.first)) }
                } } }
            }
        }
    }
}

fn in_words(row: &Section) -> String {
    let holds = match (row.state.as_str(), row.memmap_pages) {
        ("memmap", _) => return "descriptors of the frames behind, and nothing else".to_owned(),
        (state, 0) => format!("{state}, all of it usable"),
        (state, _) => format!("{state}, its first part not usable"),
    };
    if row.present_pages < row.pages {
        format!("{holds}; {} of it exist", format::frames(row.present_pages))
    } else {
        holds
    }
}
