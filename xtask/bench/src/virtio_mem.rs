//! virtio-mem: a device grows from nothing to a size and shrinks to nothing again, each size in a fresh guest.
//!
//! ```text
//!  qom-set requested-size S   until QEMU's last answer to a request       ms, requests (QEMU's trace counts both)
//!                             free memory of node 0 before and after      existing memory that growing used
//!  qom-set requested-size 0   until it is 0, or nothing happens any more  ms, requests, what is left
//! ```
//!
//! The device is on node 1, all boot memory on node 0. Nothing is allocated in the device's memory, and Linux puts it into
//! its movable zone: the best case of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use guest::size::ByteSize;
use options::BenchArgs;
use serde::Serialize;

use ::report::figures::{Figures, LINUX, OURS, What};

use crate::linux::{Linux, MOVABLE};
use crate::measured::{Measured, Shape};
use crate::plot::{self, Axis, Chart, Series};
use crate::report::{self, Data, Spread};

/// A change of size may take this long; Linux needs minutes for 64 GiB.
const LIMIT: Duration = Duration::from_secs(600);
/// Memory at boot: Linux takes the memmap of 64 GiB from it.
const MEMORY: ByteSize = ByteSize::new(4 << 30);

/// One guest, one size.
#[derive(Debug, Serialize)]
struct Run {
    guest: String,
    size: ByteSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    grown: Option<Change>,
    /// Bytes of node 0 that growing used.
    #[serde(skip_serializing_if = "Option::is_none")]
    existing: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shrunk: Option<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A change of the requested size.
#[derive(Clone, Copy, Debug, Serialize)]
struct Change {
    /// From the request for a size to QEMU's last answer.
    ms: f64,
    /// The kernel's requests.
    requests: u64,
    /// Bytes between the requested size and the reached one.
    missing: u64,
}

/// Measures, prints, keeps; `figures` gets each guest's.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let linux = cli.linux.as_ref().map(|directory| Linux::find(directory, MOVABLE)).transpose()?;
    let mut data = Data::new(linux.as_ref());
    let out = cli.out(guest::task::root());
    for round in 0..cli.runs {
        for &size in &cli.virtio_mem_sizes {
            data.runs.push(Run::of(OURS, size, &out, Measured::carapace, cli));
            report::progress();
            if let Some(linux) = linux.as_ref().filter(|_| round < cli.linux_runs) {
                data.runs.push(Run::of(LINUX, size, &out, |shape| Measured::linux(shape, linux), cli));
                report::progress();
            }
        }
    }
    report::keep(&out, "virtio_mem.json", &data)?;
    data.runs.iter().for_each(|run| run.collect(figures));
    print(&data.runs);
    draw(&data.runs, &out)
}

impl Run {
    fn collect(&self, figures: &mut Figures) {
        let changes = [(What::Grow, self.grown), (What::Shrink, self.shrunk)];
        let changes = changes.map(|(what, change)| {
            // A size that was not reached has no time.
            (what, change.filter(|change| change.missing == 0).map(|change| change.ms))
        });
        let used = (What::GrowUsed, self.existing.map(|bytes| bytes as f64));
        for (what, value) in changes.into_iter().chain([used]) {
            if let Some(value) = value {
                figures.push(what, &self.guest, Some(self.size), None, value);
            }
        }
        let missing = [self.grown, self.shrunk].into_iter().flatten().map(|change| change.missing).max();
        let why = self.error.clone().or_else(|| {
            missing.filter(|missing| *missing > 0).map(|missing| format!("{missing} bytes missing or left"))
        });
        figures.failed.extend(why.map(|why| format!("virtio-mem, {}, {}: {why}", self.guest, self.size)));
    }

    /// A run; what fails stands in it.
    fn of(
        guest: &str,
        size: ByteSize,
        out: &Path,
        boot: impl Fn(&Shape) -> Result<Measured>,
        cli: &BenchArgs,
    ) -> Run {
        let (grown, existing, shrunk) = (None, None, None);
        let mut run = Run { guest: guest.to_owned(), size, grown, existing, shrunk, error: None };
        run.error = run.measure(out, boot, cli).err().map(|error| format!("{error:#}"));
        run
    }

