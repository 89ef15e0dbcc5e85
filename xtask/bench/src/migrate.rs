//! The speed of a migration beside that of plain copying, in one guest: for distances between the DIMMs at which source
//! and target share an entry of the emulator's translation cache, and for others.
//!
//! ```text
//!  dimm0                  plugged, all of it touched; nine tenths allocated: blocks of 2 MiB, or single frames
//!  memspeed               the time that copying as many bytes takes
//!  dimm1 (gap)            between the two, taken offline
//!  dimm2                  plugged; `offline dimm0` moves all of dimm0 there, `offline dimm2` moves it back
//!  dimm3                  plugged, the others offline: the time of the first copy into its untouched memory
//! ```
//!
//! Into untouched memory, most of the time is the host's: such a migration is compared with the first copy, and
//! the way back with the second one.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest::schema::{Alloc, Memspeed, Offline, Resource, Verify};
use guest::size::ByteSize;
use serde::Serialize;

use ::report::figures::{Figures, OURS, What};

use crate::measured::{Measured, Shape};
use crate::report::{self, Data, Spread};
use options::BenchArgs;

/// A DIMM, or a migration, may take this long.
const LIMIT: Duration = Duration::from_secs(300);
/// How the memory that migrates is allocated.
const KINDS: [(&str, &str); 2] = [("2M blocks", ""), ("4K frames", "--frames")];

/// A migration in a fresh guest.
#[derive(Debug, Serialize)]
struct Run {
    cpus: u8,
    size: ByteSize,
    kind: &'static str,
    gap: ByteSize,
    pages: u64,
    /// Nanoseconds a page: plain copying into untouched memory, and again; the migration into untouched memory, and back.
    first_copy_ns: f64,
    copy_ns: f64,
    migrate_ns: f64,
    back_ns: f64,
}

/// Measures, prints, keeps; `figures` gets those of guests with one CPU.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let mut data = Data::new(None);
    for _ in 0..cli.runs {
        for (&cpus, &size) in
            cli.smp_cpus.iter().flat_map(|cpus| cli.migrate_sizes.iter().map(move |size| (cpus, size)))
        {
            let shape = Shape { cpus, ..Shape::of(cli, ByteSize::new(4 * size.bytes() + (4 << 30))) };
            for (kind, &gap) in KINDS.iter().flat_map(|kind| cli.gaps.iter().map(move |gap| (kind, gap))) {
                let run = measure(&shape, size, *kind, gap);
                data.runs.push(run.with_context(|| format!("{size} of {} over a gap of {gap}", kind.0))?);
                report::progress();
            }
        }
    }
    report::keep(&cli.out(guest::task::root()), "migrate.json", &data)?;
    for run in data.runs.iter().filter(|run| run.cpus == 1) {
        let compared =
            [("untouched", run.first_copy_ns, run.migrate_ns), ("touched", run.copy_ns, run.back_ns)];
        for (memory, copy, migrate) in compared {
            let what = format!("{}, gap of {}, into {memory} memory", run.kind, run.gap);
            figures.push(What::Copy, OURS, Some(run.size), Some(&what), copy);
            figures.push(What::Migrate, OURS, Some(run.size), Some(&what), migrate);
        }
    }
    print(&data.runs);
    Ok(())
}

