//! Guests with several CPUs: what all of them do at once, and what memory hotplug costs the others.
//!
//! ```text
//!  idle     plug dimm0, plug dimm1        device_add to _OST, requests to other CPUs
//!  stress   for some seconds              operations of all CPUs together, ns per operation of one
//!  busy     plug dimm2 meanwhile          device_add to _OST while every CPU allocates
//!  move     fill dimm0, offline it        requests per 512 frames that migrate
//!  remove   dimm0, unused                 requests, time
//!  work     plug dimm3, alloc, verify     time to fill and to verify 1000 MiB, which all CPUs do together (jobs)
//!  count    the idle plug once more, in a guest whose clock counts instructions
//! ```
//!
//! A CPU of the guest is a thread of QEMU, so figures for more CPUs than the host has cores say what waiting costs, and
//! nothing of how it scales; the description of the host says how many it has. Linux is measured in the same machine:
//! idle, and while each CPU writes a file in memory and removes it, again and again.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest::schema::{Alloc, Cpu, Offline, Resource, Stress, Verify};
use guest::size::ByteSize;
use serde::Serialize;

use crate::linux::Linux;
use crate::measured::{Measured, Shape};
use crate::report::{self, Data, Spread};
use options::BenchArgs;

use ::report::figures::{Figures, LINUX, OURS, What};

/// A DIMM may take this long.
const LIMIT: Duration = Duration::from_secs(300);
/// How long `stress` runs for its figure.
const STRESS: Duration = Duration::from_secs(5);
/// From the start of the load until a DIMM is plugged.
const UNDER_WAY: Duration = Duration::from_secs(1);
/// The DIMMs.
const DIMM: ByteSize = ByteSize::new(256 << 20);
/// The DIMM that is filled and verified, and how much of it.
const WORK: (ByteSize, ByteSize) = (ByteSize::new(1 << 30), ByteSize::new(1000 << 20));
/// The frames of a batch of migration.
const BATCH: f64 = 512.0;
/// A CPU's load under Linux: 32 MiB of page cache are allocated, filled and freed in each turn.
const LINUX_LOAD: &str =
    "while :; do dd if=/dev/zero of=/tmp/load$n bs=1M count=32 2>/dev/null; rm /tmp/load$n; done";

/// One guest.
#[derive(Debug, Serialize)]
struct Run {
    guest: &'static str,
    cpus: u8,
    /// `device_add` to `_OST`, of the second DIMM.
    idle_ms: f64,
    /// The same while each CPU allocates.
    busy_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ours: Option<Ours>,
}

/// What only our kernel tells.
#[derive(Debug, Serialize)]
struct Ours {
    operations: u64,
    bad_pages: u64,
    ns_per_operation: u64,
    /// Requests to other CPUs that the second DIMM cost.
    add_requests: u64,
    migrated_pages: u64,
    migration_requests: u64,
    remove_ms: f64,
    remove_requests: u64,
    fill_ms: f64,
    verify_ms: f64,
    /// From the interrupt of the second DIMM to its `_OST`, the other CPUs idle.
    add_instructions: u64,
}

impl Ours {
    /// Requests to other CPUs for each batch of migrated frames.
    fn requests_per_batch(&self) -> f64 {
        self.migration_requests as f64 * BATCH / self.migrated_pages.max(1) as f64
    }
}

/// Measures, prints, keeps; `figures` gets each guest's. A guest that fails does not end the benchmark.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let linux = cli.linux.as_ref().map(|directory| Linux::find(directory, &cli.linux_append)).transpose()?;
    let mut data = Data::new(linux.as_ref());
    for round in 0..cli.runs {
        for &cpus in &cli.smp_cpus {
            let shape = Shape { cpus, ..Shape::of(cli, ByteSize::new(4 << 30)) };
            let mut measured = |guest: &str, run: Result<Run>| {
                let why = |error| format!("several CPUs, {guest}, {cpus}: {error:#}");
                match run {
                    Ok(run) => data.runs.push(run),
                    Err(error) => figures.failed.push(why(error)),
                }
                report::progress();
            };
            measured(OURS, carapace(&shape));
            if let Some(linux) = linux.as_ref().filter(|_| round < cli.linux_runs) {
                measured(LINUX, of_linux(&shape, linux));
            }
        }
    }
    report::keep(&cli.out(guest::task::root()), "smp.json", &data)?;
    collect(&data.runs, figures);
    print(&data.runs);
    figures.failed.iter().for_each(|failed| println!("not measured: {failed}"));
    Ok(())
}

