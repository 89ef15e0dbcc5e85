//! The page: one file of HTML with its style and pictures inside, made from a scenario's data.
//!
//! Invariants: the page fetches nothing and has no script; it is well-formed XML; each picture has a title and its
//! content in words; all numbers come from [`Data`] and [`Figures`].

mod callouts;
mod costs;
mod tables;

use guest::schema::{Buddyinfo, KINDS};
use maud::{Markup, html};

use crate::buddy_chart::{self, Scale};
use crate::data::{Data, Event, Snapshot, Step};
use crate::figures::Figures;
use crate::html::document;
use crate::{format, locations, map};

/// The page, whole.
pub fn render(data: &Data, kept: &Figures, own: Option<&Figures>) -> String {
    let body = html! {
        header {
            h1 { "A DIMM comes, is used, and goes" }
            p.lead {
                "Carapace is a kernel whose one subject is memory hotplug. All that it keeps about a DIMM lies in the "
                "DIMM itself, so that plugging takes nothing from the memory that was there. This page shows that, "
                "step by step, as it happened in QEMU."
            }
            (tiles(data))
            nav aria-label="Contents" {
                ol {
                    li { a href="#locations" { "Where the memmap lies" } }
                    @for (index, step) in data.steps.iter().enumerate() {
                        li { a href=(format!("#step-{}", index + 1)) { (heading(step)) } }
                    }
                    li { a href="#beside-linux" { "Beside Linux" } }
                    li { a href="#how" { "How this page was made" } }
                }
            }
        }
        main {
            section aria-labelledby="reading" {
                h2 id="reading" { "Reading the pictures" }
                (legend())
                p {
                    "A frame is 4 KiB of memory; a descriptor, the 64 bytes the kernel keeps for a frame; the memmap, all "
                    "descriptors; a section, 128 MiB; a resource, one range of memory that came and goes as a whole; a "
                    "block of order n, 2ⁿ frames that are free together."
                }
            }
            (locations::section())
            @for (index, step) in data.steps.iter().enumerate() { (one(index + 1, step, data)) }
            (costs::beside_linux(kept, own))
            (how(data))
        }
    };
    document("Carapace: a DIMM comes, is used, and goes", &body)
}

/// The figures that matter, in front of everything.
fn tiles(data: &Data) -> Markup {
    let plugged: Vec<_> = data
        .steps
        .iter()
        .filter_map(|step| match &step.event {
            Event::Plugged(resource) => Some(resource),
            Event::Allocated { .. } | Event::Ejected { .. } => None,
        })
        .collect();
    html! {
        ul.tiles {
            @for resource in &plugged {
                li {
                    strong { (format::number(resource.usable_pages)) " frames" }
                    "of a DIMM of " (format::size(resource.size)) " can be used, in one run: all but the 64th part that its memmap takes"
                }
            }
            li {
                strong { (format::count(plugged.iter().map(|r| r.add.existing_pages_used).sum(), "frame", "frames")) }
                "of the memory that was there were taken for that, and "
                (format::count(plugged.iter().map(|r| r.add.existing_heap_bytes_used).sum(), "byte", "bytes")) " of the heap"
            }
            @for step in &data.steps {
                @if let Event::Ejected { migrated, .. } = step.event {
                    li { strong { (format::number(migrated)) " frames" } "in use moved out of a DIMM that left, every byte of them as it was" }
                }
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        ul.legend aria-label="What the colours mean" {
            @for kind in KINDS { li { span class={ "key " (kind.name()) } aria-hidden="true" {} b { (kind.name()) } ", " (map::meaning(kind)) } }
            li { span.key.absent aria-hidden="true" {} b { "absent" } ", no memory there" }
        }
    }
}

/// What a step is called.
fn heading(step: &Step) -> String {
    match &step.event {
        Event::Plugged(resource) => format!("A DIMM of {} is plugged", format::size(resource.size)),
        Event::Allocated { pages, .. } => format!("{} are allocated in it", format::frames(*pages)),
        Event::Ejected { .. } => "It is taken away while it is full".to_owned(),
    }
}

fn one(number: usize, step: &Step, data: &Data) -> Markup {
    let id = format!("step-{number}");
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (number) ". " (heading(step)) }
            pre { code { (step.typed.join("\n")) } }
            @if !step.said.is_empty() {
                p.soft { "The kernel's log:" }
                pre { code { (step.said.join("\n")) } }
            }
            h3 { "What to notice" }
            ul { @for line in callouts::lines(step, data) { li { (line) } } }
            div.pair {
                figure { figcaption { "Memory before" } (map::draw(&step.before, &format!("{id}-before"), "Physical memory before the step")) }
                figure { figcaption { "Memory after" } (map::draw(&step.after, &format!("{id}-after"), "Physical memory after the step")) }
            }
            (free_blocks(&id, step))
            (costs::of(step))
            (tables::resources(&step.after))
            (tables::sections(&step.after))
        }
    }
}

/// Free blocks by order, before and after the step, for the resources that it changed.
fn free_blocks(id: &str, step: &Step) -> Markup {
    let changed = |snapshot: &Snapshot, other: &Snapshot, resource: u32| {
        let free = |snapshot: &Snapshot| {
            snapshot.buddies.iter().find(|buddy| buddy.resource == resource).map(|buddy| buddy.free.clone())
        };
        free(snapshot) != free(other)
    };
    let of = |snapshot: &Snapshot, other: &Snapshot| -> Vec<Buddyinfo> {
        let mine = snapshot.buddies.iter().filter(|buddy| changed(snapshot, other, buddy.resource));
        mine.cloned().collect()
    };
    let (before, after) = (of(&step.before, &step.after), of(&step.after, &step.before));
    let scale = |resource: u32| Scale::of(resource, before.iter().chain(&after));
    let side = |mine: &[Buddyinfo], when: &str| {
        html! {
            @if mine.is_empty() { p.soft { "The DIMM was not there " (when) " the step, and nothing else changed." } }
            @for buddy in mine {
                @let title = format!("Free blocks of resource {} {when} the step", buddy.resource);
                figure {
                    figcaption { (title) }
                    (buddy_chart::draw(buddy, &scale(buddy.resource), &format!("{id}-{when}-{}", buddy.resource), &title))
                }
            }
        }
    };
    html! {
        h3 { "Free blocks by order, where they changed, on one scale" }
        div.pair {
            div { (side(&before, "before")) }
            div { (side(&after, "after")) }
        }
    }
}

fn how(data: &Data) -> Markup {
    html! {
        section aria-labelledby="how" {
            h2 id="how" { "How this page was made" }
            p {
                "By " code { "cargo xtask report" } ", which boots two guests, types and plugs what stands above, checks each figure it "
                "can know beforehand, and lets the kernel's own " code { "check" } " look at everything after each step. The kernel: "
                (data.kernel) ". QEMU " (data.qemu) ", machine q35, emulated, under " code { "-icount shift=0" } ": there a nanosecond of the "
                "guest's clock is an instruction, so the figures are the same on a busy machine as on an idle one."
            }
            p.soft { "The raw data lie beside this page, in data.json; " code { "cargo xtask report --from data.json" } " makes the page again." }
        }
    }
}
