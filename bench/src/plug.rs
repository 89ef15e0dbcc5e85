//! Start to prompt, `device_add` to `_OST`, and what the DIMM's backing holds then: each DIMM in a fresh guest.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;
use tests::answers::{Add, Resource};

use crate::cli::Cli;
use crate::guest::{Guest, Shape};
use crate::host::Host;
use crate::plot::{self, Axis, Chart, Series};
use crate::report::{self, Spread};
use crate::size::Size;

/// How long a DIMM may take.
const LIMIT: Duration = Duration::from_secs(900);

/// The raw data of a run.
#[derive(Debug, Serialize)]
struct Data {
    host: Host,
    runs: Vec<Run>,
}

/// One guest, booted once, with one DIMM.
#[derive(Debug, Serialize)]
struct Run {
    guest: String,
    size: Size,
    #[serde(skip_serializing_if = "Option::is_none")]
    boot_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plugged: Option<Plugged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What the DIMM did.
#[derive(Clone, Debug, Serialize)]
struct Plugged {
    /// `device_add` to `_OST`.
    ms: f64,
    /// What QEMU computed in that time.
    cpu_ms: f64,
    /// Bytes of the backing in the host's memory.
    resident: u64,
    /// What the kernel itself says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    add: Option<Add>,
}

/// Measures, prints, keeps.
pub fn bench(cli: &Cli) -> Result<()> {
    let host = Host::describe();
    host.print();
    let largest = cli.sizes.iter().max().context("no sizes (--sizes)")?;
    let shape = Shape {
        machine: cli.machine.clone(),
        cpu: cli.cpu.clone(),
        slots: cli.slots,
        max_memory: Size(largest.0 + (1 << 30)),
        qemu: Vec::new(),
    };
    let mut data = Data { host, runs: Vec::new() };
    for _ in 0..cli.runs {
        for &size in &cli.sizes {
            data.runs.push(carapace(&shape, size));
            report::progress();
        }
    }
    report::keep(&cli.out(), "plug.json", &data)?;
    print(&data.runs);
    draw(&data.runs, &cli.out())
}

/// Our kernel, booted and plugged.
fn carapace(shape: &Shape, size: Size) -> Run {
    let mut run = Run { guest: "Carapace".into(), size, boot_s: None, plugged: None, error: None };
    run.error = carapace_into(&mut run, shape).err().map(|error| format!("{error:#}"));
    run
}

fn carapace_into(run: &mut Run, shape: &Shape) -> Result<()> {
    let mut guest = Guest::carapace(shape)?;
    run.boot_s = Some(guest.boot.as_secs_f64());
    let plugged = guest.plug(0, run.size, LIMIT)?;
    anyhow::ensure!(plugged.status == 0, "refused: _OST status {}", plugged.status);
    let resources: Vec<Resource> = guest.json("resources -J")?;
    let mine = resources.into_iter().find(|resource| resource.device != "boot");
    let add = mine.context("the DIMM is no resource")?.add;
    run.plugged = Some(Plugged {
        ms: plugged.took.as_secs_f64() * 1e3,
        cpu_ms: plugged.cpu.as_secs_f64() * 1e3,
        resident: plugged.resident,
        add: Some(add),
    });
    Ok(())
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

fn sizes(runs: &[Run]) -> Vec<Size> {
    let mut sizes: Vec<Size> = runs.iter().map(|run| run.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// What `pick` finds in the runs of a guest, at one size or at all.
fn spread(runs: &[Run], guest: &str, size: Option<Size>, pick: fn(&Run) -> Option<f64>) -> Spread {
    let mine = runs.iter().filter(|run| run.guest == guest && size.is_none_or(|size| run.size == size));
    Spread::of(mine.filter_map(pick))
}

const BOOT: fn(&Run) -> Option<f64> = |run| run.boot_s;
const MS: fn(&Run) -> Option<f64> = |run| run.plugged.as_ref().map(|plugged| plugged.ms);
const KIB: fn(&Run) -> Option<f64> =
    |run| run.plugged.as_ref().map(|plugged| plugged.resident as f64 / 1024.0);

fn print(runs: &[Run]) {
    println!("\nleast / median / most; a DIMM each time in a fresh guest");
    let mut table = vec![vec!["guest".to_owned(), "start to prompt, s".to_owned()]];
    for guest in guests(runs) {
        table.push(vec![guest.to_owned(), spread(runs, guest, None, BOOT).show(2)]);
    }
    report::table(&table);
    let heads = ["DIMM", "guest", "device_add to _OST, ms", "its backing then, KiB"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for size in sizes(runs) {
        for guest in guests(runs) {
            let (ms, kib) = (spread(runs, guest, Some(size), MS), spread(runs, guest, Some(size), KIB));
            table.push(vec![size.to_string(), guest.to_owned(), ms.show(1), kib.show(0)]);
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
                .filter_map(|size| Some((size.0 as f64, spread(runs, guest, Some(size), pick).median?)))
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
