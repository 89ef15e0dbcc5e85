//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use guest::Machine;
use guest::qemu::{SerialPort, Speed, VirtioMem};

use guest::size::ByteSize;
use options::{BenchArgs, ReportArgs, WatchArgs};

/// Carapace's tasks: set up, build, run and test the kernel.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Cli {
    /// The task; without one, a greeting lists the tasks.
    #[command(subcommand)]
    pub command: Option<Task>,
    /// Never install anything: list what is missing and how to get it.
    #[arg(long, global = true)]
    pub no_install: bool,
}

/// The tasks.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Boot the kernel in QEMU, with its shell on this terminal.
    ///
    /// If standard input is no terminal, the shell runs commands from it, and its end powers off.
    Run(RunArgs),
    /// Build the boot shim and the kernel for bare metal.
    Build,
    /// Run the tests: those on the host, and those that boot the kernel in QEMU.
    Test(TestArgs),
    /// Play the example by itself: plug a DIMM of 256 MiB, use it, power off.
    Demo(DemoArgs),
    /// Show what this is about, step by step: plug, page, fill, remove while full, refuse, virtio-mem, 4 TiB.
    Tour(TourArgs),
    /// Run a shell command on the guest that `cargo xtask run` has started on another terminal.
    ///
    /// Its output goes to standard output, its error to standard error. The exit status is 0 if the command is done, 1 if
    /// the kernel refused it, 2 if no kernel answered. `cargo xtask sh 'sections -J' | jq length`;
    /// `cargo xtask sh < script` runs lines until one is refused.
    Sh(ShArgs),
    /// Plug, list and unplug DIMMs of the guest that `cargo xtask run` has started on another terminal.
    Dimm(DimmArgs),
    /// Set and show the sizes of the virtio-mem devices of the guest that `cargo xtask run --virtio-mem` has started.
    Mem(MemArgs),
    #[command(name = "watch")]
    Watch(WatchArgs),
    /// Print a script with which your shell completes `cargo xtask ...`.
    ///
    /// bash: `cargo xtask completions bash > ~/.cargo-xtask.bash`, and `source ~/.cargo-xtask.bash` in ~/.bashrc.
    /// zsh: `cargo xtask completions zsh > DIR/_cargo-xtask` with a DIR of your $fpath, before compinit runs; cargo's own
    /// completion, which looks for it there, is `rustup completions zsh cargo > DIR/_cargo`.
    /// fish: `cargo xtask completions fish > ~/.config/fish/conf.d/cargo-xtask.fish`.
    #[command(verbatim_doc_comment)]
    Completions {
        /// The shell.
        shell: Shell,
    },
    #[command(name = "bench")]
    Bench(BenchArgs),
    /// Feed random inputs to the parsers of firmware's tables, shell lines and the kernel's file, and to the memory core.
    Fuzz(FuzzArgs),
    /// Make a disk image that boots this kernel on a machine with UEFI (or a BIOS), by crate `bootloader`.
    Image(ImageArgs),
    #[command(name = "report")]
    Report(ReportArgs),
    /// Find what is missing on this machine and install it.
    Setup,
    /// Remove everything that was built, and the accelerator's verdict.
    Clean,
}

/// The shells for which `cargo xtask` can be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

/// The fuzz target, and how long it runs.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// aml, boot, crs, elf, memory, shell or tables [default: all of them, one after the other]
    pub target: Option<String>,
    /// Seconds for each target [default: 60, or no limit with --runs]
    #[arg(long, value_name = "SECONDS")]
    pub time: Option<u64>,
    /// Inputs for each target, those of the corpus among them [default: as many as --time allows]
    #[arg(long, value_name = "N")]
    pub runs: Option<u32>,
    /// Instead of running: add the finds of earlier runs to tests/fuzz/corpus, and drop redundant inputs.
    #[arg(long, conflicts_with_all = ["time", "runs"])]
    pub minimise: bool,
}

/// Which image.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// The firmware that boots it.
    #[arg(long, value_enum, default_value_t = Firmware::Uefi)]
    pub firmware: Firmware,
    /// Where it goes [default: target/image/carapace-uefi.img, or -bios.img]
    #[arg(long, value_name = "PATH")]
    pub out: Option<PathBuf>,
}

