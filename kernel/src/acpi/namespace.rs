//! The AML namespace: the DSDT and the SSDTs, loaded once, and every evaluation the kernel asks for.
//!
//! Invariants: an evaluation is bounded (steps, depth, bytes, sleep) and runs with the heap's reserve
//! open, so that it works when memory is exhausted and ends when the firmware's code does not.

use super::aml_host::{Inbox, KernelHost};
use super::tables::{Bytes, Signature, StaticTables};
use crate::hotplug;
use crate::memory::heap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use carapace_acpi::ratelimit::{RateLimit, Verdict};
use carapace_aml::{Aml, Limits, Loaded, Reach, Value};
use core::fmt;
use log::{info, warn};

/// The bounds of one evaluation. QEMU's scan of 256 slots takes some ten thousand steps.
const STEPS: u32 = 1_000_000;
const DEPTH: u16 = 64;
const SLEEP_MS: u32 = 2_000;
/// Declarations without what they name that the log has line by line.
const MAX_TOLD: usize = 16;
/// Bytes beside the tables themselves; the heap's reserve is larger, see `memory::heap`.
const OBJECT_BYTES: usize = 768 << 10;
const _: () = assert!(3 * OBJECT_BYTES as u64 <= heap::RESERVE_BYTES);

/// The loaded tables.
#[derive(Debug)]
pub struct Namespace {
    aml: Aml,
    /// The paths of all devices, table by table: see [`Namespace::devices`].
    devices: Vec<String>,
    /// What AML told about devices and nobody has handled yet.
    pub inbox: Inbox,
    /// What the log has had about methods that fail when firmware tells something.
    complaints: RateLimit,
    /// Nanoseconds that evaluations have taken since boot.
    pub spent_ns: u64,
}

impl Namespace {
    /// Loads the DSDT and all SSDTs, and initialises the devices (`_INI`). What is broken in a table is left
    /// out with a warning, an SSDT that cannot be loaded at all as a whole.
    ///
    /// # Errors
    ///
    /// When the DSDT cannot be loaded at all.
    pub fn load(tables: &StaticTables) -> Result<Namespace, carapace_aml::Error> {
        let is_aml = |signature| signature == Signature::DSDT || signature == Signature::SSDT;
        let bytes: usize =
            tables.all().iter().filter(|table| is_aml(table.signature)).map(|t| t.length as usize).sum();
        let limits = Limits { steps: STEPS, depth: DEPTH, bytes: bytes + OBJECT_BYTES, sleep_ms: SLEEP_MS };
        let mut namespace = Namespace {
            aml: Aml::new(limits),
            devices: Vec::new(),
            inbox: Inbox::default(),
            complaints: RateLimit::default(),
            spent_ns: 0,
        };
        let dsdt = tables
            .find(Signature::DSDT)
            .map_err(|_| carapace_aml::ErrorKind::BadTable("there is no DSDT"))?;
        tell_left_out_of("DSDT", &namespace.with(|aml, host| aml.load(host, dsdt.bytes()))?);
        namespace.list_devices();
        for table in tables.all().iter().filter(|table| table.signature == Signature::SSDT) {
            let name = format!("SSDT {} at {}", table.oem_table_id.escape_ascii(), table.at);
            match namespace.with(|aml, host| aml.load(host, table.bytes())) {
                Ok(loaded) => tell_left_out_of(&name, &loaded),
                Err(error) => warn!("{name} left out: {error}"),
            }
            namespace.list_devices();
        }
        let waiting: Vec<String> = namespace.aml.waiting().map(|error| format!("{error}")).collect();
        for error in waiting.iter().take(MAX_TOLD) {
            warn!("a declaration is left out: {error}");
        }
        if waiting.len() > MAX_TOLD {
            warn!("{} more declarations name what no table has", waiting.len() - MAX_TOLD);
        }
        if let Err(error) = namespace.with(|aml, host| aml.initialize(host)) {
            warn!("_INI: {error}");
        }
        namespace.list_devices();
        // Interrupts come through the IO APICs: firmware may route by that (ACPI 6.5, section 5.8.1).
        if namespace.exists("\\_PIC")
            && let Err(error) = namespace.evaluate("\\_PIC", &[Value::Integer(1)])
        {
            warn!("{error}");
        }
        info!("AML: {bytes} bytes loaded, DSDT revision {}", dsdt.revision);
        Ok(namespace)
    }

