//! Physical memory as a picture: a bar for each stretch of a resource, what it holds in colours and words.
//!
//! ```text
//!  node 1, resource 1: 256 MiB in rows of 64 MiB
//!  0x100000000 | memmap | free                                   |
//!  0x104000000 | free                                            |
//! ```
//!
//! The width is that of a phone, so that letters can be read there; on a larger screen it grows with its column.

use std::ops::RangeInclusive;

use guest::schema::{Extent, PAGE, Resource};
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
/// What is thinner would not be seen.
const THINNEST: f64 = 1.0;
/// A bar at least this wide has room for its word.
const ROOM_A_LETTER: f64 = 6.4;
/// Bytes of the shortest row.
const ROW_MIN: u64 = 64 << 20;
/// Rows of a resource, at most.
const ROWS: u64 = 8;

/// The kinds of memory, with their words.
pub const KINDS: [(&str, &str); 5] = [
    ("free", "free to be allocated"),
    ("used", "allocated, and filled with a pattern"),
    ("memmap", "the resource's own data: descriptors of its frames, its header, its page tables"),
    ("boot", "occupied since boot: kernel, heap, firmware's tables"),
    ("offline", "present, but not to be allocated from"),
];

/// Bytes of a row: a power of two that gives at most [`ROWS`].
fn row_bytes(resource: &Resource) -> u64 {
    let mut row = ROW_MIN;
    while resource.size.div_ceil(row) > ROWS {
        row *= 2;
    }
    row
}

/// The rows that a resource lies in, each a multiple of `row` bytes; it has at least one byte.
fn rows_of(base: u64, size: u64, row: u64) -> RangeInclusive<u64> {
    base / row..=(base + size - 1) / row
}

/// A part of a row.
#[derive(Debug)]
struct Cell<'a> {
    kind: &'a str,
    x: f64,
    y: f64,
    width: f64,
    start_pfn: u64,
    pages: u64,
}

/// The map of a snapshot. `id` tells it from the page's other pictures, `title` says which moment it is.
pub fn draw(snapshot: &Snapshot, id: &str, title: &str) -> Markup {
    let mut y = 0.0;
    let mut heads = Vec::new();
    let mut rows = Vec::new();
    let mut cells = Vec::new();
    for resource in &snapshot.resources {
        let row = row_bytes(resource);
        heads.push((y + 11.0, head(resource, row)));
        y += HEAD;
        for index in rows_of(resource.base, resource.size, row) {
            rows.push((y, index * row));
            let mut mine: Vec<Cell<'_>> = snapshot
                .extents
                .iter()
                .filter(|extent| extent.resource == resource.id)
                .filter_map(|extent| cell(extent, index * row, row, y))
                .collect();
            // What is thin lies on top of its neighbours.
            mine.sort_by(|a, b| b.width.total_cmp(&a.width));
            cells.extend(mine);
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
            @for cell in &cells {
                g {
                    title { (format!("{}: {} from frame {:#x} on", cell.kind, format::frames(cell.pages), cell.start_pfn)) }
                    rect class=(cell.kind) x=(short(cell.x)) y=(cell.y) width=(short(cell.width)) height=(BAR) {}
                    @if cell.width > ROOM_A_LETTER * cell.kind.len() as f64 {
                        text class=(format!("on-{}", cell.kind)) x=(short(cell.x + 4.0)) y=(cell.y + 11.5) { (cell.kind) }
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

fn head(resource: &Resource, row: u64) -> String {
    let size = format::size(resource.size);
    format!("resource {}, node {}: {size}, a row is {}", resource.id, resource.node, format::size(row))
}

/// The part of `extent` that the row from `start` on shows.
fn cell<'a>(extent: &'a Extent, start: u64, row: u64, y: f64) -> Option<Cell<'a>> {
    let (first, end) = (extent.start_pfn * PAGE, (extent.start_pfn + extent.pages) * PAGE);
    let (from, to) = (first.max(start), end.min(start + row));
    let scale = (WIDTH - LEFT) / row as f64;
    (from < to).then(|| {
        let width = ((to - from) as f64 * scale).max(THINNEST);
        let x = (LEFT + (from - start) as f64 * scale).min(WIDTH - width);
        Cell { kind: &extent.kind, x, y, width, start_pfn: extent.start_pfn, pages: extent.pages }
    })
}

/// The picture in words.
fn describe(snapshot: &Snapshot) -> String {
    let of = |resource: &Resource| {
        let parts: Vec<String> = KINDS
            .iter()
            .filter_map(|(kind, _)| {
                let mine = snapshot.extents.iter().filter(|e| e.resource == resource.id && e.kind == *kind);
                let pages: u64 = mine.map(|extent| extent.pages).sum();
                (pages > 0).then(|| format!("{} {kind}", format::frames(pages)))
            })
            .collect();
        format!("Resource {} at {:#x}: {}.", resource.id, resource.base, parts.join(", "))
    };
    snapshot.resources.iter().map(of).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Proves that a resource has a row for each piece of it and none behind its end.
    #[test]
    fn rows_end_with_the_resource() {
        assert_eq!(rows_of(4096 * MIB, 256 * MIB, 64 * MIB), 64..=67);
        assert_eq!(rows_of(4096 * MIB, 256 * MIB + 1, 64 * MIB), 64..=68);
        assert_eq!(rows_of(MIB, 63 * MIB, 64 * MIB), 0..=0);
    }

    /// Proves that of an extent over several rows each shows its own part, from the bar's beginning and to its end; that
    /// one frame in 64 MiB is seen, also at the very end; and that other rows have nothing of it.
    #[test]
    fn a_row_shows_its_own_part() {
        let row = 64 * MIB;
        let part = |start_pfn: u64, pages: u64, index: u64| {
            let extent = Extent { start_pfn, pages, node: 0, resource: 0, kind: "used".to_owned() };
            cell(&extent, index * row, row, 0.0).map(|cell| (cell.x, cell.x + cell.width))
        };
        let middle = (LEFT + WIDTH) / 2.0;
        let over_three = [0, 1, 2, 3].map(|index| part(0x2000, 0x8000, index));
        assert_eq!(over_three, [Some((middle, WIDTH)), Some((LEFT, WIDTH)), Some((LEFT, middle)), None]);
        assert_eq!(part(0, 1, 0), Some((LEFT, LEFT + THINNEST)));
        assert_eq!(part(0x3fff, 1, 0), Some((WIDTH - THINNEST, WIDTH)));
    }
}
