//! Start to prompt, `device_add` to `_OST`, and the size of the DIMM's backing then: each DIMM in a fresh guest.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::schema::{Add, PAGE, Resource};
use serde::Serialize;

use ::report::figures::{Figures, LINUX, OURS, What};

use crate::linux::Linux;
use crate::measured::{Measured, Shape};
use crate::plot::{self, Axis, Chart, Series};
use crate::report::{self, Data, Spread};
use guest::size::ByteSize;
use options::BenchArgs;

/// How long a DIMM may take.
const LIMIT: Duration = Duration::from_secs(900);

/// One guest, booted once, with one DIMM.
#[derive(Debug, Serialize)]
struct Run {
    guest: String,
    size: ByteSize,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugged: Option<Plugged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The measurements of one DIMM.
#[derive(Clone, Debug, Serialize)]
struct Plugged {
    /// `device_add` to `_OST`.
    ms: f64,
    /// What QEMU computed in that time.
    cpu_ms: f64,
    /// Bytes of the backing in the host's memory.
    resident: u64,
    /// Bytes of other memory that it used.
    used: u64,
    /// Bytes that can be allocated since.
    gained: u64,
    /// The kernel's own figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    add: Option<Add>,
}

/// Measures, prints, keeps; `figures` gets each guest's.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let largest = cli.sizes.iter().max().context("no sizes (--sizes)")?;
    let memory = memory(cli);
    // QEMU begins the window for DIMMs at a multiple of 1 GiB.
    let max_memory = ByteSize::new(largest.bytes() + memory.bytes() + (1 << 30));
    let shape = Shape { memory, ..Shape::of(cli, max_memory) };
    let linux = cli.linux.as_ref().map(|directory| Linux::find(directory, &cli.linux_append)).transpose()?;
    let mut data = Data::new(linux.as_ref());
    for round in 0..cli.runs {
        for &size in &cli.sizes {
            data.runs.push(Run::of(OURS, size, |run| run.carapace(&shape)));
            report::progress();
            let linux = linux.as_ref().filter(|_| round < cli.linux_runs && cli.linux_sizes.contains(&size));
            if let Some(linux) = linux {
                data.runs.push(Run::of(LINUX, size, |run| run.linux(&shape, linux)));
                report::progress();
            }
        }
    }
    report::keep(&cli.out(guest::task::root()), "plug.json", &data)?;
    data.runs.iter().for_each(|run| run.collect(figures));
    print(&data.runs);
    draw(&data.runs, &cli.out(guest::task::root()))
}

/// Memory at boot: a Linux before 6.8 takes the memmap of a DIMM of several blocks from it, a 64th of the DIMM. Both kernels
/// have the same.
fn memory(cli: &BenchArgs) -> ByteSize {
    let largest = cli.linux.as_ref().and_then(|_| cli.linux_sizes.iter().max());
    let memmap = largest.map_or(0, |largest| largest.bytes() / 64);
    ByteSize::new(crate::measured::MEMORY.bytes() + memmap)
}

impl Run {
    /// A run that `measure` fills in; what fails stands in it.
    fn of(guest: &str, size: ByteSize, measure: impl FnOnce(&mut Run) -> Result<()>) -> Run {
        let mut run = Run { guest: guest.to_owned(), size, boot_s: None, plugged: None, error: None };
        run.error = measure(&mut run).err().map(|error| format!("{error:#}"));
        run
    }

    fn collect(&self, figures: &mut Figures) {
        if let Some(boot_s) = self.boot_s {
            figures.push(What::Start, &self.guest, None, None, boot_s * 1e3);
        }
        if let Some(plugged) = &self.plugged {
            let mut push = |what, value| figures.push(what, &self.guest, Some(self.size), None, value);
            push(What::Add, plugged.ms);
            push(What::AddCpu, plugged.cpu_ms);
            push(What::Backing, plugged.resident as f64);
            push(What::AddUsed, plugged.used as f64);
        }
        if let Some(error) = &self.error {
            figures.failed.push(format!("add, {}, {}: {error}", self.guest, self.size));
        }
    }

    /// Our kernel, booted and plugged.
    fn carapace(&mut self, shape: &Shape) -> Result<()> {
        let mut guest = Measured::carapace(shape)?;
        self.plug(&mut guest)?;
        let resources: Vec<Resource> = guest.json("resources -J")?;
        let mine = resources.into_iter().find(|resource| resource.device != "boot");
        let mine = mine.context("the DIMM is no resource")?;
        let plugged = self.plugged.as_mut().context("it was plugged")?;
        plugged.gained = mine.usable_pages * PAGE;
        plugged.add = Some(mine.add);
        Ok(())
    }