    /// Runs `work` with the interpreter and its surroundings, the heap's reserve open.
    fn with<R>(&mut self, work: impl FnOnce(&mut Aml, &mut KernelHost<'_>) -> R) -> R {
        let start = hotplug::nanoseconds();
        let Namespace { aml, inbox, .. } = self;
        let result = heap::with_reserve(|| work(aml, &mut KernelHost { inbox }));
        self.spent_ns += hotplug::nanoseconds().saturating_sub(start);
        result
    }

    /// Logs that firmware's code went wrong while it told something, or counts it where that happens a lot.
    pub fn complain(&mut self, text: fmt::Arguments<'_>) {
        let Verdict::Log { suppressed } = self.complaints.check(hotplug::microseconds()) else { return };
        if suppressed > 0 {
            tell_left_out(suppressed);
        }
        warn!("{text}");
    }

    /// A burst of events is over: frees what evaluations have left behind, and logs how many complaints were left
    /// out.
    pub fn settle(&mut self) {
        self.tidy();
        if let Some(lines) = self.complaints.flush_suppressed() {
            tell_left_out(lines);
        }
    }

    /// Frees what evaluations have left behind.
    pub fn tidy(&mut self) {
        // Looking for it takes a few bytes.
        heap::with_reserve(|| self.aml.tidy());
    }

    /// The value of the object, or what the method returns.
    ///
    /// # Errors
    ///
    /// Those of the interpreter; the next evaluation is not affected.
    pub fn evaluate(&mut self, path: &str, args: &[Value]) -> Result<Value, carapace_aml::Error> {
        self.with(|aml, host| aml.evaluate(host, path, args))
    }

    /// The value of `object` of `device`; `None` where the device has none.
    ///
    /// # Errors
    ///
    /// As for [`Namespace::evaluate`].
    pub fn evaluate_of(&mut self, device: &str, object: &str) -> Result<Option<Value>, carapace_aml::Error> {
        let path = child(device, object);
        if self.exists(&path) { self.evaluate(&path, &[]).map(Some) } else { Ok(None) }
    }

    /// Whether there is an object with this path.
    pub fn exists(&self, path: &str) -> bool {
        self.aml.exists(path)
    }

    /// The paths of all devices: those of the DSDT before those of SSDTs, so that of two devices which claim
    /// the same memory the machine's own gets it; parents first.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// Appends the devices that the table loaded last has brought.
    fn list_devices(&mut self) {
        let known: BTreeSet<&String> = self.devices.iter().collect();
        let new: Vec<String> =
            self.aml.devices().into_iter().filter(|device| !known.contains(device)).collect();
        self.devices.extend(new);
    }

    /// The paths of what lies directly below `path`.
    pub fn children(&self, path: &str) -> Vec<String> {
        self.aml.children(path)
    }

    /// The device's `_HID` as text.
    ///
    /// # Errors
    ///
    /// As for [`Namespace::evaluate`].
    pub fn hardware_id(&mut self, device: &str) -> Result<Option<String>, carapace_aml::Error> {
        self.with(|aml, host| aml.hid(host, device))
    }

    /// Whether `method` may execute a Notify on a device that `is_target` knows.
    pub fn reaches_notify(&self, method: &str, is_target: &dyn Fn(&str) -> bool) -> Reach {
        self.aml.reaches_notify(method, is_target)
    }
}

/// What is missing of a table.
fn tell_left_out_of(table: &str, loaded: &Loaded) {
    for refused in &loaded.refused {
        warn!("{table}: {refused}");
    }
    if loaded.more > 0 {
        warn!("{table}: {} more terms are left out", loaded.more);
    }
}

fn tell_left_out(lines: u64) {
    warn!("{lines} more complaints about AML, left out");
}

/// The path of `name` below `parent`.
pub fn child(parent: &str, name: &str) -> String {
    let mut path = String::from(parent);
    if !path.ends_with('\\') {
        path.push('.');
    }
    path.push_str(name);
    path
}

/// The path of what `path` lies in; `None` for the root and what lies directly in it.
pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('.').map(|(parent, _)| parent)
}
