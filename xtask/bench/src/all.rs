//! Everything beside Linux in one run: one page, one file of figures; and the documents that take theirs from it.
//!
//! ```text
//!  parts in turns ──> figures.json, index.html                        in target/bench, or --out
//!  --documents    ──> docs/figures.json, blocks of README and docs    in the project
//! ```

use std::fs;

use anyhow::{Context, Result};
use guest::size::ByteSize;
use options::BenchArgs;

use ::report::figures::{self, Figures};
use ::report::{bench_page, documents};

use crate::linux::Linux;
use crate::{alloc, host, migrate, plug, remove, scale, virtio_mem};

/// The distances between the DIMMs of a migration: adjacent ones, and one at which the emulator's caches collide.
const GAPS: [ByteSize; 2] = [ByteSize::new(0), ByteSize::new(6 << 20)];
/// The DIMMs whose instructions are counted.
const COUNTED: [ByteSize; 3] = [ByteSize::new(256 << 20), ByteSize::new(1 << 40), ByteSize::new(4 << 40)];
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
    part("start and add", plug::bench(&add, &mut figures), &mut figures.failed);
    let ours = BenchArgs { linux: None, ..few.clone() };
    part("counted", scale::bench(&ours, &mut figures), &mut figures.failed);
    part("remove", remove::bench(&few, &mut figures), &mut figures.failed);
    part("migrate", migrate::bench(&few, &mut figures), &mut figures.failed);
    part("virtio-mem", virtio_mem::bench(&few, &mut figures), &mut figures.failed);
    if !cli.quick {
        part("allocator", alloc::bench(&few, &mut figures), &mut figures.failed);
    }
    let out = cli.out(guest::task::root());
    let text = figures.to_text()?;
    for (name, text) in [("figures.json", &text), ("index.html", &bench_page::render(&figures))] {
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

fn part(name: &str, result: Result<()>, failed: &mut Vec<String>) {
    eprintln!();
    failed.extend(result.err().map(|error| format!("{name}: {error:#}")));
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