/// The kinds of firmware that a disk image can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Firmware {
    /// UEFI; in QEMU, OVMF.
    Uefi,
    /// A BIOS; in QEMU, SeaBIOS.
    Bios,
}

impl Firmware {
    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uefi => "uefi",
            Self::Bios => "bios",
        }
    }
}

/// Processors of a guest that suit the host: one for each of its own. Two also where it has one, so that what needs
/// several CPUs happens everywhere.
fn default_cpus() -> u64 {
    std::thread::available_parallelism().map_or(2, |count| count.get() as u64).clamp(2, 8)
}

/// How the guest looks.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Memory at boot, all of it in node 0.
    #[arg(long, default_value = "512M")]
    pub memory: ByteSize,
    /// Slots for DIMMs; 0 turns memory hotplug off.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(0..=256))]
    pub slots: u64,
    /// Memory at boot and all DIMMs together, at most; it costs the host nothing until it is used. Above some 900G the CPU
    /// model gets more address bits.
    #[arg(long, default_value = "8T")]
    pub max_memory: ByteSize,
    /// NUMA nodes; those above node 0 start without memory.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=128))]
    pub nodes: u64,
    /// Processors. The default is as many as the host has, at least 2 and at most 8.
    #[arg(long, default_value_t = default_cpus(), value_parser = clap::value_parser!(u64).range(1..=255))]
    pub cpus: u64,
    /// A virtio-mem device, whose memory the host plugs by blocks; repeatable. Their ids are vm0, vm1, ... [default: none]
    #[arg(long, value_name = "SIZE[,node=N][,block=SIZE]")]
    pub virtio_mem: Vec<VirtioMem>,
    /// A virtio balloon by which the guest reports free memory, so that QEMU gives it back to the host.
    #[arg(long)]
    pub balloon: bool,
    /// An HMAT: latency in ns and bandwidth per second of each node's memory, from node 0 on, as in 80:20G,10:200G
    /// [default: none]
    #[arg(long, value_name = "NS:SIZE,...", value_delimiter = ',')]
    pub hmat: Vec<Speed>,
    /// QEMU's machine type.
    #[arg(long, value_parser = machine(), default_value = Machine::Q35.name())]
    pub machine: Machine,
    /// QEMU's CPU model [default: QEMU's own, or `max` with more address bits where the memory needs them]
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
    /// The accelerator; `auto` takes KVM where a timed boot shows that it works well.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub accel: AccelChoice,
    /// Where the serial port goes: `stdio`, or `unix:PATH`, a listening socket that QEMU waits on.
    #[arg(long, default_value = "stdio", value_name = "stdio|unix:PATH", value_parser = parse_serial)]
    pub serial: SerialPort,
    /// Let QEMU listen for QMP on this socket [default: only on one of its own for the tasks]
    #[arg(long, value_name = "PATH")]
    pub qmp: Option<PathBuf>,
    /// Boot from the disk image that `cargo xtask image` makes, by this firmware [default: no image, boot by PVH]
    #[arg(long, value_enum, value_name = "FIRMWARE")]
    pub image: Option<Firmware>,
    /// Stop before the first instruction and wait for gdb on this port, 1234 if none is given; boots a kernel with debug
    /// information and says what to type (docs/debugging.md) [default: start at once]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234", conflicts_with = "image",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub gdb: Option<u16>,
    /// Build with profile `fast`: a changed kernel is at its prompt in seconds, but runs slower. Without this, as in all
    /// tests and measurements, the profile is `release`.
    #[arg(long, conflicts_with = "gdb")]
    pub fast: bool,
    /// Boot what the last build made, whatever was changed since; without this everything is built first.
    #[arg(long, conflicts_with_all = ["gdb", "image"])]
    pub no_build: bool,
    /// Build everything, then print the QEMU command as a JSON array instead of running it.
    #[arg(long)]
    pub dry_run: bool,
    /// More arguments for QEMU; they come last, so that they win [default: none]
    #[arg(last = true, value_name = "QEMU ARGS")]
    pub qemu_args: Vec<String>,
}

