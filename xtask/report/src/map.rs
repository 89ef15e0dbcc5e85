//! A picture of physical memory: a bar for each extent of a resource, its content in colours and words.
//!
//! ```text
//!  node 1, resource 1: 256 MiB in rows of 64 MiB
//!  0x100000000 | memmap | free                                   |
//!  0x104000000 | free                                            |
//! ```
//!
//! Rows come from the model of the shell's `map`, each a single cell wide. The part of an extent in a row is a separate
//! bar, so that a pointer on it shows its frames. The width is that of a phone, so that letters are legible there; on a
//! larger screen it grows with its column.

use carapace_cli::memory_map::{Part, Scale, Screen};
use guest::schema::{Extent, KINDS, Kind, PAGE, Resource};
use maud::{Markup, html};

use crate::data::Snapshot;
use crate::format;

/// Units of the picture's width.
const WIDTH: f64 = 360.0;
/// Where bars begin: addresses stand to the left of them.
const LEFT: f64 = 84.0;
const BAR: f64 = 16.0;
const STEP: f64 = 19.0;
const HEAD: f64 = 18.0;
/// The least width of a bar: thinner ones are invisible.
const THINNEST: f64 = 1.0;
/// The least width of a bar that shows its word.
const ROOM_A_LETTER: f64 = 6.4;
/// Rows of a resource, at most, and the shortest: 64 MiB.
const SCREEN: Screen = Screen { columns: 1, rows: 8, cell_min: (64 << 20) / PAGE };

/// What a kind of memory is.
pub const fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Free => "free to be allocated",
        Kind::Used => "allocated, and filled with a pattern",
        Kind::Memmap => "the resource's own data: descriptors of its frames, its header, its page tables",
        Kind::Boot => "occupied since boot: kernel, heap, firmware's tables",
        Kind::Offline => "present, but not to be allocated from",
        Kind::Unplugged => "not plugged by its virtio-mem device",
    }
}

/// A part of a row.
#[derive(Debug)]
struct Bar {
    kind: Kind,
    x: f64,
    y: f64,
    width: f64,
    part: Part,
}

/// The map of a snapshot. `id` tells it from the page's other pictures, `title` says which moment it is.
pub fn draw(snapshot: &Snapshot, id: &str, title: &str) -> Markup {
    let mut y = 0.0;
    let mut heads = Vec::new();
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for resource in &snapshot.resources {
        let (first, frames) = (resource.base / PAGE, resource.size / PAGE);
        let scale = Scale::fit(SCREEN, &mut |tell| tell(first, frames));
        heads.push((y + 11.0, head(resource, scale)));
        y += HEAD;
        for row in scale.rows(first, frames) {
            rows.push((y, row.number * scale.row_pages() * PAGE));
            let mine = snapshot.extents.iter().filter(|extent| extent.resource == resource.id);
            let mut mine: Vec<Bar> = mine.filter_map(|extent| bar(extent, scale, row.number, y)).collect();
            // Thin bars are drawn on top of their neighbours.
            mine.sort_by(|a, b| b.width.total_cmp(&a.width));
            bars.extend(mine);
            y += STEP;
        }
        y += 4.0;
    }
    html! {
        svg.map viewBox=(format!("0 0 {WIDTH} {y}")) role="img" aria-labelledby=(format!("{id}-t {id}-d")) xmlns="http://www.w3.org/2000/svg" {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) { (describe(snapshot)) }
            @for (y, text) in &heads { text.head x="0" y=(y) { (text) } }
            @for (y, address) in &rows {
                text.address x=(LEFT - 5.0) y=(y + 11.5) { (format!("{address:#011x}")) }
                rect.absent x=(LEFT) y=(y) width=(WIDTH - LEFT) height=(BAR) {}
            }
            @for Bar { kind, x, y, width, part } in &bars {
                @let name = kind.name();
                g {
                    title { (format!("{name}: {} from frame {:#x} on", format::frames(part.pages), part.start_pfn)) }
                    rect class=(name) x=(short(*x)) y=(y) width=(short(*width)) height=(BAR) {}
                    @if *width > ROOM_A_LETTER * name.len() as f64 {
                        text class=(format!("on-{name}")) x=(short(x + 4.0)) y=(y + 11.5) { (name) }
                    }
                }
            }
        }
    }
}

