//! DIMMs of a guest that runs, as `object_add`, `device_add` and `device_del` in QEMU's monitor plug and unplug them,
//! and what the kernel answered.
//!
//! A DIMM `dimm0` has its memory from an object `ram0`, and so on, as in the example.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use qapi::qmp::{self, Event, MemoryDeviceInfo};
use qapi::{Qmp, Stream};
use serde_json::json;

use crate::guests;
use crate::size::ByteSize;

/// How long one answer of QEMU's may take; the kernel's has a limit of its own.
const QEMU_PATIENCE: Duration = Duration::from_secs(30);
/// QEMU's name of the device.
const DRIVER: &str = "pc-dimm";

/// QEMU's monitor, for as long as this is held: it speaks with one at a time.
pub struct Monitor {
    qmp: Qmp<Stream<BufReader<UnixStream>, UnixStream>>,
    limit: Duration,
}

/// What the kernel answered to a DIMM that was added, or asked for back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is online, or unplugged.
    Done,
    /// The kernel refuses, for this reason; its log has more.
    Refused(String),
}

/// A DIMM that is plugged.
#[derive(Clone, Debug)]
pub struct Dimm {
    /// Its name in QEMU.
    pub id: String,
    /// Its slot.
    pub slot: i64,
    /// Its node.
    pub node: i64,
    /// Its size.
    pub size: ByteSize,
    /// Its address.
    pub address: i64,
    /// What the kernel has said about it last, in words.
    pub said: String,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl Monitor {
    /// Connects to the guest whose QMP socket is at `path` ([`guests::find`]); `limit` is for each answer of the
    /// kernel's.
    ///
    /// # Errors
    /// No guest there, or one whose monitor speaks with somebody else.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self> {
        let socket = guests::connect(path)?;
        socket.set_read_timeout(Some(QEMU_PATIENCE))?;
        let mut qmp = Qmp::new(Stream::new(BufReader::new(socket.try_clone()?), socket));
        qmp.handshake().context("no greeting by QMP: is another program connected to this socket?")?;
        Ok(Self { qmp, limit })
    }

    /// Plugs a DIMM of that name, and waits for what the kernel makes of it.
    ///
    /// # Errors
    /// QEMU refuses (then nothing of the DIMM is left), or no answer comes (it stays plugged).
    pub fn add(&mut self, id: &str, size: ByteSize, node: u64) -> Result<Outcome> {
        let id = id.to_owned();
        ensure!(size.bytes() > 0, "a DIMM of 0 bytes is none");
        ensure!(
            size.bytes().is_multiple_of(2 << 20),
            "a DIMM of {size} is not a multiple of 2M, as QEMU's are"
        );
        let taken = self.dimms()?.into_iter().any(|dimm| dimm.id.as_deref() == Some(id.as_str()));
        ensure!(!taken, "there is a DIMM {id} already; `cargo xtask dimm list` shows those that are");
        let memory = memory_of(&id);
        let properties = qmp::MemoryBackendProperties {
            size: size.bytes(),
            // A DIMM may be larger than the host: only what is touched is needed.
            reserve: Some(false),
            dump: None,
            host_nodes: None,
            merge: None,
            policy: None,
            prealloc: None,
            prealloc_context: None,
            prealloc_threads: None,
            share: None,
            x_use_canonical_path_for_ramblock_id: None,
        };
        let object =
            qmp::ObjectOptions::memory_backend_ram { id: memory.clone(), memory_backend_ram: properties };
        self.qmp
            .execute(&qmp::object_add(object))
            .map_err(|error| anyhow!("QEMU refuses {id} of {size}: {error}"))?;
        let arguments = [("memdev", json!(memory)), ("node", json!(node))];
        let device = qmp::device_add {
            driver: DRIVER.to_owned(),
            id: Some(id.clone()),
            bus: None,
            arguments: arguments.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
        };
        if let Err(error) = self.qmp.execute(&device) {
            self.qmp.execute(&qmp::object_del { id: memory })?;
            bail!("QEMU refuses {id}: {error}");
        }
        match self.answer(&id, 1)? {
            Some(Answer::Status(0)) => Ok(Outcome::Done),
            Some(Answer::Status(status)) => Ok(Outcome::Refused(words(1, status))),
            Some(Answer::Gone) | None => bail!("no answer from the kernel about {id}; it stays plugged"),
        }
    }

