//! A guest: one of the kernels in QEMU, from its start to the end of this value.

use std::fs::{self, File};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::TempDir;
use tests::serial::{PROMPT, Serial, Silence};

use crate::linux::{self, Linux};
use crate::monitor::{Monitor, Ost};
use crate::size::Size;

/// A slow machine boots Linux in this time.
const BOOT: Duration = Duration::from_secs(300);
/// A command of a shell.
const COMMAND: Duration = Duration::from_secs(60);

/// How the guest's machine looks; the same for every kernel that is compared.
#[derive(Clone, Debug)]
pub struct Shape {
    /// QEMU's machine type.
    pub machine: String,
    /// QEMU's CPU model.
    pub cpu: String,
    /// Slots for DIMMs.
    pub slots: u64,
    /// Memory at boot and all DIMMs.
    pub max_memory: Size,
    /// More arguments of QEMU.
    pub qemu: Vec<String>,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    qemu: Qemu,
    _directory: TempDir,
    serial: Serial,
    monitor: Monitor,
    prompt: &'static str,
    /// From the start of QEMU to the shell's prompt.
    pub boot: Duration,
}

/// QEMU, which ends with this value.
#[derive(Debug)]
struct Qemu(Child);

impl Drop for Qemu {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What plugging a DIMM did.
#[derive(Clone, Copy, Debug)]
pub struct Plugged {
    /// From `device_add` to `_OST`.
    pub took: Duration,
    /// `_OST`'s status.
    pub status: u64,
    /// Bytes of the DIMM's backing that the host has given a page for.
    pub resident: u64,
    /// What QEMU's threads computed between the two.
    pub cpu: Duration,
}

impl Guest {
    /// Boots this kernel to its prompt.
    pub fn carapace(shape: &Shape) -> Result<Guest> {
        Guest::start(PROMPT, |directory| Ok(command(shape, directory)))
    }

    /// Boots Linux to its prompt, in the machine that our kernel would have.
    pub fn linux(shape: &Shape, linux: &Linux) -> Result<Guest> {
        Guest::start(linux::PROMPT, |directory| {
            let mut line = command(shape, directory);
            linux.boot_instead(&mut line)?;
            Ok(line)
        })
    }

    /// Starts the QEMU that `line` composes for sockets in a directory, and waits for `prompt`.
    fn start(prompt: &'static str, line: impl FnOnce(&Path) -> Result<Vec<String>>) -> Result<Guest> {
        let directory = TempDir::new()?;
        let line = line(directory.path())?;
        let errors = directory.path().join("qemu.log");
        let log = File::create(&errors)?;
        let started = Instant::now();
        let qemu = Qemu(tests::guest::child(&line, log));
        let said = || fs::read_to_string(&errors).unwrap_or_default();
        let serial = Serial::connect(&directory.path().join("serial"), Duration::from_secs(20))
            .with_context(|| format!("QEMU does not start: {}", said()))?;
        let found = serial.wait(0, BOOT, |text| after_prompt(text, prompt));
        let boot = started.elapsed();
        found.map_err(|why| silence(&why, "the first prompt"))?;
        let monitor = Monitor::connect(&directory.path().join("qmp"))?;
        Ok(Guest { qemu, _directory: directory, serial, monitor, prompt, boot })
    }

    /// Types a line; what stands between its echo and the next prompt.
    pub fn type_line(&mut self, line: &str) -> Result<String> {
        let from = self.serial.text().len();
        self.serial.send(format!("{line}\n").as_bytes())?;
        let prompt = self.prompt;
        let answer = self.serial.wait(from, COMMAND, |text| {
            let end = after_prompt(text, prompt)?;
            Some(text[..end].to_owned())
        });
        answer.map_err(|why| silence(&why, line))
    }

    /// The JSON that a `-J` command answers.
    pub fn json<T: DeserializeOwned>(&mut self, line: &str) -> Result<T> {
        let answer = self.type_line(line)?;
        let found = answer.lines().find_map(|line| serde_json::from_str(line).ok());
        found.with_context(|| format!("`{line}` answered {answer}"))
    }

    /// Plugs a DIMM into node 1. Its memory is not reserved: it may be larger than the host's.
    pub fn plug(&mut self, number: u32, size: Size, limit: Duration) -> Result<Plugged> {
        let (dimm, ram) = (format!("dimm{number}"), format!("ram{number}"));
        let object = json!({"qom-type": "memory-backend-ram", "id": ram, "size": size.0, "reserve": false});
        self.monitor.execute("object-add", object)?;
        let device = json!({"driver": "pc-dimm", "id": dimm, "memdev": ram, "node": 1});
        let (start, cpu) = (Instant::now(), self.cpu_time()?);
        self.monitor.execute("device_add", device)?;
        let Ost { at, status } = self.monitor.ost(&dimm, limit)?;
        let cpu = self.cpu_time()?.saturating_sub(cpu);
        // What the guest still does after its answer belongs to it.
        std::thread::sleep(Duration::from_millis(300));
        let resident = self.resident(&dimm)?;
        Ok(Plugged { took: at.duration_since(start), status, resident, cpu })
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
        let devices = self.monitor.execute("query-memory-devices", json!({}))?;
        let mine = devices.as_array().into_iter().flatten().find(|device| device["data"]["id"] == dimm);
        let at =
            mine.and_then(|device| device["data"]["addr"].as_u64()).context("the DIMM has no address")?;
        let answer = self.monitor.human(&format!("gpa2hva {at:#x}"))?;
        let address =
            answer.trim().rsplit("0x").next().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let address = address.with_context(|| format!("gpa2hva says: {answer}"))?;
        let smaps = fs::read_to_string(format!("/proc/{}/smaps", self.qemu.0.id()))?;
        resident_at(&smaps, address).with_context(|| format!("no mapping of QEMU's holds {address:#x}"))
    }

    /// What all of QEMU's threads have computed: less dependent on what else the host does than the clock.
    fn cpu_time(&self) -> Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.qemu.0.id()))?.flatten() {
            // A thread that has just ended has no file any more.
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            nanoseconds += text.split(' ').next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// The command of our own guest, with its sockets in `directory`.
fn command(shape: &Shape, directory: &Path) -> Vec<String> {
    let options = [
        ["--accel", "tcg"],
        ["--machine", &shape.machine],
        ["--cpu", &shape.cpu],
        ["--slots", &shape.slots.to_string()],
        ["--max-memory", &shape.max_memory.to_string()],
    ];
    let options: Vec<String> = options.concat().into_iter().map(str::to_owned).collect();
    tests::xtask::qemu_command(&options, &shape.qemu, directory)
}

/// Where the first prompt at the start of a line ends.
fn after_prompt(text: &str, prompt: &str) -> Option<usize> {
    let starts = |&(at, _): &(usize, &str)| at == 0 || text[..at].ends_with('\n');
    let (at, found) = text.match_indices(prompt).find(starts)?;
    Some(at + found.len())
}

fn silence(why: &Silence, what: &str) -> anyhow::Error {
    match why {
        Silence::Timeout => anyhow!("nothing came: {what}"),
        Silence::Closed => anyhow!("the guest has ended: {what}"),
    }
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