/// A coordinate with no more digits than can be seen.
fn short(value: f64) -> String {
    format!("{value:.2}")
}

fn head(resource: &Resource, scale: Scale) -> String {
    let (size, row) = (format::size(resource.size), format::frames(scale.row_pages()));
    format!("resource {}, node {}: {size}, a row is {row}", resource.id, resource.node)
}

/// The part of `extent` that a row shows.
fn bar(extent: &Extent, scale: Scale, row: u64, y: f64) -> Option<Bar> {
    let part = scale.rows(extent.start_pfn, extent.pages).find(|part| part.number == row)?;
    let unit = (WIDTH - LEFT) / scale.row_pages() as f64;
    let width = (part.pages as f64 * unit).max(THINNEST);
    let x = (LEFT + (part.start_pfn - row * scale.row_pages()) as f64 * unit).min(WIDTH - width);
    Some(Bar { kind: extent.kind, x, y, width, part })
}

/// The picture in words.
fn describe(snapshot: &Snapshot) -> String {
    let of = |resource: &Resource| {
        let parts = KINDS.into_iter().filter_map(|kind| {
            let mine = snapshot.extents.iter().filter(|e| e.resource == resource.id && e.kind == kind);
            let pages: u64 = mine.map(|extent| extent.pages).sum();
            (pages > 0).then(|| format!("{} {}", format::frames(pages), kind.name()))
        });
        let parts: Vec<String> = parts.collect();
        format!("Resource {} at {:#x}: {}.", resource.id, resource.base, parts.join(", "))
    };
    snapshot.resources.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Proves that a resource has a row for each piece of it and none behind its end, at most eight, of 64 MiB at least.
    #[test]
    fn rows_end_with_the_resource() {
        let rows = |base: u64, size: u64| {
            let (first, frames) = (base / PAGE, size / PAGE);
            let scale = Scale::fit(SCREEN, &mut |tell| tell(first, frames));
            let numbers: Vec<u64> = scale.rows(first, frames).map(|row| row.number).collect();
            (scale.row_pages() * PAGE / MIB, numbers)
        };
        assert_eq!(rows(4096 * MIB, 256 * MIB), (64, vec![64, 65, 66, 67]));
        assert_eq!(rows(4096 * MIB, 256 * MIB + PAGE), (64, vec![64, 65, 66, 67, 68]));
        assert_eq!(rows(MIB, 63 * MIB), (64, vec![0]));
        assert_eq!(rows(1 << 40, 1 << 40), (128 << 10, (8..16).collect()));
    }

    /// Proves that of an extent over several rows each shows its own part, from the bar's beginning and to its end; that
    /// one frame in 64 MiB is seen, also at the very end; and that other rows have nothing of it.
    #[test]
    fn a_row_shows_its_own_part() {
        let scale = Scale::fit(SCREEN, &mut |tell| tell(0, 1));
        let part = |start_pfn: u64, pages: u64, row: u64| {
            let extent = Extent { start_pfn, pages, node: 0, resource: 0, kind: Kind::Used };
            bar(&extent, scale, row, 0.0).map(|bar| (bar.x, bar.x + bar.width))
        };
        let middle = (LEFT + WIDTH) / 2.0;
        let over_three = [0, 1, 2, 3].map(|row| part(0x2000, 0x8000, row));
        assert_eq!(over_three, [Some((middle, WIDTH)), Some((LEFT, WIDTH)), Some((LEFT, middle)), None]);
        assert_eq!(part(0, 1, 0), Some((LEFT, LEFT + THINNEST)));
        assert_eq!(part(0x3fff, 1, 0), Some((WIDTH - THINNEST, WIDTH)));
    }
}
