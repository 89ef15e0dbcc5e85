//! `cargo xtask bench`.

use std::path::{Path, PathBuf};

use clap::Parser;

use guest::size::ByteSize;

/// What Linux's command line says: descriptors in the DIMM itself, as ours are, and online at once.
const LINUX_APPEND: &str = "memory_hotplug.memmap_on_memory=1 memhp_default_state=online";

/// Measures Carapace: start to prompt, device_add to _OST, and what a DIMM's backing holds afterwards.
///
/// Prints tables, and writes raw data (JSON) and plots (SVG). Guests are emulated (TCG): compare ratios of one
/// run, not milliseconds of two machines.
#[derive(Clone, Debug, Parser)]
pub struct BenchArgs {
    /// Measure everything, beside Linux with --linux: start, add, AML, removal, migration, virtio-mem, several CPUs, allocator.
    /// Writes one page with tables and curves and one file of figures. Takes some 20 minutes with Linux.
    #[arg(long)]
    pub all: bool,
    /// Each part of --all once, with small sizes and without the allocator.
    #[arg(long, requires = "all")]
    pub quick: bool,
    /// Write the figures of --all to docs/figures.json, and the tables of README and docs from that file; without --all: the
    /// tables alone.
    #[arg(long)]
    pub documents: bool,
    /// How often each thing is measured; the tables show least, median and most.
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// The DIMMs to plug, each into a fresh guest.
    #[arg(long, value_delimiter = ',', default_value = "256M,1G,4G,16G,64G,256G")]
    pub sizes: Vec<ByteSize>,
    /// Measure Linux too, in turns with ours or (--scale) behind it: the directory that --prepare-linux filled
    /// [default: Carapace alone]
    #[arg(long, value_name = "DIR")]
    pub linux: Option<PathBuf>,
    /// The DIMMs that Linux gets (256G take it some minutes each).
    #[arg(long, value_delimiter = ',', default_value = "256M,1G,4G,16G")]
    pub linux_sizes: Vec<ByteSize>,
    /// How often Linux is measured.
    #[arg(long, default_value_t = 3)]
    pub linux_runs: usize,
    /// What Linux's command line says of hotplug.
    #[arg(long, value_name = "WORDS", default_value = LINUX_APPEND)]
    pub linux_append: String,
    /// Fetch a Linux of Debian's into this directory, and measure nothing [default: measure]
    #[arg(long, value_name = "DIR")]
    pub prepare_linux: Option<PathBuf>,
    /// Count instead: instructions, page-table entries, descriptors and bytes by the DIMM's size and by slots.
    #[arg(long, conflicts_with = "all")]
    pub scale: bool,
    /// The DIMMs of --scale.
    #[arg(long, value_delimiter = ',', default_value = "256M,1G,16G,64G,256G,1T,4T")]
    pub scale_sizes: Vec<ByteSize>,
    /// Measure the frame allocator on the host instead, beside `buddy_system_allocator` and a plain list.
    #[arg(long, conflicts_with_all = ["scale", "all"])]
    pub alloc: bool,
    /// How many threads use the allocators of --alloc at once; each number makes a table.
    #[arg(long, value_delimiter = ',', default_value = "1", requires = "alloc", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub threads: Vec<u8>,
    /// Measure guests with several CPUs instead: operations of `stress`, `device_add` to _OST while all CPUs allocate,
    /// requests to other CPUs for an add, a removal and migrated frames.
    #[arg(long, conflicts_with_all = ["scale", "alloc"])]
    pub smp: bool,
    /// The numbers of CPUs of --smp, --migrate and (several CPUs alone) --all.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub smp_cpus: Vec<u8>,
    /// Measure migrations beside plain copying of as many bytes, in guests with the CPUs of --smp-cpus.
    #[arg(long, conflicts_with_all = ["scale", "alloc", "smp"])]
    pub migrate: bool,
    /// The DIMMs of --migrate and --all.
    #[arg(long, value_delimiter = ',', default_value = "1G")]
    pub migrate_sizes: Vec<ByteSize>,
    /// The distances between the two DIMMs of --migrate.
    #[arg(long, value_delimiter = ',', default_value = "0,2M,6M,34M,130M", requires = "migrate")]
    pub gaps: Vec<ByteSize>,
    /// Measure virtio-mem instead: a device grows to each size and shrinks to nothing; time, requests by QEMU's trace, existing
    /// memory used, what is left.
    #[arg(long, conflicts_with_all = ["scale", "alloc", "smp"])]
    pub virtio_mem: bool,
    /// The sizes of --virtio-mem and --all, each in a fresh guest.
    #[arg(long, value_delimiter = ',', default_value = "1G,8G,64G")]
    pub virtio_mem_sizes: Vec<ByteSize>,
    /// Measure removals instead: device_del to DEVICE_DELETED, of a DIMM without content and of a full one.
    #[arg(long, conflicts_with_all = ["scale", "alloc", "smp", "migrate", "virtio_mem"])]
    pub remove: bool,
    /// The DIMMs of --remove and --all.
    #[arg(long, value_delimiter = ',', default_value = "256M,1G,4G")]
    pub remove_sizes: Vec<ByteSize>,
    /// Measure start to prompt beside the least that is possible: an image that prints one byte.
    #[arg(long, conflicts_with_all = ["scale", "alloc", "smp", "migrate", "virtio_mem", "remove", "aml"])]
    pub start: bool,
    /// Measure the AML interpreter on the host beside ACPICA's (acpiexec): loops, fields, calls, buffers, strings.
    #[arg(long, conflicts_with_all = ["scale", "alloc", "smp", "migrate", "virtio_mem", "remove"])]
    pub aml: bool,
    /// How often each loop of --aml runs.
    #[arg(long, default_value_t = 50_000, requires = "aml")]
    pub aml_count: u32,
    /// QEMU's machine type.
    #[arg(long, default_value = "q35")]
    pub machine: String,
    /// QEMU's CPU model; the same one for all guests.
    #[arg(long, default_value = "max,phys-bits=46")]
    pub cpu: String,
    /// Slots for DIMMs; firmware looks at each of them.
    #[arg(long, default_value_t = 32)]
    pub slots: u64,
    /// Where raw data and plots go [default: target/bench in the project]
    #[arg(long)]
    pub out: Option<PathBuf>,
}

impl BenchArgs {
    /// Where raw data and plots go, in the project at `root`.
    pub fn out(&self, root: &Path) -> PathBuf {
        self.out.clone().unwrap_or_else(|| root.join("target/bench"))
    }
}
