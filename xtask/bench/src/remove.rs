//! A DIMM leaves: unused, and with four fifths of it in use, each size in a fresh guest.
//!
//! ```text
//!  plug dimm0, device_del            until DEVICE_DELETED                                        idle
//!  plug dimm1, fill, device_del      the same; Linux fills a file in memory bound to the node    full
//!  (full - idle) / pages             what a page that migrates costs
//! ```
//!
//! Boot memory has space for the content. Linux puts the DIMM into its movable zone, or it could not leave.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::schema::{Alloc, PAGE, Verify};
use guest::size::ByteSize;
use options::BenchArgs;
use serde::Serialize;

use ::report::figures::{Figures, LINUX, OURS, What};

use crate::linux::{Linux, MOVABLE};
use crate::measured::{Measured, Shape};
use crate::report::{self, Data, Spread};

/// An add or a removal may take this long.
const LIMIT: Duration = Duration::from_secs(600);

/// One guest, one size.
#[derive(Debug, Serialize)]
struct Run {
    guest: String,
    size: ByteSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_ms: Option<f64>,
    /// Pages in use before the second removal.
    pages: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Measures, prints, keeps; `figures` gets each guest's.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let linux = cli.linux.as_ref().map(|directory| Linux::find(directory, MOVABLE)).transpose()?;
    let mut data = Data::new(linux.as_ref());
    for round in 0..cli.runs {
        for &size in &cli.remove_sizes {
            let shape = Shape {
                memory: ByteSize::new(size.bytes() + (1 << 30)),
                ..Shape::of(cli, ByteSize::new(3 * size.bytes() + (4 << 30)))
            };
            data.runs.push(Run::of(OURS, size, |run| run.carapace(&shape)));
            report::progress();
            if let Some(linux) = linux.as_ref().filter(|_| round < cli.linux_runs) {
                data.runs.push(Run::of(LINUX, size, |run| run.linux(&shape, linux)));
                report::progress();
            }
        }
    }
    report::keep(&cli.out(guest::task::root()), "remove.json", &data)?;
    data.runs.iter().for_each(|run| run.collect(figures));
    print(&data.runs);
    Ok(())
}

impl Run {
    /// A run that `measure` fills in; what fails stands in it.
    fn of(guest: &str, size: ByteSize, measure: impl FnOnce(&mut Run) -> Result<()>) -> Run {
        // Whole MiB, which `dd` counts.
        let pages = (size.bytes() / 5 * 4) >> 20 << 20 >> PAGE.trailing_zeros();
        let (idle_ms, full_ms) = (None, None);
        let mut run = Run { guest: guest.to_owned(), size, idle_ms, full_ms, pages, error: None };
        run.error = measure(&mut run).err().map(|error| format!("{error:#}"));
        run
    }

    fn carapace(&mut self, shape: &Shape) -> Result<()> {
        let mut guest = Measured::carapace(shape)?;
        self.idle_ms = Some(add_and_remove(&mut guest, 0, self.size, |_| Ok(()))?);
        let mut filled = 0;
        let bytes = self.pages * PAGE;
        let full = add_and_remove(&mut guest, 1, self.size, |guest| {
            let allocated: Alloc = guest.json(&format!("alloc {bytes} --node 1 -J"))?;
            filled = allocated.pages;
            Ok(())
        });
        ensure!(filled == self.pages, "{filled} pages were allocated");
        self.full_ms = Some(full?);
        let verified: Verify = guest.json("verify -J")?;
        ensure!(verified.ok && verified.pages == filled, "{} pages are bad", verified.bad_pages);
        Ok(())
    }

    fn linux(&mut self, shape: &Shape, linux: &Linux) -> Result<()> {
        let mut guest = Measured::linux(shape, linux)?;
        self.idle_ms = Some(add_and_remove(&mut guest, 0, self.size, |_| Ok(()))?);
        let (size, mib) = (self.size, (self.pages * PAGE) >> 20);
        let full = add_and_remove(&mut guest, 1, size, |guest| {
            let before = guest.free_of_node(1)?;
            guest.run(&format!(
                "mkdir -p /node1; mount -t tmpfs -o size={size},mpol=bind:1 none /node1; \
                 dd if=/dev/zero of=/node1/file bs=1M count={mib} 2>/dev/null"
            ))?;
            let taken = before.saturating_sub(guest.free_of_node(1)?);
            ensure!(taken >> 20 >= mib / 10 * 9, "the file takes {} MiB of node 1", taken >> 20);
            Ok(())
        });
        self.full_ms = Some(full?);
        Ok(())
    }

    /// What a page's migration adds to a removal.
    fn ns_per_page(&self) -> Option<f64> {
        Some((self.full_ms? - self.idle_ms?) * 1e6 / self.pages as f64)
    }

    fn collect(&self, figures: &mut Figures) {
        let values = [
            (What::RemoveIdle, self.idle_ms),
            (What::RemoveFull, self.full_ms),
            (What::Move, self.ns_per_page()),
        ];
        for (what, value) in values {
            if let Some(value) = value {
                figures.push(what, &self.guest, Some(self.size), None, value);
            }
        }
        figures
            .failed
            .extend(self.error.as_ref().map(|why| format!("remove, {}, {}: {why}", self.guest, self.size)));
    }
}

/// Plugs a DIMM, fills it, asks for it back: the milliseconds that the last takes.
fn add_and_remove(
    guest: &mut Measured,
    number: u32,
    size: ByteSize,
    fill: impl FnOnce(&mut Measured) -> Result<()>,
) -> Result<f64> {
    let plugged = guest.plug(number, size, LIMIT)?;
    ensure!(plugged.status == 0, "dimm{number} was refused: _OST status {}", plugged.status);
    fill(guest).with_context(|| format!("filling dimm{number}"))?;
    Ok(guest.unplug(number, LIMIT)?.as_secs_f64() * 1e3)
}

fn print(runs: &[Run]) {
    println!("\nleast / median / most; device_del to DEVICE_DELETED, each size in a fresh guest");
    let heads = ["DIMM", "guest", "unused, ms", "MiB in use", "in use, ms", "ns a page moved"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    let mut kinds: Vec<(ByteSize, &str, u64)> =
        runs.iter().map(|run| (run.size, run.guest.as_str(), run.pages)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for (size, guest, pages) in kinds {
        let mine = || runs.iter().filter(move |run| run.size == size && run.guest == guest);
        let of = |pick: fn(&Run) -> Option<f64>, digits| Spread::of(mine().filter_map(pick)).show(digits);
        table.push(vec![
            size.to_string(),
            guest.to_owned(),
            of(|run| run.idle_ms, 1),
            ((pages * PAGE) >> 20).to_string(),
            of(|run| run.full_ms, 1),
            of(Run::ns_per_page, 0),
        ]);
    }
    report::table(&table);
    for run in runs.iter().filter(|run| run.error.is_some()) {
        println!("{} {}: {}", run.guest, run.size, run.error.as_deref().unwrap_or_default());
    }
}
