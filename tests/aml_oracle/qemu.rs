//! The tables that QEMU's firmware leaves: a machine without a kernel is started, and its memory searched for
//! the RSDP and followed from there.
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const MEMORY: u64 = 512 << 20;
/// Where SeaBIOS puts the RSDP: between here and 1 MiB.
const LOW: u64 = 0xe_0000;
const LOW_BYTES: u64 = 0x2_0000;
/// OVMF puts it into the memory that it takes from the top.
const HIGH_BYTES: u64 = 32 << 20;
const TIMEOUT: Duration = Duration::from_secs(120);

/// Where Debian and others install OVMF as one file.
const OVMF_PLACES: [&str; 3] =
    ["/usr/share/ovmf/OVMF.fd", "/usr/share/qemu/OVMF.fd", "/usr/share/edk2/x64/OVMF.4m.fd"];

/// Who fills in the addresses in QEMU's tables and puts them into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// QEMU's own.
    SeaBios,
    /// UEFI.
    Ovmf,
}

/// The firmwares to compare: SeaBIOS comes with QEMU, OVMF is a package of its own, without which the tests say
/// what they leave out.
pub fn firmwares() -> Vec<Firmware> {
    if ovmf().is_none() {
        println!("OVMF is not installed (Debian's package ovmf): its tables are NOT looked at");
        return vec![Firmware::SeaBios];
    }
    vec![Firmware::SeaBios, Firmware::Ovmf]
}

fn ovmf() -> Option<PathBuf> {
    OVMF_PLACES.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A QEMU that goes with the test.
struct Machine {
    child: Child,
    monitor: BufReader<UnixStream>,
    dump: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The DSDT and then the SSDTs, with valid checksums.
pub fn capture(firmware: Firmware, machine: &str, slots: usize) -> Vec<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let started = Instant::now();
    let mut machine = Machine::start(firmware, machine, slots, directory.path());
    let mut seen = Vec::new();
    loop {
        let area = match firmware {
            Firmware::SeaBios => (LOW, LOW_BYTES),
            Firmware::Ovmf => (MEMORY - HIGH_BYTES, HIGH_BYTES),
        };
        let memory = machine.read(area.0, area.1);
        let tables = rsdt_in(&memory).map(|rsdt| machine.tables(rsdt)).unwrap_or_default();
        // OVMF adds table by table: they are complete when no more come.
        if !tables.is_empty() && tables == seen {
            return tables;
        }
        seen = tables;
        assert!(started.elapsed() < TIMEOUT, "{firmware:?} made no tables");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The address of the RSDT, from a valid RSDP.
fn rsdt_in(memory: &[u8]) -> Option<u64> {
    let mut places = memory.chunks(16).zip(memory.get(16..)?.chunks(16));
    let (_, second) = places.find(|(first, second)| {
        let bytes = first.iter().chain(second.iter().take(4));
        first.starts_with(b"RSD PTR ") && bytes.fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
    })?;
    Some(number(second, 0))
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 4).map_or(0, |bytes| u32::from_le_bytes(bytes.try_into().expect("four")).into())
}

impl Machine {
    fn start(firmware: Firmware, machine: &str, slots: usize, directory: &Path) -> Self {
        let socket = directory.join("qmp");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-machine", machine, "-accel", "tcg", "-display", "none", "-serial", "none"])
            .args(["-monitor", "none", "-net", "none"])
            .args(["-m", &format!("512M,slots={slots},maxmem=64G")])
            .args(["-object", "memory-backend-ram,id=m0,size=512M"])
            .args(["-numa", "node,nodeid=0,memdev=m0", "-numa", "node,nodeid=1"]);
        if firmware == Firmware::Ovmf {
            qemu.arg("-bios").arg(ovmf().expect("it has been looked for"));
        }
        let qmp = format!("unix:{},server=on,wait=off", socket.display());
        let child = qemu.args(["-qmp", &qmp]).stdin(Stdio::null()).spawn().expect("qemu-system-x86_64");
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(&socket) {
                Ok(stream) => break stream,
                Err(error) => assert!(started.elapsed() < TIMEOUT, "no monitor: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut machine = Self { child, monitor: BufReader::new(stream), dump: directory.join("memory") };
        machine.answer();
        machine.command(&json!({ "execute": "qmp_capabilities" }));
        machine
    }

    /// The tables that the RSDT leads to; none while the firmware is still writing them.
    fn tables(&mut self, rsdt: u64) -> Vec<Vec<u8>> {
        let Some(rsdt) = self.table(rsdt) else { return Vec::new() };
        let (mut dsdt, mut ssdts) = (Vec::new(), Vec::new());
        for at in (36..rsdt.len()).step_by(4) {
            let Some(table) = self.table(number(&rsdt, at)) else { return Vec::new() };
            match table.get(..4) {
                Some(b"FACP") => dsdt.extend(self.table(number(&table, 40))),
                Some(b"SSDT") => ssdts.push(table),
                _ => {}
            }
        }
        if dsdt.is_empty() { dsdt } else { [dsdt, ssdts].concat() }
    }

    fn table(&mut self, at: u64) -> Option<Vec<u8>> {
        let length = number(&self.read(at, 8), 4);
        let table = if (36..1 << 24).contains(&length) { self.read(at, length) } else { return None };
        (table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0).then_some(table)
    }

    fn read(&mut self, at: u64, bytes: u64) -> Vec<u8> {
        let save = json!({ "val": at, "size": bytes, "filename": self.dump });
        self.command(&json!({ "execute": "pmemsave", "arguments": save }));
        std::fs::read(&self.dump).expect("the dump")
    }

    fn command(&mut self, command: &Value) {
        writeln!(self.monitor.get_mut(), "{command}").expect("the monitor listens");
        loop {
            let line = self.answer();
            assert!(line.get("error").is_none(), "{command}: {line}");
            if line.get("return").is_some() {
                return;
            }
        }
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.monitor.read_line(&mut line).expect("the monitor answers");
        serde_json::from_str(&line).expect("JSON")
    }
}
