//! The AML namespace: the DSDT and the SSDTs, loaded once, and every evaluation by the kernel.
//!
//! Invariants: an evaluation is bounded in steps, depth, bytes and sleep, so it ends even if the firmware's code does
//! not. It may use the heap's reserve, so it works when memory is exhausted. What loading may take depends on the size of
//! the tables and of the heap, which `memory::boot` makes larger by as much.
//!
//! Neighbours: crate `carapace-aml` interprets, `aml_host` accesses the hardware, `memory_device` and `gpe` evaluate.

use super::aml_host::{Inbox, KernelHost};
use super::tables::{Bytes, Signature, StaticTables};
use crate::hotplug;
use crate::memory::heap;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use carapace_acpi::ratelimit::{RateLimit, Verdict};
use carapace_aml::{Aml, Handle, Limits, Loaded, NameSeg, Reach, Value};
use core::fmt;
use log::{info, warn};

/// The bounds of one evaluation. QEMU's scan of 256 slots takes some ten thousand steps.
const STEPS: u32 = 1_000_000;
const DEPTH: u16 = 64;
/// Of the 26 machines' event methods the longest sleeps 8,190 ms (waiting for links that do not come up), the next 450 ms
/// (`event_methods_of_real_machines_sleep_less_than_the_kernel_allows`). The kernel stands still meanwhile, but for
/// interrupts and other CPUs; a method that sleeps without end gets half as much the next time, down to a sixteenth.
const SLEEP_MS: u32 = 10_000;
/// Unresolved declarations that are logged one by one.
const MAX_LOGGED: usize = 16;
/// Levels of devices above a device that are looked at; real namespaces have fewer than ten.
const MAX_LEVELS: usize = 32;
/// Bytes of objects per byte of a table. The tables of 26 real machines take 3.2 (median), 5.9 at most.
const OBJECT_BYTES_PER_BYTE: usize = 11;
/// Bytes of objects for tables of any size.
const OBJECT_BYTES_LEAST: usize = 256 << 10;
/// Bytes of the general part of the heap that loading leaves to the rest of the kernel.
const HEAP_BYTES_LEFT: u64 = 768 << 10;
/// Bytes that evaluations may hold beside what the tables took when they were loaded. The heap's reserve is larger, see
/// `memory::heap`: evaluations work when the general part is full.
const EVALUATION_BYTES: usize = 768 << 10;
const _: () = assert!(3 * EVALUATION_BYTES as u64 <= heap::RESERVE_BYTES);

/// Bytes that `aml` bytes of tables and their objects may take.
pub const fn bytes_for(aml: usize) -> usize {
    aml.saturating_mul(OBJECT_BYTES_PER_BYTE + 1).saturating_add(OBJECT_BYTES_LEAST)
}

/// The devices that enclose a device, from its parent up, without the root.
pub type Ancestors = ArrayVec<Handle, MAX_LEVELS>;

/// The loaded tables.
#[derive(Debug)]
pub struct Namespace {
    aml: Aml,
    /// All devices, table by table: see [`Namespace::devices`].
    devices: Vec<Handle>,
    /// Notifications to be handled.
    pub inbox: Inbox,
    /// Memory devices that leave with a device which does not enclose them (`_EJD`), and that device.
    pub dependents: Vec<(Handle, Handle)>,
    /// Limits log lines about failing methods.
    failures: RateLimit,
    /// Nanoseconds spent in evaluations since boot.
    pub spent_ns: u64,
}

impl Namespace {
    fn new(limits: Limits) -> Namespace {
        Namespace {
            aml: Aml::new(limits),
            devices: Vec::new(),
            inbox: Inbox::default(),
            dependents: Vec::new(),
            failures: RateLimit::default(),
            spent_ns: 0,
        }
    }

    /// A namespace of the predefined names, for a machine whose DSDT cannot be loaded: it has no device.
    pub fn without_tables() -> Namespace {
        Namespace::new(Limits { steps: STEPS, depth: DEPTH, bytes: EVALUATION_BYTES, sleep_ms: SLEEP_MS })
    }

    /// Loads the DSDT and all SSDTs, and initialises the devices (`_INI`). A broken part of a table is left out with a
    /// warning; so is an SSDT that cannot be loaded at all.
    ///
    /// # Errors
    ///
    /// The DSDT cannot be loaded at all.
    pub fn load(tables: &StaticTables) -> Result<Namespace, carapace_aml::Error> {
        let left = heap::stats().left.saturating_sub(HEAP_BYTES_LEFT);
        let bytes = bytes_for(tables.aml_bytes()).min(left as usize);
        let limits = Limits { steps: STEPS, depth: DEPTH, bytes, sleep_ms: SLEEP_MS };
        let mut namespace = Namespace::new(limits);
        let dsdt = tables
            .find(Signature::DSDT)
            .map_err(|_| carapace_aml::ErrorKind::BadTable("there is no DSDT"))?;
        log_refused("DSDT", &namespace.with(|aml, host| aml.load(host, dsdt.bytes()))?);
        namespace.append_devices();
        for table in tables.all().iter().filter(|table| table.signature == Signature::SSDT) {
            let name = format!("SSDT {} at {}", table.oem_table_id.escape_ascii(), table.at);
            match namespace.with(|aml, host| aml.load(host, table.bytes())) {
                Ok(loaded) => log_refused(&name, &loaded),
                Err(error) => warn!("{name} left out: {error}"),
            }
            namespace.append_devices();
        }
        let unresolved: Vec<String> = namespace.aml.waiting().map(|error| format!("{error}")).collect();
        for error in unresolved.iter().take(MAX_LOGGED) {
            warn!("a declaration is left out: {error}");
        }
        if unresolved.len() > MAX_LOGGED {
            warn!("{} more declarations are left out", unresolved.len() - MAX_LOGGED);
        }
        if let Err(error) = namespace.with(|aml, host| aml.initialize(host)) {
            warn!("_INI: {error}");
        }
        namespace.append_devices();
        namespace.aml.tidy();
        let held = namespace.aml.bytes_held();
        namespace.aml.limit_further(EVALUATION_BYTES);
        // Selects APIC mode: firmware may route interrupts by it (ACPI 6.5, section 5.8.1).
        if let Some(pic) = namespace.aml.find("\\_PIC")
            && let Err(error) = namespace.evaluate(pic, &[Value::Integer(1)])
        {
            warn!("{error}");
        }
        info!("AML: {} bytes, {held} with objects, DSDT revision {}", tables.aml_bytes(), dsdt.revision);
        Ok(namespace)
    }

