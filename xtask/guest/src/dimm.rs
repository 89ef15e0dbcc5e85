//! DIMMs of a running guest: `object_add`, `device_add` and `device_del` through QMP, and the kernel's answers.
//!
//! A DIMM `d0` has its memory from an object `d0-ram`, and so on. A DIMM `dimm0` has it from `ram0`, as in the example's
//! lines for the monitor, which thus stay free for a user to type.
//!
//! `_OST` has a number for accepted, and few for refused. What became of the DIMM and why it is refused is the kernel's
//! to say: it is asked by the second serial line, where nobody else uses that.
//!
//! [`Dimms`] is what a user asks for: checked, and undone if QEMU refuses. Measurements use the single steps that it
//! consists of, which are methods of [`Monitor`].

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use qapi::qmp::{self, MemoryDeviceInfo};
use serde_json::json;

use crate::discovery;
use crate::qmp::{Eject, Monitor, eject};
use crate::rpc::Client;
use crate::schema::{Acpi, AcpiDevice};
use crate::size::ByteSize;

/// QEMU's name of the device.
const DRIVER: &str = "pc-dimm";
/// What an `_OST` answers.
const INSERTION: i64 = 1;
const EJECT_REQUEST: i64 = 3;
/// The status of an eject request that is under way.
pub const EJECTING: i64 = 0x84;
/// The status of one that is refused: the device is in use, and its content cannot be moved.
pub const BUSY: i64 = 0x82;

/// The DIMMs of one guest. QEMU's monitor serves no other connection meanwhile.
#[derive(Debug)]
pub struct Dimms {
    monitor: Monitor,
    /// The second serial line, if the guest has one.
    remote: Option<PathBuf>,
    limit: Duration,
}

/// How long the kernel may take to say more. It does not answer while another program uses the second line.
const MORE: Duration = Duration::from_secs(2);

/// The kernel's answer to the plug or the ejection of a DIMM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is plugged, and in this state ("online", "offline"; "accepted" if the kernel does not say more), or unplugged.
    Done(String),
    /// The kernel refuses, for this reason.
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
    /// Its state as the kernel has it, or where that cannot be asked, the last `_OST` in words.
    pub said: String,
}

impl Monitor {
    /// Makes the memory of a DIMM. It is not reserved on the host: a DIMM may be larger than the host's memory.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn add_memory(&mut self, id: &str, size: ByteSize) -> Result<()> {
        let memory_backend_ram = qmp::MemoryBackendProperties {
            size: size.bytes(),
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
        let object = qmp::ObjectOptions::memory_backend_ram { id: memory_of(id), memory_backend_ram };
        self.execute(&qmp::object_add(object))?;
        Ok(())
    }

    /// Plugs the DIMM whose memory [`Monitor::add_memory`] has made.
    ///
    /// # Errors
    /// QEMU refuses.
    pub fn add_device(&mut self, id: &str, node: u64) -> Result<()> {
        let arguments = [("memdev", json!(memory_of(id))), ("node", json!(node))];
        self.execute(&qmp::device_add {
            driver: DRIVER.to_owned(),
            id: Some(id.to_owned()),
            bus: None,
            arguments: arguments.map(|(name, value)| (name.to_owned(), value)).into_iter().collect(),
        })?;
        Ok(())
    }

    /// Waits for the kernel's `_OST` about the DIMM that was plugged; its status, and when it arrived.
    pub fn wait_plugged(&mut self, id: &str, limit: Duration) -> Option<(Instant, i64)> {
        match self.final_answer(id, INSERTION, limit)? {
            (at, Eject::Told(ost)) => Some((at, ost.status)),
            (_, Eject::Deleted(_)) => None,
        }
    }