/// A guest's figures, the kernels one after the other, each by CPUs.
fn collect(runs: &[Run], figures: &mut Figures) {
    let mut runs: Vec<&Run> = runs.iter().collect();
    runs.sort_by_key(|run| (run.guest, run.cpus));
    for run in runs {
        let mut push = |what, part: &str, value: f64| {
            figures.push(what, run.guest, None, Some(&format!("{}: {part}", run.cpus)), value);
        };
        if let Some(ours) = &run.ours {
            let each_second = (ours.operations as f64 / STRESS.as_secs_f64()).round();
            push(What::CpusCounted, "operations a second, all CPUs", each_second);
        }
        push(What::Cpus, "`device_add` to `_OST`, 256M, idle", run.idle_ms);
        push(What::Cpus, "the same, busy", run.busy_ms);
        let Some(ours) = &run.ours else { continue };
        push(What::CpusCounted, "instructions, interrupt to `_OST`, idle", ours.add_instructions as f64);
        push(What::CpusCounted, "requests to other CPUs: add", ours.add_requests as f64);
        push(What::CpusCounted, "removal, unused", ours.remove_requests as f64);
        push(What::CpusCounted, "512 frames that migrate", ours.requests_per_batch());
        push(What::Cpus, "filling 1000 MiB", ours.fill_ms);
        push(What::Cpus, "verifying them", ours.verify_ms);
    }
}

fn carapace(shape: &Shape) -> Result<Run> {
    let mut guest = Measured::carapace(shape)?;
    plug(&mut guest, 0)?;
    let before = requests(&mut guest)?;
    let idle_ms = plug(&mut guest, 1)?;
    let add_requests = requests(&mut guest)? - before;

    let stress: Stress = guest.json(&format!("stress --seconds {} -J", STRESS.as_secs()))?;
    guest.run("stress")?;
    thread::sleep(UNDER_WAY);
    let busy_ms = plug(&mut guest, 2)?;
    let under_load: Stress = guest.json("stress stop -J")?;

    let before = requests(&mut guest)?;
    let remove_ms = guest.unplug(1, LIMIT)?.as_secs_f64() * 1e3;
    let remove_requests = requests(&mut guest)? - before;

    let resources: Vec<Resource> = guest.json("resources -J")?;
    let first =
        resources.iter().find(|resource| resource.device != "boot").context("dimm0 has no resource")?;
    // Most of the two DIMMs, so that much of the first one is in use.
    let filled: Alloc = guest.json("alloc 240M --node 1 -J")?;
    ensure!(filled.pages > 0, "nothing was allocated");
    let before = requests(&mut guest)?;
    let offline: Offline = guest.json(&format!("offline {} -J", first.id))?;
    let migration_requests = requests(&mut guest)? - before;

    guest.run("free all")?;
    let plugged = guest.plug(3, WORK.0, LIMIT)?;
    ensure!(plugged.status == 0, "dimm3 was refused: _OST status {}", plugged.status);
    let start = Instant::now();
    let filled: Alloc = guest.json(&format!("alloc {} --node 1 -J", WORK.1))?;
    let fill_ms = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let verified: Verify = guest.json("verify -J")?;
    let verify_ms = start.elapsed().as_secs_f64() * 1e3;
    ensure!(verified.ok && verified.pages == filled.pages, "{} pages are bad", verified.bad_pages);
    drop(guest);
    let ours = Ours {
        operations: stress.operations,
        bad_pages: stress.bad_pages + under_load.bad_pages,
        ns_per_operation: stress.ns_per_operation,
        add_requests,
        migrated_pages: offline.migrated_pages,
        migration_requests,
        remove_ms,
        remove_requests,
        fill_ms,
        verify_ms,
        add_instructions: instructions(shape)?,
    };
    Ok(Run { guest: OURS, cpus: shape.cpus, idle_ms, busy_ms, ours: Some(ours) })
}

