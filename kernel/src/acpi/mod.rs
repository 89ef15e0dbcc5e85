//! ACPI: the static tables, the AML namespace, and the path from an event to a memory device.
//!
//! ```text
//!  tables             the firmware's static tables, mapped before there is a heap
//!  namespace          DSDT and SSDTs in crate `carapace-aml`; aml_host, register: its hardware access
//!  memory_device      PNP0C80: _STA, _CRS, _PXM, and _OST
//!  sci, gpe, events   SCI -> event -> its method -> Notify
//!  ged                interrupt of a generic event device -> _EVT -> Notify
//!  notify             Notify -> hotplug -> _OST
//!  eject              Notify 3 -> memory removed in steps -> _EJ0 -> _OST
//!  container          Notify on what encloses memory devices: all of them come, or leave
//!  sleep              power-off and restart
//! ```
//!
//! Invariant: no code here is specific to a machine; every register access is described by a table or by the firmware's
//! AML. This module's lock is the outermost of all (`sync::Rank`); it is taken in the main loop only and never held
//! across an `await`.

pub mod aml_host;
mod container;
pub mod eject;
pub mod events;
pub mod ged;
pub mod gpe;
pub mod memory_device;
pub mod namespace;
pub mod notify;
pub mod register;
mod sci;
pub mod sleep;
pub mod tables;

use crate::hotplug;
use crate::sync::{Mutex, Rank};
use carapace_acpi::fadt::Fadt;
use carapace_acpi::osc;
use carapace_acpi::srat::Srat;
use carapace_aml::Value;
use carapace_mm::info::ProbeEnd;
use events::{ListenError, Listening};
use gpe::Gpes;
use log::{Level, info, warn};
use namespace::Namespace;
use tables::{StaticTables, TableError};

/// All of ACPI, once it is up.
#[derive(Debug)]
pub struct Acpi {
    /// The static tables.
    pub tables: StaticTables,
    /// Fixed hardware: the registers of events, power and reset.
    pub fadt: Fadt,
    /// The AML namespace.
    pub namespace: Namespace,
    /// General-purpose events.
    pub gpes: Gpes,
    /// Interrupts of generic event devices.
    pub generic: ged::Events,
    /// Whether a power button was pressed and nothing done about it yet.
    power_button: bool,
    /// How many interrupts for ACPI events were served.
    pub interrupts: u64,
    /// How many notifications were handled.
    pub notifications: u64,
    srat: Option<Srat<'static>>,
    /// Eject requests for containers.
    containers: container::Requests,
    /// Measurements at the last SCI.
    sci_start: events::SciStart,
}

static ACPI: Mutex<Option<Acpi>> = Mutex::new(Rank::Acpi, None);

/// Loads the namespace, registers the memory devices, and adds the DIMMs present at boot. Heap, memory core and clock
/// must be up.
///
/// # Errors
///
/// A required table is missing or broken; the kernel works without ACPI.
pub fn start(tables: StaticTables) -> Result<(), TableError> {
    crate::log::in_lines(Level::Info, format_args!("ACPI: {tables}"));
    let fadt = tables.fadt()?;
    let mut namespace = Namespace::load(&tables).unwrap_or_else(|error| {
        crate::log::in_lines(Level::Error, format_args!("no memory hotplug: AML: {error}"));
        Namespace::without_tables()
    });
    introduce(&mut namespace);
    memory_device::enumerate(&mut namespace);
    let srat = tables.srat();
    let refused = memory_device::scan(&mut namespace, None, srat, ProbeEnd::AtOnce);
    hotplug::log_added();
    if refused > 0 {
        info!("memory devices refused: {refused}");
    }
    let acpi = Acpi {
        tables,
        fadt,
        namespace,
        gpes: Gpes::default(),
        generic: ged::Events::default(),
        power_button: false,
        interrupts: 0,
        notifications: 0,
        srat,
        containers: container::Requests::default(),
        sci_start: events::SciStart::default(),
    };
    *ACPI.lock() = Some(acpi);
    Ok(())
}

/// Evaluates an empty slot's methods once, behind the prompt, and before the first DIMM and the first command.
pub fn rehearse() {
    with(|acpi| {
        memory_device::warm_up(&mut acpi.namespace, acpi.srat);
        // Or its unreachable objects would count as in use until the first event.
        acpi.namespace.tidy();
    });
}

/// Tells the firmware that hotplug events are answered by `_OST`, and logs what it thinks of it. Firmware without `_OSC`
/// has nothing to be told. As in Linux after `_INI`, which may prepare the method, and before any event.
fn introduce(namespace: &mut Namespace) {
    let Some(method) = namespace.find("\\_SB._OSC") else { return };
    let args = [
        Value::Buffer(osc::UUID.to_vec()),
        Value::Integer(osc::REVISION),
        Value::Integer(osc::WORDS),
        Value::Buffer(osc::request().to_vec()),
    ];
    match namespace.evaluate(method, &args) {
        Ok(value) => {
            let answer = value.as_buffer().map_or(osc::Answer::Malformed, osc::Answer::read);
            info!("\\_SB._OSC: {answer}");
        }
        Err(error) => warn!("\\_SB._OSC: {error}"),
    }
}

/// Takes the registers of events over from the firmware, turns the fixed events off and routes the SCI. The APICs must be
/// up. `None` without ACPI.
///
/// # Errors
///
/// Why events cannot be received; DIMMs are then found at a rescan only.
pub fn listen() -> Result<Option<Listening>, ListenError> {
    with(|acpi| events::listen(&acpi.fadt)).transpose()
}

/// Decides which events to serve, and enables them where they can be received; the task [`events::events`] serves them, and
/// in its first round those raised before.
///
/// # Errors
///
/// As for [`listen`].
pub fn enable_events(listening: Option<Listening>) -> Result<(), ListenError> {
    with(|acpi| {
        acpi.gpes = Gpes::discover(&acpi.namespace, &acpi.fadt);
        acpi.generic = ged::Events::discover(&mut acpi.namespace);
        listening.map_or(Ok(()), |listening| events::enable(acpi, listening))
    })
    .unwrap_or(Ok(()))
}

/// Runs `work` on the ACPI state; `None` before [`start`]. `work` must neither wait nor call this function.
pub fn with<R>(work: impl FnOnce(&mut Acpi) -> R) -> Option<R> {
    ACPI.lock().as_mut().map(work)
}
