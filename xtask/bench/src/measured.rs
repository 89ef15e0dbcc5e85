//! A guest whose plugging is measured: one of the kernels, in the machine that `cargo xtask run` would start.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use guest::dimm::EJECTING;
use guest::qmp::{Eject, Ost};
use guest::schema::{Meminfo, PAGE};
use guest::serial::{PROMPT, Silence};
use guest::size::ByteSize;
use guest::{Guest, Plan};
use options::BenchArgs;
use serde::de::DeserializeOwned;

use crate::linux::{self, Linux};

/// A slow machine boots Linux in this time.
const BOOT: Duration = Duration::from_secs(300);
/// Memory at boot, unless a measurement needs more.
pub const MEMORY: ByteSize = ByteSize::new(512 << 20);
/// A device whose size has not changed for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// A command of a shell; some of Linux's fill gigabytes.
const COMMAND: Duration = Duration::from_secs(300);

/// How the guest's machine looks; the same for every kernel that is compared.
#[derive(Clone, Debug)]
pub struct Shape {
    /// QEMU's machine type.
    pub machine: String,
    /// QEMU's CPU model.
    pub cpu: String,
    /// How many CPUs it has.
    pub cpus: u8,
    /// Memory at boot.
    pub memory: ByteSize,
    /// Slots for DIMMs.
    pub slots: u64,
    /// Memory at boot and all DIMMs.
    pub max_memory: ByteSize,
    /// More arguments of QEMU.
    pub qemu: Vec<String>,
}

impl Shape {
    /// The machine of the options: one CPU, [`MEMORY`] at boot, which with all DIMMs becomes `max_memory`.
    pub fn of(cli: &BenchArgs, max_memory: ByteSize) -> Shape {
        let (machine, cpu) = (cli.machine.clone(), cli.cpu.clone());
        Shape { machine, cpu, cpus: 1, memory: MEMORY, slots: cli.slots, max_memory, qemu: Vec::new() }
    }

    /// The same, with a clock that counts instructions: one of them is a nanosecond.
    pub fn counting(&self) -> Shape {
        Shape { qemu: ["-icount", "shift=0"].map(str::to_owned).to_vec(), ..self.clone() }
    }
}

/// Starts guests whose memory the host may back with huge pages: QEMU asks for them (`MADV_HUGEPAGE`), and the other
/// measurements forbid it, to count pages of 4 KiB.
pub fn with_huge_pages<T>(measure: impl FnOnce() -> Result<T>) -> Result<T> {
    rustix::thread::disable_transparent_huge_pages(false)?;
    let measured = measure();
    rustix::thread::disable_transparent_huge_pages(true)?;
    measured
}

/// A running guest.
#[derive(Debug)]
pub struct Measured {
    guest: Guest,
    prompt: &'static str,
    /// From the start of QEMU to the shell's prompt.
    pub boot: Duration,
}

/// What plugging a DIMM did.
#[derive(Clone, Copy, Debug)]
pub struct Plugged {
    /// From `device_add` to `_OST`.
    pub took: Duration,
    /// `_OST`'s status.
    pub status: i64,
    /// Bytes of the DIMM's backing that the host has given a page for.
    pub resident: u64,
    /// What QEMU's threads computed between the two.
    pub cpu: Duration,
}

impl Measured {
    /// Boots this kernel to its prompt.
    pub fn carapace(shape: &Shape) -> Result<Measured> {
        Measured::start(PROMPT, plan(shape).start()?)
    }

    /// Boots Linux to its prompt, in the same machine as our kernel.
    pub fn linux(shape: &Shape, linux: &Linux) -> Result<Measured> {
        Measured::start(linux::PROMPT, plan(shape).start_changed(|line| linux.boot_instead(line))?)
    }