    /// Linux, booted and plugged. Its `_OST` says success whatever happened: what counts is the memory gained.
    fn linux(&mut self, shape: &Shape, linux: &Linux) -> Result<()> {
        let mut guest = Measured::linux(shape, linux)?;
        let before = guest.memory_of_linux()?;
        self.plug(&mut guest)?;
        let gained = guest.memory_of_linux()?.saturating_sub(before);
        let plugged = self.plugged.as_mut().context("it was plugged")?;
        plugged.gained = gained;
        ensure!(gained > self.size.bytes() / 2, "only {gained} bytes of it are usable");
        Ok(())
    }

    fn plug(&mut self, guest: &mut Measured) -> Result<()> {
        self.boot_s = Some(guest.boot.as_secs_f64());
        let free = guest.free_of_node(0)?;
        let plugged = guest.plug(0, self.size, LIMIT)?;
        ensure!(plugged.status == 0, "refused: _OST status {}", plugged.status);
        self.plugged = Some(Plugged {
            ms: plugged.took.as_secs_f64() * 1e3,
            cpu_ms: plugged.cpu.as_secs_f64() * 1e3,
            resident: plugged.resident,
            used: free.saturating_sub(guest.free_of_node(0)?),
            gained: 0,
            add: None,
        });
        Ok(())
    }
}

/// The guests of a run in the order they came.
fn guests(runs: &[Run]) -> Vec<&str> {
    let mut guests: Vec<&str> = Vec::new();
    for run in runs {
        if !guests.contains(&run.guest.as_str()) {
            guests.push(&run.guest);
        }
    }
    guests
}

fn sizes(runs: &[Run]) -> Vec<ByteSize> {
    let mut sizes: Vec<ByteSize> = runs.iter().map(|run| run.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// What `pick` finds in the runs of a guest, at one size or at all.
fn spread(runs: &[Run], guest: &str, size: Option<ByteSize>, pick: fn(&Run) -> Option<f64>) -> Spread {
    let mine = runs.iter().filter(|run| run.guest == guest && size.is_none_or(|size| run.size == size));
    Spread::of(mine.filter_map(pick))
}

const BOOT: fn(&Run) -> Option<f64> = |run| run.boot_s;
const MS: fn(&Run) -> Option<f64> = |run| run.plugged.as_ref().map(|plugged| plugged.ms);
const CPU_MS: fn(&Run) -> Option<f64> = |run| run.plugged.as_ref().map(|plugged| plugged.cpu_ms);
const KIB: fn(&Run) -> Option<f64> =
    |run| run.plugged.as_ref().map(|plugged| plugged.resident as f64 / 1024.0);

fn print(runs: &[Run]) {
    println!("\nleast / median / most; a DIMM each time in a fresh guest");
    let mut table = vec![vec!["guest".to_owned(), "start to prompt, s".to_owned()]];
    for guest in guests(runs) {
        table.push(vec![guest.to_owned(), spread(runs, guest, None, BOOT).show(2)]);
    }
    report::table(&table);
    let boots = spread(runs, LINUX, None, BOOT).median.zip(spread(runs, OURS, None, BOOT).median);
    if let Some((theirs, ours)) = boots {
        println!("Linux takes {:.0} times as long", theirs / ours);
    }
    let heads = [
        "DIMM",
        "guest",
        "device_add to _OST, ms",
        "times ours",
        "QEMU's CPU, ms",
        "times ours",
        "backing, KiB",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for size in sizes(runs) {
        for guest in guests(runs) {
            let of = |pick| spread(runs, guest, Some(size), pick);
            if of(MS).median.is_none() {
                continue;
            }
            let times_ours = |pick| {
                let ours = spread(runs, OURS, Some(size), pick).median.filter(|_| guest != OURS);
                let times = of(pick).median.zip(ours);
                times.map_or_else(String::new, |(theirs, ours)| format!("{:.0}", theirs / ours))
            };
            table.push(vec![
                size.to_string(),
                guest.to_owned(),
                of(MS).show(1),
                times_ours(MS),
                of(CPU_MS).show(1),
                times_ours(CPU_MS),
                of(KIB).show(0),
            ]);
        }
    }
    report::table(&table);
    for run in runs.iter().filter(|run| run.error.is_some()) {
        println!("{} {}: {}", run.guest, run.size, run.error.as_deref().unwrap_or_default());
    }
}

fn draw(runs: &[Run], out: &std::path::Path) -> Result<()> {
    let series = |pick: fn(&Run) -> Option<f64>| -> Vec<Series> {
        let of = |guest: &str| Series {
            name: guest.to_owned(),
            points: sizes(runs)
                .into_iter()
                .filter_map(|size| Some((size.bytes() as f64, spread(runs, guest, Some(size), pick).median?)))
                .collect(),
        };
        guests(runs).into_iter().map(of).collect()
    };
    let charts = [
        Chart { title: "device_add to _OST".into(), y: Axis::named("milliseconds"), series: series(MS) },
        Chart { title: "the DIMM's backing then".into(), y: Axis::named("KiB"), series: series(KIB) },
    ];
    plot::write(&out.join("plug.svg"), &charts)
}