    fn measure(
        &mut self,
        out: &Path,
        boot: impl Fn(&Shape) -> Result<Measured>,
        cli: &BenchArgs,
    ) -> Result<()> {
        let trace = Trace(out.join("virtio_mem.trace"));
        let _ = fs::remove_file(&trace.0);
        let size = self.size;
        let words = [
            "-object".to_owned(),
            format!("memory-backend-ram,id=vmem0,size={size},reserve=off"),
            "-device".to_owned(),
            "virtio-mem-pci,id=vm0,memdev=vmem0,node=1,requested-size=0,unplugged-inaccessible=on".to_owned(),
            "-trace".to_owned(),
            "virtio_mem_*".to_owned(),
            "-msg".to_owned(),
            "timestamp=on".to_owned(),
            "-D".to_owned(),
            trace.0.to_str().context("a path in UTF-8")?.to_owned(),
        ];
        let max_memory = ByteSize::new(size.bytes() + (16 << 30));
        let shape = Shape { memory: MEMORY, qemu: words.to_vec(), ..Shape::of(cli, max_memory) };
        let mut guest = boot(&shape)?;
        let before = guest.free_of_node(0)?;
        self.grown = Some(trace.change(&mut guest, size.bytes())?);
        // The kernel's work after the last answer.
        std::thread::sleep(Duration::from_secs(1));
        self.existing = Some(before.saturating_sub(guest.free_of_node(0)?));
        self.shrunk = Some(trace.change(&mut guest, 0)?);
        Ok(())
    }
}

/// QEMU's trace of a virtio-mem device: lines `process@seconds:event ...`.
struct Trace(PathBuf);

impl Trace {
    /// The requests so far, and the time of the last answer.
    fn read(&self) -> (u64, f64) {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let (mut requests, mut last) = (0, 0.0);
        for line in text.lines() {
            let Some((place, event)) = line.split_once(":virtio_mem_") else { continue };
            if event.contains("plug_request") || event.contains("unplug_all_request") {
                requests += 1;
            } else if event.starts_with("send_response") {
                let seconds = place.split_once('@').and_then(|(_, seconds)| seconds.parse().ok());
                last = seconds.unwrap_or(last);
            }
        }
        (requests, last)
    }

    /// Asks for a size, and waits until it is reached or nothing comes any more.
    fn change(&self, guest: &mut Measured, size: u64) -> Result<Change> {
        let before = self.read().0;
        let start = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
        let missing = guest.resize("vm0", size, LIMIT)?;
        // The trace is written behind the answer.
        std::thread::sleep(Duration::from_millis(200));
        let (requests, last) = self.read();
        Ok(Change { ms: (last - start).max(0.0) * 1e3, requests: requests - before, missing })
    }
}

/// What a column shows of a run.
type Pick = fn(&Run) -> Option<f64>;

fn spread(runs: &[Run], guest: &str, size: ByteSize, pick: Pick) -> Spread {
    let mine = runs.iter().filter(|run| run.guest == guest && run.size == size);
    Spread::of(mine.filter_map(pick))
}

const GROW_MS: Pick = |run| run.grown.map(|change| change.ms);
const SHRINK_MS: Pick = |run| run.shrunk.map(|change| change.ms);

fn sizes(runs: &[Run]) -> Vec<ByteSize> {
    let mut sizes: Vec<ByteSize> = runs.iter().map(|run| run.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn print(runs: &[Run]) {
    println!("\nleast / median / most; each size in a fresh guest, nothing allocated in it");
    let heads =
        ["size", "guest", "grow, ms", "requests", "existing, KiB", "shrink, ms", "requests", "left, KiB"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for size in sizes(runs) {
        for guest in [OURS, LINUX].into_iter().filter(|guest| runs.iter().any(|run| run.guest == *guest)) {
            let of = |pick: Pick, digits| spread(runs, guest, size, pick).show(digits);
            table.push(vec![
                size.to_string(),
                guest.to_owned(),
                of(GROW_MS, 1),
                of(|run| run.grown.map(|change| change.requests as f64), 0),
                of(|run| run.existing.map(|bytes| bytes as f64 / 1024.0), 0),
                of(SHRINK_MS, 1),
                of(|run| run.shrunk.map(|change| change.requests as f64), 0),
                of(|run| run.shrunk.map(|change| change.missing as f64 / 1024.0), 0),
            ]);
        }
    }
    report::table(&table);
    for run in runs.iter().filter(|run| run.error.is_some()) {
        println!("{} {}: {}", run.guest, run.size, run.error.as_deref().unwrap_or_default());
    }
}

fn draw(runs: &[Run], out: &Path) -> Result<()> {
    let series = |pick: Pick| -> Vec<Series> {
        let of = |guest: &str| Series {
            name: guest.to_owned(),
            points: sizes(runs)
                .into_iter()
                .filter_map(|size| Some((size.bytes() as f64, spread(runs, guest, size, pick).median?)))
                .collect(),
        };
        [OURS, LINUX].into_iter().map(of).filter(|series| !series.points.is_empty()).collect()
    };
    let charts = [
        Chart {
            title: "from nothing to a size".into(),
            y: Axis::named("milliseconds"),
            series: series(GROW_MS),
        },
        Chart { title: "and back".into(), y: Axis::named("milliseconds"), series: series(SHRINK_MS) },
    ];
    plot::write(&out.join("virtio_mem.svg"), &charts)
}