    /// Asks the kernel for a DIMM back, and unplugs it.
    ///
    /// # Errors
    /// There is no such DIMM, QEMU refuses, or no answer comes: it stays plugged.
    pub fn remove(&mut self, id: &str) -> Result<Outcome> {
        let Some(dimm) = self.dimms()?.into_iter().find(|dimm| dimm.id.as_deref() == Some(id)) else {
            bail!("there is no DIMM {id}; `cargo xtask dimm list` shows those that are");
        };
        self.qmp
            .execute(&qmp::device_del { id: id.to_owned() })
            .map_err(|error| anyhow!("QEMU refuses {id}: {error}"))?;
        match self.answer(id, 3)? {
            Some(Answer::Gone) => {
                // Its memory is an object below /objects.
                let memory = dimm.memdev.trim_start_matches("/objects/").to_owned();
                self.qmp
                    .execute(&qmp::object_del { id: memory.clone() })
                    .map_err(|error| anyhow!("{id} is gone, but its memory {memory} is not: {error}"))?;
                Ok(Outcome::Done)
            }
            Some(Answer::Status(status)) => Ok(Outcome::Refused(words(3, status))),
            None => bail!("no answer from the kernel about {id}; it stays plugged"),
        }
    }

    /// The DIMMs that are plugged, by their slots.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn list(&mut self) -> Result<Vec<Dimm>> {
        let answers = self.qmp.execute(&qmp::query_acpi_ospm_status {})?;
        let mut dimms = self.dimms()?;
        dimms.sort_by_key(|dimm| dimm.slot);
        let told = |dimm: qmp::PCDIMMDeviceInfo| {
            let answer = answers.iter().find(|answer| answer.device.is_some() && answer.device == dimm.id);
            // QEMU has a slot's answer as 0, 0 until there is one.
            let said = match answer.filter(|answer| answer.source != 0) {
                Some(answer) => words(answer.source, answer.status),
                None => "none".to_owned(),
            };
            Ok(Dimm {
                id: dimm.id.unwrap_or_default(),
                slot: dimm.slot,
                node: dimm.node,
                size: u64::try_from(dimm.size)?.to_string().parse()?,
                address: dimm.addr,
                said,
            })
        };
        dimms.into_iter().map(told).collect()
    }

    /// How many NUMA nodes the machine has, those without memory included.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn nodes(&mut self) -> Result<u64> {
        let command_line = "info numa".to_owned();
        let answer = self.qmp.execute(&qmp::human_monitor_command { cpu_index: None, command_line })?;
        // "2 nodes", then a list; nothing in machines without NUMA.
        Ok(answer.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(1).max(1))
    }

    /// The socket that the guest's second serial port listens at; `None` if it has no such port.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn remote(&mut self) -> Result<Option<PathBuf>> {
        let devices = self.qmp.execute(&qmp::query_chardev {})?;
        let socket = devices.iter().find(|device| device.label == guests::REMOTE);
        Ok(socket.and_then(|device| socket_of(&device.filename)))
    }

    fn dimms(&mut self) -> Result<Vec<qmp::PCDIMMDeviceInfo>> {
        let devices = self.qmp.execute(&qmp::query_memory_devices {})?;
        Ok(devices
            .into_iter()
            .filter_map(|device| match device {
                MemoryDeviceInfo::dimm(dimm) | MemoryDeviceInfo::nvdimm(dimm) => Some(dimm.data),
                _ => None,
            })
            .collect())
    }

    /// The first of `dimm0`, `dimm1`, ... that neither a DIMM nor its memory has.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn free_id(&mut self) -> Result<String> {
        let taken: Vec<_> = self.dimms()?.into_iter().map(|dimm| (dimm.id, dimm.memdev)).collect();
        let backends = self.qmp.execute(&qmp::query_memdev {})?;
        let is_free = |id: &String| {
            let memory = memory_of(id);
            !taken.iter().any(|(other, memdev)| other.as_ref() == Some(id) || memdev.ends_with(&memory))
                && !backends.iter().any(|backend| backend.id.as_ref() == Some(&memory))
        };
        (0..).map(|number| format!("dimm{number}")).find(is_free).context("no name is free")
    }

    /// Waits for the kernel's final answer about the DIMM `id` to what the firmware told it (`source`).
    fn answer(&mut self, id: &str, source: i64) -> Result<Option<Answer>> {
        let end = Instant::now() + self.limit;
        loop {
            // Events come with the next answer to a command.
            self.qmp.nop().context("while waiting for the kernel's answer")?;
            for event in self.qmp.events() {
                match event {
                    Event::DEVICE_DELETED { data, .. } if data.device.as_deref() == Some(id) => {
                        return Ok(Some(Answer::Gone));
                    }
                    Event::ACPI_DEVICE_OST { data: qmp::ACPI_DEVICE_OST { info }, .. }
                        if info.device.as_deref() == Some(id)
                            && info.source == source
                            && is_final(source, info.status) =>
                    {
                        return Ok(Some(Answer::Status(info.status)));
                    }
                    _ => {}
                }
            }
            if Instant::now() >= end {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What becomes known of a DIMM.
enum Answer {
    /// The kernel's `_OST` status.
    Status(i64),
    /// It is unplugged.
    Gone,
}

/// The memory object of the DIMM `id`: `ram0` for `dimm0`.
fn memory_of(id: &str) -> String {
    match id.strip_prefix("dimm") {
        Some(number) if !number.is_empty() => format!("ram{number}"),
        _ => format!("{id}-ram"),
    }
}

/// Whether an answer is the last one: an eject that is under way is not, nor that it went well, which the
/// device's end says.
const fn is_final(source: i64, status: i64) -> bool {
    !matches!((source, status), (3, 0 | 0x84))
}

/// The path in what QEMU says of a listening socket: `disconnected:unix:/run/1.remote,server=on`.
fn socket_of(filename: &str) -> Option<PathBuf> {
    let (_, path) = filename.split_once("unix:")?;
    let path = path.split_once(",server").map_or(path, |(path, _)| path);
    Some(PathBuf::from(path))
}

/// `_OST`'s source and status in words (ACPI 6.5, 6.3.5, tables 6.21 and 6.22).
pub fn words(source: i64, status: i64) -> String {
    let text = match (source, status) {
        (1, 0) => "online",
        (3, 0) => "ejected",
        (_, 0) => "success",
        (_, 1) => "failed, for no reason that ACPI has a number for",
        (_, 2) => "the event was not recognised",
        (3, 0x80) => "ejecting it is not supported",
        (3, 0x81) => "in use by an application",
        (3, 0x82) => "busy",
        (3, 0x83) => "something else depends on it",
        (3, 0x84) => "being ejected",
        (1, 0x80) => "being added",
        (1, 0x81) => "no driver could be loaded",
        (1, 0x82) => "adding it is not supported",
        (source, status) => return format!("source {source:#x}, status {status:#x}"),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example's names belong together, and a name of one's own has a memory of its own.
    #[test]
    fn names_of_memory() {
        assert_eq!(memory_of("dimm12"), "ram12");
        assert_eq!(memory_of("dimm"), "dimm-ram");
        assert_eq!(memory_of("mine"), "mine-ram");
    }

    /// An eject is over by a refusal or by the device's end, never by the news that it is under way.
    #[test]
    fn an_eject_under_way_is_not_over() {
        assert!(!is_final(3, 0x84) && !is_final(3, 0));
        assert!(is_final(3, 0x82) && is_final(1, 0) && is_final(1, 1));
    }

    /// QEMU's word for the socket, before and while somebody is connected (QEMU 7.2).
    #[test]
    fn second_port_by_its_name() {
        let path = Some(PathBuf::from("/run/u/1.remote"));
        assert_eq!(socket_of("disconnected:unix:/run/u/1.remote,server=on"), path);
        assert_eq!(socket_of("unix:/run/u/1.remote,server=on"), path);
        assert_eq!(socket_of("stdio"), None);
    }

    /// A code without a name is shown as it is.
    #[test]
    fn every_code_has_words() {
        assert_eq!(words(1, 0), "online");
        assert_eq!(words(3, 0x82), "busy");
        assert_eq!(words(0x103, 0x99), "source 0x103, status 0x99");
    }
}
