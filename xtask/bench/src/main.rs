//! `cargo xtask bench`: measures the costs of this kernel, and of Linux on request.
//!
//! ```text
//!  measured  a guest with one of the kernels (package guest starts it), and its memory as the host sees it
//!  linux   the other kernel, made from Debian's packages
//!  plug    start to prompt, `device_add` to `_OST`, the size of the DIMM's backing
//!  start   start to prompt beside an image that prints one byte
//!  scale   the same under -icount: instructions by size and slots, split into their parts
//!  alloc   the frame allocator on the host
//!  aml     the AML interpreter on the host, beside acpiexec
//!  smp     several CPUs: operations, plugging under load, requests to other CPUs
//!  migrate a migration beside plain copying
//!  virtio_mem   growing and shrinking by virtio-mem, requests, existing memory used
//!  remove  a DIMM leaves, unused and in use
//!  all     everything beside Linux, one page and one file of figures
//!  report  tables on the terminal;  plot  SVG;  raw data as JSON beside it, with the machine's description
//! ```
//!
//! Rules: one run measures all compared kernels in turns, so that a busy machine affects all of them; a failed run is a
//! row of the data and does not end the benchmark. It is no test: it judges no time.

mod all;
mod alloc;
mod aml;
mod host;
mod linux;
mod measured;
mod migrate;
mod plot;
mod plug;
mod remove;
mod report;
mod scale;
mod smp;
mod start;
mod virtio_mem;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use ::report::figures::Figures;
use options::BenchArgs;

fn main() -> ExitCode {
    match measure(&BenchArgs::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(cli: &BenchArgs) -> Result<()> {
    if let Some(directory) = &cli.prepare_linux {
        return linux::prepare(directory);
    }
    // Inherited by every guest: a page that the guest touches counts as 4 KiB, not as 2 MiB.
    rustix::thread::disable_transparent_huge_pages(true)?;
    std::fs::create_dir_all(cli.out(guest::task::root()))?;
    let mut figures = Figures::default();
    if cli.all {
        return all::bench(cli);
    }
    if cli.documents {
        return all::write_documents();
    }
    if cli.remove {
        return remove::bench(cli, &mut figures);
    }
    if cli.alloc {
        return alloc::bench(cli, &mut figures);
    }
    if cli.start {
        return start::bench(cli, &mut figures);
    }
    if cli.aml {
        return aml::bench(cli, &mut figures);
    }
    if cli.virtio_mem {
        return virtio_mem::bench(cli, &mut figures);
    }
    if cli.smp {
        return smp::bench(cli, &mut figures);
    }
    if cli.migrate {
        return migrate::bench(cli, &mut figures);
    }
    if cli.scale { scale::bench(cli, &mut figures) } else { plug::bench(cli, &mut figures) }
}