/// Instructions from the interrupt to `_OST` when a second DIMM is plugged. All CPUs' count; those that are idle are halted.
fn instructions(shape: &Shape) -> Result<u64> {
    let mut guest = Measured::carapace(&shape.counting())?;
    plug(&mut guest, 0)?;
    plug(&mut guest, 1)?;
    let resources: Vec<Resource> = guest.json("resources -J")?;
    let second = resources.iter().max_by_key(|resource| resource.id).context("there is no resource")?;
    Ok(second.add.answer_ns)
}

fn of_linux(shape: &Shape, linux: &Linux) -> Result<Run> {
    let mut guest = Measured::linux(shape, linux)?;
    guest.run("mount -t tmpfs none /tmp 2>/dev/null || { mkdir -p /tmp; mount -t tmpfs none /tmp; }")?;
    plug(&mut guest, 0)?;
    let idle_ms = plug(&mut guest, 1)?;
    for cpu in 0..shape.cpus {
        guest.run(&format!(
            "n={cpu}; (taskset {:#x} sh -c 'n={cpu}; {LINUX_LOAD}' &) 2>/dev/null",
            1u32 << cpu
        ))?;
    }
    thread::sleep(UNDER_WAY);
    let busy_ms = plug(&mut guest, 2)?;
    Ok(Run { guest: LINUX, cpus: shape.cpus, idle_ms, busy_ms, ours: None })
}

/// Plugs a DIMM; the milliseconds from `device_add` to `_OST`.
fn plug(guest: &mut Measured, number: u32) -> Result<f64> {
    let plugged = guest.plug(number, DIMM, LIMIT)?;
    ensure!(plugged.status == 0, "dimm{number} was refused: _OST status {}", plugged.status);
    Ok(plugged.took.as_secs_f64() * 1e3)
}

/// Requests that all CPUs have made of the others since boot.
fn requests(guest: &mut Measured) -> Result<u64> {
    let cpus: Vec<Cpu> = guest.json("cpus -J")?;
    Ok(cpus.iter().map(|cpu| cpu.shootdowns_sent).sum())
}

fn print(runs: &[Run]) {
    let mut kinds: Vec<(&str, u8)> = Vec::new();
    for run in runs.iter().map(|run| (run.guest, run.cpus)) {
        if !kinds.contains(&run) {
            kinds.push(run);
        }
    }
    println!("\nleast / median / most; 256 MiB DIMMs");
    let heads = [
        "guest",
        "CPUs",
        "operations a second",
        "ns each on a CPU",
        "add idle, ms",
        "add busy, ms",
        "requests: add",
        "remove",
        "512 frames moved",
        "fill 1000M, ms",
        "verify, ms",
        "add idle, instructions",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    for (guest, cpus) in kinds {
        let mine = || runs.iter().filter(move |run| (run.guest, run.cpus) == (guest, cpus));
        let of = |pick: fn(&Run) -> f64, digits| Spread::of(mine().map(pick)).show(digits);
        let ours = |pick: fn(&Ours) -> f64, digits| {
            Spread::of(mine().filter_map(|run| run.ours.as_ref()).map(pick)).show(digits)
        };
        table.push(vec![
            guest.to_owned(),
            cpus.to_string(),
            ours(|ours| ours.operations as f64 / STRESS.as_secs_f64(), 0),
            ours(|ours| ours.ns_per_operation as f64, 0),
            of(|run| run.idle_ms, 1),
            of(|run| run.busy_ms, 1),
            ours(|ours| ours.add_requests as f64, 0),
            ours(|ours| ours.remove_requests as f64, 0),
            ours(Ours::requests_per_batch, 2),
            ours(|ours| ours.fill_ms, 0),
            ours(|ours| ours.verify_ms, 0),
            ours(|ours| ours.add_instructions as f64, 0),
        ]);
    }
    report::table(&table);
    let bad: u64 = runs.iter().filter_map(|run| run.ours.as_ref()).map(|ours| ours.bad_pages).sum();
    println!("pages with wrong contents: {bad}");
}