    /// Waits for the kernel's last answer about a DIMM to the firmware's notification `source`.
    fn final_answer(&mut self, id: &str, source: i64, limit: Duration) -> Option<(Instant, Eject)> {
        self.wait_event(limit, |event| {
            eject(event).filter(|event| match event {
                Eject::Deleted(device) => device == id,
                Eject::Told(ost) => ost.device == id && ost.source == source && is_final(source, ost.status),
            })
        })
    }

    /// The DIMMs that are plugged.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn dimms(&mut self) -> Result<Vec<qmp::PCDIMMDeviceInfo>> {
        let devices = self.execute(&qmp::query_memory_devices {})?;
        Ok(devices
            .into_iter()
            .filter_map(|device| match device {
                MemoryDeviceInfo::dimm(dimm) | MemoryDeviceInfo::nvdimm(dimm) => Some(dimm.data),
                _ => None,
            })
            .collect())
    }
}

impl Dimms {
    /// Connects to the guest whose QMP socket is at `path` ([`discovery::find`]); `limit` is for each answer of the
    /// kernel.
    ///
    /// # Errors
    /// No guest there, or another client is connected to its monitor.
    pub fn connect(path: &Path, limit: Duration) -> Result<Self> {
        // Before the monitor, which has one client at a time.
        let remote = discovery::second_port(path)?;
        Self::over(path, remote, limit)
    }

    /// The same with the second serial line at `remote`.
    pub(crate) fn over(path: &Path, remote: Option<PathBuf>, limit: Duration) -> Result<Self> {
        Ok(Self { monitor: Monitor::new(discovery::connect(path)?)?, remote, limit })
    }

    /// The same for a caller that uses the second serial line itself: the kernel is not asked for more than `_OST` says.
    #[must_use]
    pub fn without_second_line(self) -> Self {
        Self { remote: None, ..self }
    }

    /// What the kernel says of its memory devices. Nothing where it cannot be asked.
    fn kernels_view(&self) -> Vec<AcpiDevice> {
        let ask = || {
            let mut client = Client::connect(self.remote.as_ref()?, Some(MORE)).ok()?;
            let acpi: Acpi = serde_json::from_value(client.ask("acpi -J").ok()?.ok()?).ok()?;
            Some(acpi.devices)
        };
        ask().unwrap_or_default()
    }

    fn slot(&mut self, id: &str) -> Result<Option<i64>> {
        let mut dimms = self.monitor.dimms()?.into_iter();
        Ok(dimms.find(|dimm| dimm.id.as_deref() == Some(id)).map(|dimm| dimm.slot))
    }

    /// Plugs a DIMM of that name, and waits for the kernel's answer.
    ///
    /// # Errors
    /// QEMU refuses (then nothing of the DIMM is left), or no answer comes (it stays plugged).
    pub fn add(&mut self, id: &str, size: ByteSize, node: u64) -> Result<Outcome> {
        ensure!(size.bytes() > 0, "a DIMM of 0 bytes is none");
        ensure!(
            size.bytes().is_multiple_of(2 << 20),
            "a DIMM of {size} is not a multiple of 2M, as QEMU's are"
        );
        let taken = self.monitor.dimms()?.into_iter().any(|dimm| dimm.id.as_deref() == Some(id));
        ensure!(!taken, "there is a DIMM {id} already (`dimms` lists them)");
        let nodes = self.nodes()?;
        ensure!(node < nodes, "there is no node {node}: the guest has {nodes} (`cargo xtask run --nodes N`)");
        let refused = |error| refusal_of_qemu(&format!("{error:#}"), size);
        self.monitor.add_memory(id, size).map_err(refused)?;
        if let Err(error) = self.monitor.add_device(id, node) {
            self.monitor.execute(&qmp::object_del { id: memory_of(id) })?;
            return Err(refused(error));
        }
        match self.monitor.wait_plugged(id, self.limit) {
            Some((_, status)) => {
                let slot = self.slot(id)?;
                let device = slot.and_then(|slot| in_slot(&self.kernels_view(), slot));
                let state = device.map(|device| device.state.to_string());
                Ok(match status {
                    0 => Outcome::Done(state.unwrap_or_else(|| words(INSERTION, 0))),
                    _ => Outcome::Refused(
                        match state.as_deref().and_then(|state| state.strip_prefix("refused: ")) {
                            Some(reason) => reason.to_owned(),
                            None => in_the_log(&words(INSERTION, status)),
                        },
                    ),
                })
            }
            None => bail!("no answer from the kernel about {id}; it stays plugged"),
        }
    }

