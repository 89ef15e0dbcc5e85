//! Everything in one run, beside Linux where it can do the same: one page, one file of figures; and the documents that take theirs from it.
//!
//! ```text
//!  parts in turns ──> figures.json, index.html                        in target/bench, or --out
//!  --documents    ──> docs/figures.json, blocks of README and docs    in the project
//! ```

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use guest::size::ByteSize;
use options::BenchArgs;

use ::report::figures::{self, Figures};
use ::report::{bench_page, documents};

use crate::linux::Linux;
use crate::{alloc, aml, host, migrate, plug, remove, scale, smp, start, virtio_mem};

/// The distances between the DIMMs of a migration: adjacent ones, and one at which the emulator's caches collide.
const GAPS: [ByteSize; 2] = [ByteSize::new(0), ByteSize::new(6 << 20)];
/// The DIMMs whose instructions are counted.
const COUNTED: [ByteSize; 3] = [ByteSize::new(256 << 20), ByteSize::new(1 << 40), ByteSize::new(4 << 40)];
/// The numbers of CPUs of a quick run.
const QUICK_CPUS: [u8; 2] = [1, 2];
/// A part may measure Linux so often, where one run takes it minutes.
const SLOW: usize = 1;

/// Runs all parts, keeps the figures, writes the page. A part that fails stands in the figures.
pub fn bench(cli: &BenchArgs) -> Result<()> {
    let linux = cli.linux.as_ref().map(|directory| Linux::find(directory, "")).transpose()?;
    let mut figures =
        Figures { host: host::describe(), linux: linux.map(|linux| linux.package), ..Figures::default() };
    let few = BenchArgs {
        runs: cli.runs.min(3),
        linux_runs: cli.linux_runs.min(SLOW),
        smp_cpus: vec![1],
        gaps: GAPS.to_vec(),
        threads: vec![1, 2],
        scale_sizes: COUNTED.to_vec(),
        ..cli.clone()
    };
    let few = if cli.quick { quick(few) } else { few };
    let add = if cli.quick { few.clone() } else { cli.clone() };
    let several = BenchArgs { smp_cpus: cpus(cli), ..few.clone() };
    let counted = BenchArgs { linux: None, ..few.clone() };
    let figures = &mut figures;
    part("start and add", figures, |figures| plug::bench(&add, figures));
    part("start beside the floor", figures, |figures| start::bench(cli, figures));
    part("AML", figures, |figures| aml::bench(&few, figures));
    part("counted", figures, |figures| scale::bench(&counted, figures));
    part("remove", figures, |figures| remove::bench(&few, figures));
    part("migrate", figures, |figures| migrate::bench(&few, figures));
    part("virtio-mem", figures, |figures| virtio_mem::bench(&few, figures));
    part("several CPUs", figures, |figures| smp::bench(&several, figures));
    if !cli.quick {
        part("allocator", figures, |figures| alloc::bench(&few, figures));
    }
    let out = cli.out(guest::task::root());
    let text = figures.to_text()?;
    for (name, text) in [("figures.json", &text), ("index.html", &bench_page::render(figures))] {
        let file = out.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.display());
    }
    for failed in &figures.failed {
        println!("not measured: {failed}");
    }
    if cli.documents {
        fs::write(guest::task::root().join(documents::FILE), text).context("cannot write the figures")?;
        write_documents()?;
    }
    Ok(())
}

/// What a few minutes have time for: one run, small sizes.
fn quick(cli: BenchArgs) -> BenchArgs {
    let most = |sizes: &[ByteSize], most: u64| sizes.iter().copied().filter(|s| s.bytes() <= most).collect();
    BenchArgs {
        runs: 1,
        linux_runs: 1,
        linux_sizes: most(&cli.linux_sizes, 1 << 30),
        remove_sizes: most(&cli.remove_sizes, 1 << 30),
        migrate_sizes: vec![ByteSize::new(256 << 20)],
        virtio_mem_sizes: most(&cli.virtio_mem_sizes, 1 << 30),
        ..cli
    }
}

/// The numbers of CPUs of the guests.
fn cpus(cli: &BenchArgs) -> Vec<u8> {
    if cli.quick { QUICK_CPUS.to_vec() } else { cli.smp_cpus.clone() }
}

/// Runs a part, and says how long that took.
fn part(name: &str, figures: &mut Figures, run: impl FnOnce(&mut Figures) -> Result<()>) {
    let start = Instant::now();
    if let Err(error) = run(figures) {
        figures.failed.push(format!("{name}: {error:#}"));
    }
    eprintln!("\n{name}: {:.0} s\n", start.elapsed().as_secs_f64());
}

/// Writes the figures' blocks of all documents anew, from docs/figures.json.
pub fn write_documents() -> Result<()> {
    let root = guest::task::root();
    let figures = figures::read(&root.join(documents::FILE))?.context("docs/figures.json is not there")?;
    for file in documents::files(root)? {
        let text = fs::read_to_string(&file)?;
        let new = documents::with_figures(&text, &figures).with_context(|| format!("{}", file.display()))?;
        if new != text {
            fs::write(&file, new).with_context(|| format!("cannot write {}", file.display()))?;
            println!("{}", file.display());
        }
    }
    Ok(())
}