fn measure(shape: &Shape, size: ByteSize, (kind, flag): (&'static str, &str), gap: ByteSize) -> Result<Run> {
    let mut guest = Measured::carapace(shape)?;
    plug(&mut guest, 0, size)?;
    // Touches all of it, or the way back would meet frames that the host has not backed yet.
    guest.run("alloc --all --node 1")?;
    guest.run("free all")?;
    // Nine tenths of it: the rest holds its memmap.
    let bytes = size.bytes() / 10 * 9 / 4096 * 4096;
    let allocated: Alloc = guest.json(&format!("alloc {bytes} --node 1 {flag} -J"))?;
    if gap.bytes() > 0 {
        plug(&mut guest, 1, gap)?;
        let id = newest(&mut guest)?;
        guest.run(&format!("offline {id}"))?;
    }
    plug(&mut guest, 2, size)?;
    let (source, target) = {
        let dimms: Vec<Resource> = resources(&mut guest)?;
        let of_size = |row: &&Resource| row.size == size.bytes();
        let mut dimms = dimms.iter().filter(of_size).map(|row| row.id);
        (dimms.next().context("dimm0 is no resource")?, dimms.next_back().context("dimm2 is no resource")?)
    };
    let (pages, migrate) = offline(&mut guest, source)?;
    ensure!(pages >= allocated.pages / 2, "only {pages} pages of {} migrated", allocated.pages);
    guest.run(&format!("online {source}"))?;
    let (back_pages, back) = offline(&mut guest, target)?;
    let verified: Verify = guest.json("verify -J")?;
    ensure!(verified.ok, "{} pages are bad", verified.bad_pages);
    guest.run("free all")?;
    guest.run(&format!("online {target}"))?;
    let bytes = (size.bytes() / 4).min(1 << 29);
    let speed: Memspeed = guest.json(&format!("memspeed {bytes} --node 1 -J"))?;
    for id in [source, target] {
        guest.run(&format!("offline {id}"))?;
    }
    plug(&mut guest, 3, size)?;
    let first: Memspeed = guest.json(&format!("memspeed {bytes} --node 1 -J"))?;
    let each = |took: Duration, pages: u64| took.as_nanos() as f64 / pages.max(1) as f64;
    Ok(Run {
        cpus: shape.cpus,
        size,
        kind,
        gap,
        pages,
        first_copy_ns: first.first_copy_ns as f64 / first.pages.max(1) as f64,
        copy_ns: speed.copy_ns as f64 / speed.pages.max(1) as f64,
        migrate_ns: each(migrate, pages),
        back_ns: each(back, back_pages),
    })
}

fn plug(guest: &mut Measured, number: u32, size: ByteSize) -> Result<()> {
    let plugged = guest.plug(number, size, LIMIT)?;
    ensure!(plugged.status == 0, "dimm{number} was refused: _OST status {}", plugged.status);
    Ok(())
}

/// The DIMMs' resources, by age.
fn resources(guest: &mut Measured) -> Result<Vec<Resource>> {
    let mut rows: Vec<Resource> = guest.json("resources -J")?;
    rows.retain(|row| row.device != "boot");
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

fn newest(guest: &mut Measured) -> Result<u32> {
    Ok(resources(guest)?.last().context("no DIMM is a resource")?.id)
}

/// Takes a resource offline. Returns the pages that migrated, and the time.
fn offline(guest: &mut Measured, id: u32) -> Result<(u64, Duration)> {
    let start = Instant::now();
    let offlined: Offline = guest.json(&format!("offline {id} -J"))?;
    Ok((offlined.migrated_pages, start.elapsed()))
}

fn print(runs: &[Run]) {
    println!("\nnanoseconds for a page of 4 KiB: least / median / most");
    println!("first copy and migration: into untouched memory; copying and back: into memory in use before");
    let heads = [
        "CPUs",
        "DIMM",
        "allocated as",
        "gap",
        "first copy",
        "migration",
        "times",
        "copying",
        "and back",
        "times",
    ];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    let key = |run: &Run| (run.cpus, run.size.bytes(), run.kind, run.gap.bytes());
    let mut keys: Vec<_> = runs.iter().map(key).collect();
    keys.dedup();
    let mut done = Vec::new();
    for one in keys {
        if done.contains(&one) {
            continue;
        }
        done.push(one);
        let of = |pick: fn(&Run) -> f64| Spread::of(runs.iter().filter(|run| key(run) == one).map(pick));
        let (cpus, size, kind, gap) = one;
        table.push(vec![
            cpus.to_string(),
            ByteSize::new(size).to_string(),
            kind.to_owned(),
            ByteSize::new(gap).to_string(),
            of(|run| run.first_copy_ns).show(0),
            of(|run| run.migrate_ns).show(0),
            of(|run| run.migrate_ns / run.first_copy_ns).show(2),
            of(|run| run.copy_ns).show(0),
            of(|run| run.back_ns).show(0),
            of(|run| run.back_ns / run.copy_ns).show(2),
        ]);
    }
    report::table(&table);
}