    /// Runs `work` with the interpreter and its host; it may use the heap's reserve.
    fn with<R>(&mut self, work: impl FnOnce(&mut Aml, &mut KernelHost<'_>) -> R) -> R {
        let start = hotplug::nanoseconds();
        let Namespace { aml, inbox, .. } = self;
        let result = heap::with_reserve(|| work(aml, &mut KernelHost { inbox }));
        self.spent_ns += hotplug::nanoseconds().saturating_sub(start);
        result
    }

    /// Logs a failure of the firmware's code in an event, within a rate limit.
    pub fn log_failure(&mut self, text: fmt::Arguments<'_>) {
        let Verdict::Log { suppressed } = self.failures.check(hotplug::microseconds()) else { return };
        if suppressed > 0 {
            log_suppressed(suppressed);
        }
        warn!("{text}");
    }

    /// Cleans up after a burst of events: frees unreachable objects and logs how many failures were suppressed.
    pub fn flush_suppressed(&mut self) {
        self.tidy();
        if let Some(lines) = self.failures.flush_suppressed() {
            log_suppressed(lines);
        }
    }

    /// Frees unreachable objects of earlier evaluations.
    pub fn tidy(&mut self) {
        // The collection itself allocates a few bytes.
        heap::with_reserve(|| self.aml.tidy());
    }

    /// The value of the object, or the method's result.
    ///
    /// # Errors
    ///
    /// Those of the interpreter; the next evaluation is not affected.
    pub fn evaluate(&mut self, object: Handle, args: &[Value]) -> Result<Value, carapace_aml::Error> {
        self.with(|aml, host| aml.evaluate(host, object, args))
    }

    /// The value of `device`'s object `name`; `None` if it has none.
    ///
    /// # Errors
    ///
    /// As for [`Namespace::evaluate`].
    pub fn evaluate_child(
        &mut self,
        device: Handle,
        name: NameSeg,
    ) -> Result<Option<Value>, carapace_aml::Error> {
        self.child(device, name).map(|object| self.evaluate(object, &[])).transpose()
    }

    /// Runs `_INI` of `device`, of what encloses it and of what is below it, where one has come since the last call.
    pub fn initialize(&mut self, device: Handle) {
        if let Err(error) = self.with(|aml, host| aml.initialize_below(host, device)) {
            self.log_failure(format_args!("_INI: {error}"));
        }
    }

    /// The object with this absolute path.
    pub fn find(&self, path: &str) -> Option<Handle> {
        self.aml.find(path)
    }

    /// The object `name` directly below `parent`.
    pub fn child(&self, parent: Handle, name: NameSeg) -> Option<Handle> {
        self.aml.child(parent, name)
    }

    /// The devices that enclose `device`, from its parent up, without the root.
    pub fn ancestors(&self, device: Handle) -> Ancestors {
        self.aml.ancestors(device).take(MAX_LEVELS).collect()
    }

    /// The objects directly below the object with this path.
    pub fn children(&self, path: &str) -> Vec<Handle> {
        self.aml.children(path)
    }

    /// The object's absolute path, for display.
    pub fn name(&self, object: Handle) -> impl fmt::Display + '_ {
        fmt::from_fn(move |f| f.write_str(&self.aml.path(object)))
    }

    /// All devices: those of the DSDT before those of SSDTs, so that the machine's own device gets memory which two
    /// devices claim; parents first.
    pub fn devices(&self) -> &[Handle] {
        &self.devices
    }

    /// The processors that are declared as such, not as devices.
    pub fn processors(&self) -> Vec<Handle> {
        self.aml.processors()
    }

    /// Appends the devices that the last loaded table has declared.
    fn append_devices(&mut self) {
        let all = self.aml.devices();
        if all == self.devices {
            return; // the usual case: no device was declared after the DSDT's
        }
        let known: BTreeSet<&Handle> = self.devices.iter().collect();
        let new: Vec<Handle> = all.into_iter().filter(|device| !known.contains(device)).collect();
        self.devices.extend(new);
    }

    /// The device's `_HID` as text.
    ///
    /// # Errors
    ///
    /// As for [`Namespace::evaluate`].
    pub fn hardware_id(&mut self, device: Handle) -> Result<Option<String>, carapace_aml::Error> {
        self.with(|aml, host| aml.hid(host, device))
    }

    /// Whether `method` may notify a device for which `is_target` returns true.
    pub fn reaches_notify(&self, method: Handle, is_target: &dyn Fn(Handle) -> bool) -> Reach {
        self.aml.reaches_notify(method, is_target)
    }
}

/// Logs the parts of a table that are left out.
fn log_refused(table: &str, loaded: &Loaded) {
    for refused in &loaded.refused {
        warn!("{table}: {refused}");
    }
    if loaded.more > 0 {
        warn!("{table}: {} more terms are left out", loaded.more);
    }
}

fn log_suppressed(lines: u64) {
    warn!("{lines} more AML failures suppressed");
}