/// Parses a machine type; `--help` and completion list all of them.
fn machine() -> impl TypedValueParser<Value = Machine> {
    let values = Machine::ALL.map(|machine| PossibleValue::new(machine.name()).help(machine.description()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Machine>())
}

/// The choice of an accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AccelChoice {
    /// KVM if it proves itself, else emulation.
    Auto,
    /// Emulation.
    Tcg,
    /// KVM, unproven.
    Kvm,
}

fn parse_serial(text: &str) -> Result<SerialPort, String> {
    match text.split_once(':') {
        None if text == "stdio" => Ok(SerialPort::Stdio),
        Some(("unix", path)) if !path.is_empty() => Ok(SerialPort::Unix(path.into())),
        _ => Err("expected `stdio` or `unix:PATH`".into()),
    }
}

/// Where the demonstration runs.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// QEMU's machine type.
    #[arg(long, value_parser = machine(), default_value = Machine::Q35.name())]
    pub machine: Machine,
    /// The accelerator.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub accel: AccelChoice,
}

/// Where the tour runs, and who goes on.
#[derive(Debug, Args)]
pub struct TourArgs {
    /// Do not wait for a key between the steps; so it is without a terminal.
    #[arg(long)]
    pub auto: bool,
    /// QEMU's machine type.
    #[arg(long, value_parser = machine(), default_value = Machine::Q35.name())]
    pub machine: Machine,
    /// The accelerator.
    #[arg(long, value_enum, default_value_t = AccelChoice::Auto)]
    pub accel: AccelChoice,
}

/// The guest, and the command to run.
#[derive(Debug, Args)]
pub struct ShArgs {
    /// The guest's QMP socket [default: that of the only guest that runs]
    #[arg(long, value_name = "PATH")]
    pub qmp: Option<PathBuf>,
    /// The command and its operands [default: lines from standard input, a command each]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// The guest, and the task for its DIMMs.
#[derive(Debug, Args)]
pub struct DimmArgs {
    /// The task.
    #[command(subcommand)]
    pub task: DimmTask,
    /// The guest's QMP socket [default: that of the only guest that runs]
    #[arg(long, value_name = "PATH", global = true)]
    pub qmp: Option<PathBuf>,
    /// Seconds to wait for the kernel's answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, global = true,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// The tasks for DIMMs.
#[derive(Debug, Subcommand)]
pub enum DimmTask {
    /// Plug a DIMM, and print the kernel's answer; the exit status is 1 if it refuses.
    Add {
        /// Its size, such as 256M.
        size: ByteSize,
        /// The node it belongs to.
        #[arg(long, default_value_t = 0)]
        node: u64,
        /// Its name in QEMU [default: the first of d0, d1, ... that is free]
        #[arg(long)]
        id: Option<String>,
    },
    /// Show the DIMMs that are plugged.
    List,
    /// Ask the kernel to release a DIMM, and unplug it; the exit status is 1 if it refuses.
    Remove {
        /// Its name in QEMU, such as d0.
        id: String,
    },
}

/// The guest, and the task for its virtio-mem devices.
#[derive(Debug, Args)]
pub struct MemArgs {
    /// The task.
    #[command(subcommand)]
    pub task: MemTask,
    /// The guest's QMP socket [default: that of the only guest that runs]
    #[arg(long, value_name = "PATH", global = true)]
    pub qmp: Option<PathBuf>,
    /// Seconds to wait until the kernel has reached the size.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, global = true,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

/// The tasks for virtio-mem devices.
#[derive(Debug, Subcommand)]
pub enum MemTask {
    /// Ask the kernel to reach a size; the exit status is 1 if it does not.
    Set {
        /// The size, such as 3G; 0 for none.
        size: ByteSize,
        /// The device's name in QEMU [default: the first one]
        #[arg(long)]
        device: Option<String>,
    },
    /// Show the devices.
    List,
}

/// The choice of tests.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Only tests on the host: all tiers but `qemu`.
    #[arg(long, conflicts_with = "qemu")]
    pub host: bool,
    /// Only tests that boot the kernel in QEMU.
    #[arg(long)]
    pub qemu: bool,
    /// Only this tier, or these [default: all but image]
    #[arg(long, value_enum, conflicts_with_all = ["host", "qemu"], value_delimiter = ',')]
    pub tier: Vec<Tier>,
    /// Only tests whose name contains this, of the tiers `host` and `qemu` [default: all tests]
    pub filter: Option<String>,
}

/// A part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// Formatting, clippy, documentation.
    Lints,
    /// Licences, versions, sources and advisories of dependencies.
    Deps,
    /// Tests of the libraries.
    Host,
    /// Each fuzz target on its corpus and on a number of random inputs.
    Fuzz,
    /// Tests that boot the kernel in QEMU.
    Qemu,
    /// The disk image, booted by UEFI and by a BIOS; on request only, since its loaders take minutes to build.
    Image,
}

impl Tier {
    /// The default tiers in their order: the quickest to fail come first.
    pub const ALL: [Self; 5] = [Self::Lints, Self::Deps, Self::Host, Self::Fuzz, Self::Qemu];
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run_args(line: &[&str]) -> RunArgs {
        let whole = ["cargo xtask", "run"].iter().chain(line);
        match Cli::try_parse_from(whole).expect("a good command line").command {
            Some(Task::Run(args)) => args,
            other => panic!("parsed as {other:?}"),
        }
    }