    /// Boots an image that prints `mark` and nothing else; `change` puts it into the command of our own guest.
    pub fn image(
        shape: &Shape,
        change: impl FnOnce(&mut Vec<String>) -> Result<()>,
        mark: u8,
    ) -> Result<Measured> {
        let mut guest = plan(shape).start_changed(change)?;
        let found = guest.serial().wait(0, BOOT, |text| text.contains(char::from(mark)).then_some(()));
        let boot = guest.started().elapsed();
        found.context("waiting for the image's output")?;
        Ok(Measured { guest, prompt: "", boot })
    }

    /// What QEMU has computed since its start.
    pub fn cpu(&self) -> Result<Duration> {
        cpu_time(self.guest.process())
    }

    fn start(prompt: &'static str, mut guest: Guest) -> Result<Measured> {
        let found = guest.serial().wait(0, BOOT, |text| after_prompt(text, prompt));
        let boot = guest.started().elapsed();
        found.context("waiting for the first prompt")?;
        Ok(Measured { guest, prompt, boot })
    }

    /// Types a line; what stands between its echo and the next prompt.
    fn type_line(&mut self, line: &str) -> Result<String> {
        let prompt = self.prompt;
        let serial = self.guest.serial();
        let from = serial.heard();
        serial.send(format!("{line}\n").as_bytes())?;
        let answer = serial.wait(from, COMMAND, |text| {
            let end = after_prompt(text, prompt)?;
            Some(text[..end].to_owned())
        });
        answer.map_err(|silence: Silence| anyhow::anyhow!("`{line}`: {silence}"))
    }

    /// The JSON that a `-J` command of this kernel answers.
    pub fn json<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        self.guest.json(line)
    }

    /// Runs a line of either shell whose output does not matter here.
    pub fn run(&mut self, line: &str) -> Result<()> {
        if self.prompt == PROMPT {
            self.guest.sh(line)?;
        } else {
            self.type_line(line)?;
        }
        Ok(())
    }

    /// Asks for a DIMM back; the time until QEMU reports that it is gone.
    pub fn unplug(&mut self, number: u32, limit: Duration) -> Result<Duration> {
        let dimm = format!("dimm{number}");
        let monitor = self.guest.monitor().context("QEMU's monitor does not answer")?;
        let start = Instant::now();
        let answer = monitor.human(&format!("device_del {dimm}"))?;
        ensure!(answer.trim().is_empty(), "device_del {dimm}: {answer}");
        loop {
            let left = limit.saturating_sub(start.elapsed());
            match monitor.wait_eject(left) {
                Some(Eject::Deleted(gone)) if gone == dimm => return Ok(start.elapsed()),
                Some(Eject::Told(Ost { status, .. })) if status != EJECTING => {
                    bail!("{dimm} stays: _OST status {status}")
                }
                Some(Eject::Deleted(_) | Eject::Told(_)) => {}
                None => bail!("{dimm} is not gone after {} s", limit.as_secs()),
            }
        }
    }

    /// Plugs a DIMM into node 1.
    pub fn plug(&mut self, number: u32, size: ByteSize, limit: Duration) -> Result<Plugged> {
        let dimm = format!("dimm{number}");
        let process = self.guest.process();
        let monitor = self.guest.monitor().context("QEMU's monitor does not answer")?;
        monitor.add_memory(&dimm, size)?;
        let (start, cpu) = (Instant::now(), cpu_time(process)?);
        monitor.add_device(&dimm, 1)?;
        let answer = monitor.wait_plugged(&dimm, limit);
        let (at, status) = answer.with_context(|| format!("no _OST for {dimm} in {} s", limit.as_secs()))?;
        let cpu = cpu_time(process)?.saturating_sub(cpu);
        // The guest's work after its answer counts too.
        std::thread::sleep(Duration::from_millis(300));
        let resident = self.resident(&dimm)?;
        Ok(Plugged { took: at.duration_since(start), status, resident, cpu })
    }

    /// Free bytes of a node, of either kernel.
    pub fn free_of_node(&mut self, node: usize) -> Result<u64> {
        if self.prompt == PROMPT {
            let meminfo: Meminfo = self.guest.json("meminfo -J")?;
            let node = meminfo.nodes.get(node).context("there is no such node")?;
            return Ok(node.free_pages * PAGE);
        }
        let answer = self.type_line(&format!("grep MemFree /sys/devices/system/node/node{node}/meminfo"))?;
        let line = answer.lines().find(|line| line.starts_with("Node"));
        let kilobytes =
            line.and_then(|line| line.split_whitespace().nth(3)).and_then(|word| word.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).with_context(|| format!("its meminfo says {answer}"))
    }

    /// Asks for a size of a virtio-mem device, and waits until it is reached or has not changed for a while. Returns the bytes
    /// that are missing or too many.
    pub fn resize(&mut self, id: &str, size: u64, limit: Duration) -> Result<u64> {
        let monitor = self.guest.monitor().context("QEMU's monitor does not answer")?;
        monitor.request_size(id, size)?;
        let end = Instant::now() + limit;
        let (mut before, mut since) = (None, Instant::now());
        loop {
            let plugged = monitor.wait_size(id, Duration::from_secs(1))?.plugged;
            if before.replace(plugged) != Some(plugged) {
                since = Instant::now();
            }
            if plugged == size || since.elapsed() > STUCK || Instant::now() > end {
                return Ok(plugged.abs_diff(size));
            }
        }
    }

    /// Bytes of memory that a Linux guest has.
    pub fn memory_of_linux(&mut self) -> Result<u64> {
        let answer = self.type_line("grep MemTotal /proc/meminfo")?;
        let line = answer.lines().find(|line| line.starts_with("MemTotal:"));
        let kilobytes =
            line.and_then(|line| line.split_whitespace().nth(1)).and_then(|word| word.parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).with_context(|| format!("/proc/meminfo says {answer}"))
    }

    /// Bytes of the DIMM's backing that are in the host's memory: those that were touched.
    fn resident(&mut self, dimm: &str) -> Result<u64> {
        let monitor = self.guest.monitor().context("QEMU's monitor does not answer")?;
        let mine = monitor.dimms()?.into_iter().find(|device| device.id.as_deref() == Some(dimm));
        let at = mine.context("the DIMM has no address")?.addr;
        let answer = monitor.human(&format!("gpa2hva {at:#x}"))?;
        let address =
            answer.trim().rsplit("0x").next().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let address = address.with_context(|| format!("gpa2hva says: {answer}"))?;
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.guest.process()))?;
        resident_at(&smaps, address).with_context(|| format!("no mapping of QEMU's holds {address:#x}"))
    }
}

