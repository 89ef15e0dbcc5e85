//! The three places where a DIMM's memmap can lie, on one scale: elsewhere, at the start of each block, at the start of the DIMM.
//!
//! ```text
//!  elsewhere      |mm| in other memory
//!                 | one run                                  |
//!  per block      |m|     |m|     |m|     |m|     |m|        |
//!  per resource   |mm| one run                               |
//! ```
//!
//! Nothing here is measured: the figures follow from the sizes of a page, a descriptor, a section.

use guest::schema::{PAGE, SECTION_PAGES};
use maud::{Markup, html};

use crate::format;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 96.0;
const BAR: f64 = 26.0;
/// From one location to the next, with the line of figures below the bar.
const STEP: f64 = 62.0;
/// What is drawn at least: the memmap of a block would be thinner.
const THINNEST: f64 = 2.0;
/// The DIMM.
const DIMM: u64 = 4 << 30;
const SECTION: u64 = SECTION_PAGES * PAGE;
/// Bytes of memory for each byte of its descriptors.
const PER_DESCRIPTOR_BYTE: u64 = PAGE / 64;
const LARGE: u64 = 1 << 30;

/// A location: its name, the parts that are memmap, and what follows from them.
struct Location {
    name: &'static str,
    whose: &'static str,
    memmaps: Vec<(u64, u64)>,
    /// Bytes of other memory.
    elsewhere: u64,
}

impl Location {
    /// The longest run of usable bytes.
    fn run(&self) -> u64 {
        self.runs().map(|(from, end)| end - from).max().unwrap_or(0)
    }

    /// Pages of 1 GiB that it has.
    fn large(&self) -> u64 {
        self.runs().map(|(from, end)| (end / LARGE).saturating_sub(from.div_ceil(LARGE))).sum()
    }

    fn usable(&self) -> u64 {
        self.runs().map(|(from, end)| end - from).sum()
    }

    /// What lies between the memmaps, and behind the last one.
    fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        let from = [0].into_iter().chain(self.memmaps.iter().map(|(start, length)| start + length));
        let ends = self.memmaps.iter().map(|(start, _)| *start).chain([DIMM]);
        from.zip(ends)
    }

    fn figures(&self) -> String {
        format!(
            "usable {}; longest run {}; pages of 1 GiB: {}; from other memory: {}",
            format::size(self.usable()),
            format::size(self.run()),
            self.large(),
            format::size(self.elsewhere)
        )
    }
}

fn locations() -> [Location; 3] {
    let memmap = DIMM / PER_DESCRIPTOR_BYTE;
    let blocks = (0..DIMM / SECTION).map(|block| (block * SECTION, SECTION / PER_DESCRIPTOR_BYTE)).collect();
    [
        Location { name: "elsewhere", whose: "Linux", memmaps: Vec::new(), elsewhere: memmap },
        Location { name: "per block", whose: "memmap_on_memory", memmaps: blocks, elsewhere: 0 },
        Location { name: "per resource", whose: "Carapace", memmaps: vec![(0, memmap)], elsewhere: 0 },
    ]
}

/// The section of the page.
pub fn section() -> Markup {
    let unit = (WIDTH - LEFT) / DIMM as f64;
    let width = |bytes: u64| (bytes as f64 * unit).max(THINNEST);
    let short = |value: f64| format!("{value:.1}");
    html! {
        section aria-labelledby="locations" {
            h2 id="locations" { "Where the memmap lies" }
            p {
                "A memmap takes a 64th of the memory that it describes. A DIMM of " (format::size(DIMM)) ", on one scale, with its memmap in the "
                "three places where kernels put it. The figures follow from the sizes; nothing here is measured."
            }
            div.wide role="region" tabindex="0" aria-label="Where the memmap lies" {
                svg.locations viewBox=(format!("0 0 {WIDTH} {}", STEP * 3.0)) role="img" aria-labelledby="locations-t locations-d" xmlns="http://www.w3.org/2000/svg" {
                    title id="locations-t" { "The memmap elsewhere, per block, per resource" }
                    desc id="locations-d" {
                        @for location in locations() { (location.name) " (" (location.whose) "): " (location.figures()) ". " }
                    }
                    @for (row, location) in locations().iter().enumerate() {
                        @let y = row as f64 * STEP + 4.0;
                        text.head x="0" y=(y + 11.0) { (location.name) }
                        text.whose x="0" y=(y + 23.0) { (location.whose) }
                        rect.free x=(LEFT) y=(y) width=(WIDTH - LEFT) height=(BAR) {}
                        @for &(start, length) in &location.memmaps {
                            rect.memmap x=(short(LEFT + start as f64 * unit)) y=(y) width=(short(width(length))) height=(BAR) {}
                        }
                        text.figures x=(LEFT) y=(y + BAR + 13.0) { (location.figures()) }
                        @if location.elsewhere > 0 {
                            @let x = LEFT + 0.72 * (WIDTH - LEFT);
                            rect.memmap x=(short(x)) y=(y + BAR + 4.0) width=(short(width(location.elsewhere))) height="12" {}
                            text.figures x=(short(x + width(location.elsewhere) + 5.0)) y=(y + BAR + 13.0) { "its memmap, in other memory" }
                        }
                    }
                }
            }
            p.soft { "The memmap of a block, " (format::size(SECTION / PER_DESCRIPTOR_BYTE)) " of " (format::size(SECTION)) ", is drawn wider than it is." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves the table of docs/memmap.md: usable memory, the longest run, pages of 1 GiB, memory from elsewhere. Fails when the
    /// picture and that table differ.
    #[test]
    fn figures_of_the_document() {
        let [elsewhere, block, resource] = locations();
        let figures = |location: &Location| {
            (location.usable() >> 20, location.run() >> 20, location.large(), location.elsewhere >> 20)
        };
        assert_eq!(figures(&elsewhere), (4096, 4096, 4, 64));
        assert_eq!(figures(&block), (4032, 126, 0, 0));
        assert_eq!(figures(&resource), (4032, 4032, 3, 0));
        let document = include_str!("../../../docs/memmap.md");
        let row =
            |name: &str| document.lines().find(|line| line.starts_with(&format!("| {name}"))).expect("a row");
        let cells = |name: &str| -> Vec<String> {
            row(name).split('|').skip(2).take(3).map(|cell| cell.trim().to_owned()).collect()
        };
        assert_eq!(cells("pages of 1 GiB"), ["4", "0", "3"]);
        assert_eq!(cells("existing memory used"), ["64 MiB", "0", "0"]);
        assert_eq!(cells("longest run"), ["4 GiB", "126 MiB", "3.94 GiB"]);
        assert_eq!(cells("usable"), ["4 GiB", "3.94 GiB", "3.94 GiB"]);
    }
}