    /// clap's own check of the definitions: clashing names, impossible defaults.
    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    /// Proves that `--help` says what each option and operand is without one. Fails when a default must be looked for in the
    /// source.
    #[test]
    fn every_default_is_in_the_help() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                let is_optional = argument.get_action().takes_values() && !argument.is_required_set();
                let shown =
                    !argument.get_default_values().is_empty() && !argument.is_hide_default_value_set();
                let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
                let said = help.is_some_and(|help| help.contains("[default: "));
                let (name, option) = (command.get_name(), argument.get_id());
                assert!(!is_optional || shown || said, "`{name}`: the help of `{option}` lacks its default");
            }
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }

    /// The defaults are those that documents and tests rely on.
    #[test]
    fn defaults() {
        let args = run_args(&[]);
        assert_eq!(args.memory.to_string(), "512M");
        assert_eq!((args.slots, args.max_memory.to_string().as_str()), (32, "8T"));
        assert_eq!((args.nodes, args.machine), (2, Machine::Q35));
        assert!((2..=8).contains(&args.cpus), "{}", args.cpus);
        assert_eq!((args.accel, args.serial), (AccelChoice::Auto, SerialPort::Stdio));
    }

    /// Arguments after `--` go to QEMU, even if xtask has an option of that name.
    #[test]
    fn what_follows_two_dashes_is_qemus() {
        let args = run_args(&["--memory", "1G", "--", "--memory", "-cpu", "max"]);
        assert_eq!(args.memory.to_string(), "1G");
        assert_eq!(args.qemu_args, ["--memory", "-cpu", "max"]);
    }

    /// The port for gdb is optional, and 0 is refused.
    #[test]
    fn gdb_port() {
        assert_eq!(run_args(&[]).gdb, None);
        assert_eq!(run_args(&["--gdb"]).gdb, Some(1234));
        assert_eq!(run_args(&["--gdb", "--memory", "1G"]).gdb, Some(1234));
        assert_eq!(run_args(&["--gdb", "4321", "--", "-S"]).gdb, Some(4321));
        assert!(Cli::try_parse_from(["cargo xtask", "run", "--gdb", "0"]).is_err());
    }

    /// What needs a build of its own cannot do without one.
    #[test]
    fn no_build() {
        assert!(run_args(&["--no-build", "--fast"]).no_build && !run_args(&[]).no_build);
        for other in ["--gdb", "--image=uefi"] {
            assert!(Cli::try_parse_from(["cargo xtask", "run", "--no-build", other]).is_err(), "{other}");
        }
    }

    /// A serial port is one of the two kinds; other words are refused.
    #[test]
    fn serial_kinds() {
        assert_eq!(run_args(&["--serial", "unix:a/b:c"]).serial, SerialPort::Unix("a/b:c".into()));
        for bad in ["unix:", "tcp:1", "", "stdin"] {
            assert!(parse_serial(bad).is_err(), "{bad}");
        }
    }
}
