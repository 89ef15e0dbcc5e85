//! ACPI: the static tables, the AML namespace, and the way from an event to a memory device.
//!
//! ```text
//!  tables, fixed      what the firmware's static tables say, before there is a heap
//!  namespace          DSDT and SSDTs in crate `carapace-aml`; aml_host: what AML can touch; register: how
//!  memory_device      PNP0C80: _STA, _CRS, _PXM, and _OST
//!  gpe, events        SCI -> event -> its method -> Notify
//!  notify             Notify -> hotplug -> _OST
//!  eject              Notify 3 -> memory given up in steps -> _EJ0 -> _OST
//!  sleep              off and restart
//! ```
//!
//! Nothing in here knows the machine it runs on: whatever is done to a register is said by a table or
//! by the firmware's own AML. Lock order: this module's lock comes before that of `hotplug`'s list and
//! all of the memory core; it is taken in the main loop only and never across an `await`.

pub mod aml_host;
pub mod eject;
pub mod events;
pub mod gpe;
pub mod memory_device;
pub mod namespace;
pub mod notify;
pub mod register;
pub mod sleep;
pub mod tables;

use crate::hotplug;
use carapace_acpi::fadt::Fadt;
use carapace_acpi::srat::Srat;
use core::fmt;
use events::ListenError;
use gpe::Gpes;
use log::info;
use namespace::Namespace;
use spin::Mutex;
use tables::{StaticTables, TableError};

/// All of ACPI, once it is up.
#[derive(Debug)]
pub struct Acpi {
    /// The static tables.
    pub tables: StaticTables,
    /// Fixed hardware.
    pub fadt: Fadt,
    /// The AML namespace.
    pub namespace: Namespace,
    /// General-purpose events.
    pub gpes: Gpes,
    /// How often the SCI came.
    pub interrupts: u64,
    /// How many notifications were handled.
    pub notifications: u64,
    srat: Option<Srat<'static>>,
    /// When what is being answered began.
    began: events::Began,
}

static ACPI: Mutex<Option<Acpi>> = Mutex::new(None);

/// Why there is no memory hotplug.
#[derive(Clone, Debug)]
pub enum StartError {
    /// A table that is needed is missing or broken.
    Table(TableError),
    /// The DSDT cannot be loaded.
    Aml(carapace_aml::Error),
    /// Events cannot be had.
    Listen(ListenError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Table(error) => error.fmt(f),
            StartError::Aml(error) => write!(f, "AML: {error}"),
            StartError::Listen(error) => error.fmt(f),
        }
    }
}

/// Loads the namespace, finds the memory devices and brings those online that are there: DIMMs from
/// before boot. Heap, memory core and clock must be up.
///
/// # Errors
///
/// Why there is no ACPI; the machine is of use without.
pub fn start(tables: StaticTables) -> Result<(), StartError> {
    info!("ACPI: {tables}");
    let fadt = tables.fadt().map_err(StartError::Table)?;
    let mut namespace = Namespace::load(&tables).map_err(StartError::Aml)?;
    memory_device::enumerate(&mut namespace);
    let gpes = Gpes::discover(&namespace, &fadt);
    let srat = tables.srat();
    let refused = memory_device::scan(&mut namespace, None, srat);
    hotplug::announce();
    memory_device::rehearse(&mut namespace, srat);
    if refused > 0 {
        info!("memory devices refused: {refused}");
    }
    let acpi = Acpi {
        tables,
        fadt,
        namespace,
        gpes,
        interrupts: 0,
        notifications: 0,
        srat,
        began: events::Began::default(),
    };
    *ACPI.lock() = Some(acpi);
    Ok(())
}

/// Lets events in: from now on [`events::events`] has something to do. The APICs must be up.
///
/// # Errors
///
/// Why none will come: DIMMs are then found at a rescan only.
pub fn listen() -> Result<(), StartError> {
    with(|acpi| events::listen(acpi)).unwrap_or(Ok(())).map_err(StartError::Listen)
}

/// What `look` makes of ACPI; `None` while it is not up. `look` must not wait and not call back here.
pub fn with<R>(look: impl FnOnce(&mut Acpi) -> R) -> Option<R> {
    ACPI.lock().as_mut().map(look)
}