    /// Asks the kernel for a DIMM back, and unplugs it.
    ///
    /// # Errors
    /// There is no such DIMM, QEMU refuses, or no answer comes: it stays plugged.
    pub fn remove(&mut self, id: &str) -> Result<Outcome> {
        let Some(dimm) = self.monitor.dimms()?.into_iter().find(|dimm| dimm.id.as_deref() == Some(id)) else {
            bail!("there is no DIMM {id} (`dimms` in the guest, `cargo xtask dimm list` on the host)");
        };
        self.monitor
            .execute(&qmp::device_del { id: id.to_owned() })
            .map_err(|error| anyhow!("QEMU refuses {id}: {error}"))?;
        match self.monitor.final_answer(id, EJECT_REQUEST, self.limit) {
            Some((_, Eject::Deleted(_))) => {
                // Its memory is an object below /objects.
                let memory = dimm.memdev.trim_start_matches("/objects/").to_owned();
                self.monitor
                    .execute(&qmp::object_del { id: memory.clone() })
                    .map_err(|error| anyhow!("{id} is gone, but its memory {memory} is not: {error}"))?;
                Ok(Outcome::Done("unplugged".to_owned()))
            }
            Some((_, Eject::Told(ost))) => {
                let device = in_slot(&self.kernels_view(), dimm.slot);
                let refusal = device.and_then(|device| device.eject_refused);
                let otherwise = || in_the_log(&words(EJECT_REQUEST, ost.status));
                Ok(Outcome::Refused(refusal.map_or_else(otherwise, |refusal| refusal.to_string())))
            }
            None => bail!("no answer from the kernel about {id}; it stays plugged"),
        }
    }

    /// The DIMMs that are plugged, by their slots.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn list(&mut self) -> Result<Vec<Dimm>> {
        let answers = self.monitor.execute(&qmp::query_acpi_ospm_status {})?;
        let mut dimms = self.monitor.dimms()?;
        dimms.sort_by_key(|dimm| dimm.slot);
        let devices = self.kernels_view();
        let told = |dimm: qmp::PCDIMMDeviceInfo| {
            let answer = answers.iter().find(|answer| answer.device.is_some() && answer.device == dimm.id);
            // QEMU has a slot's answer as 0, 0 until there is one.
            let said = match (in_slot(&devices, dimm.slot), answer.filter(|answer| answer.source != 0)) {
                (Some(device), _) => device.state.to_string(),
                (None, Some(answer)) => words(answer.source, answer.status),
                (None, None) => "none".to_owned(),
            };
            Ok(Dimm {
                id: dimm.id.unwrap_or_default(),
                slot: dimm.slot,
                node: dimm.node,
                size: ByteSize::new(u64::try_from(dimm.size)?),
                address: dimm.addr,
                said,
            })
        };
        dimms.into_iter().map(told).collect()
    }

    /// The names of the DIMMs that are plugged, with their slots.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn names(&mut self) -> Result<Vec<(i64, String)>> {
        let dimms = self.monitor.dimms()?.into_iter();
        Ok(dimms.filter_map(|dimm| Some((dimm.slot, dimm.id?))).collect())
    }

    /// How many NUMA nodes the machine has, those without memory included.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn nodes(&mut self) -> Result<u64> {
        let answer = self.monitor.human("info numa")?;
        // "2 nodes", then a list; nothing in machines without NUMA.
        Ok(answer.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(1).max(1))
    }

    /// The first of `d0`, `d1`, ... that neither a DIMM nor its memory has.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn free_id(&mut self) -> Result<String> {
        let taken: Vec<_> = self.monitor.dimms()?.into_iter().map(|dimm| (dimm.id, dimm.memdev)).collect();
        let backends = self.monitor.execute(&qmp::query_memdev {})?;
        let is_free = |id: &String| {
            let memory = memory_of(id);
            !taken.iter().any(|(other, memdev)| other.as_ref() == Some(id) || memdev.ends_with(&memory))
                && !backends.iter().any(|backend| backend.id.as_ref() == Some(&memory))
        };
        (0..).map(|number| format!("d{number}")).find(is_free).context("no name is free")
    }
}