/// What all of a process's threads have computed: less dependent on what else the host does than the clock.
fn cpu_time(process: u32) -> Result<Duration> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{process}/task"))?.flatten() {
        // A thread that has just ended has no file any more.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The guest of this shape.
fn plan(shape: &Shape) -> Plan {
    let more: Vec<&str> = shape.qemu.iter().map(String::as_str).collect();
    Plan::of_type(&shape.machine)
        .option("--cpu", &shape.cpu)
        .option("--cpus", &shape.cpus.to_string())
        .option("--memory", &shape.memory.to_string())
        .option("--slots", &shape.slots.to_string())
        .option("--max-memory", &shape.max_memory.to_string())
        .qemu(&more)
}

/// Where the first prompt at the start of a line ends.
fn after_prompt(text: &str, prompt: &str) -> Option<usize> {
    let starts = |&(at, _): &(usize, &str)| at == 0 || text[..at].ends_with('\n');
    let (at, found) = text.match_indices(prompt).find(starts)?;
    Some(at + found.len())
}

/// `Rss` of the mapping that holds `address`, in bytes.
fn resident_at(smaps: &str, address: u64) -> Option<u64> {
    let mut inside = false;
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|word| word.split_once('-'));
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        if let Some((start, end)) = range.and_then(|(start, end)| number(start).zip(number(end))) {
            inside = (start..end).contains(&address);
        } else if inside && let Some(rest) = line.strip_prefix("Rss:") {
            return rest.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024);
        }
    }
    None
}