/// The memory object of the DIMM `id`: `ram0` for `dimm0`.
fn memory_of(id: &str) -> String {
    match id.strip_prefix("dimm") {
        Some(number) if !number.is_empty() => format!("ram{number}"),
        _ => format!("{id}-ram"),
    }
}

/// The device of a slot: QEMU's firmware names them MP00, MP01, ... by their slots.
fn in_slot(devices: &[AcpiDevice], slot: i64) -> Option<AcpiDevice> {
    let name = format!(".MP{slot:02X}");
    devices.iter().find(|device| device.device.ends_with(&name)).cloned()
}

/// QEMU's refusal of a DIMM in words that name the option which would help, and then QEMU's own.
fn refusal_of_qemu(error: &str, size: ByteSize) -> anyhow::Error {
    let hints = [
        ("no free slots", "all slots for DIMMs are in use (`cargo xtask run --slots N`)"),
        ("not enough space", "the guest has no addresses left for it (`cargo xtask run --max-memory SIZE`)"),
        ("memory devices", "the guest takes no DIMMs (`cargo xtask run --slots N --max-memory SIZE`)"),
        ("Cannot allocate memory", "the host has no memory for it"),
        ("attempt to add duplicate property", "its id is taken"),
    ];
    match hints.iter().find(|(sign, _)| error.contains(sign)) {
        Some((_, hint)) => anyhow!("a DIMM of {size} does not fit: {hint}; QEMU says: {error}"),
        None => anyhow!("QEMU refuses a DIMM of {size}: {error}"),
    }
}

/// Where to look when `_OST`'s status is all that is known.
fn in_the_log(words: &str) -> String {
    format!("{words}; the kernel's log (`dmesg`) says why")
}

/// Whether an answer is the last one: an eject that is under way is not, nor that it went well, which the
/// device's end says.
const fn is_final(source: i64, status: i64) -> bool {
    !matches!((source, status), (EJECT_REQUEST, 0 | EJECTING))
}

/// `_OST`'s source and status in words (ACPI 6.5, 6.3.5, tables 6.21 and 6.22).
pub fn words(source: i64, status: i64) -> String {
    let text = match (source, status) {
        (1, 0) => "accepted",
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

    /// Proves that a refusal of QEMU's names the option of `cargo xtask run` that helps. Fails when its words change.
    #[test]
    fn refusals_of_qemu_name_an_option() {
        let size = ByteSize::new(1 << 40);
        for (error, option) in [
            ("no free slots available", "--slots"),
            (
                "not enough space, currently 0x10000000 in use of total space for memory devices 0x3fe0000000",
                "--max-memory",
            ),
            (
                "memory devices (e.g. for memory hotplug) are not enabled, please specify the maxmem option",
                "--slots N --max",
            ),
        ] {
            let text = refusal_of_qemu(error, size).to_string();
            assert!(text.contains(option) && text.ends_with(error), "{text}");
        }
    }

    /// A code without a name is shown as it is.
    #[test]
    fn every_code_has_words() {
        assert_eq!(words(1, 0), "accepted");
        assert_eq!(words(3, 0x82), "busy");
        assert_eq!(words(0x103, 0x99), "source 0x103, status 0x99");
    }
}
