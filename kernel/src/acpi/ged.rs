//! Generic event devices (ACPI0013, ACPI 6.5 section 5.6.9): interrupts that the firmware's `_EVT` serves.
//!
//! ```text
//!  _CRS: Interrupt --> pin --> handler: note it, mask a level --> task: _EVT(GSI), its notifications --> unmask
//! ```
//!
//! Routed are the interrupts of devices whose `_EVT` can notify a memory device or a power button in the call graph, and
//! those for which that is undecidable, as for general-purpose events. Invariant: a level stays masked until `_EVT` has
//! run. Neighbours: `events` is the task, `gpe` has the events of fixed hardware.

use super::namespace::Namespace;
use crate::arch::io_apic::{self, Gsi, Mask};
use crate::arch::vectors::{self, Handler};
use alloc::vec::Vec;
use carapace_acpi::madt::{Polarity, Signal, Trigger, Wiring};
use carapace_aml::resources::{self, Resource, decode};
use carapace_aml::{Handle, NameSeg, Reach, Value};
use core::sync::atomic::{AtomicU32, Ordering};
use log::{info, warn};

const EVENT_DEVICE: &str = "ACPI0013";
const POWER_BUTTON: &str = "PNP0C0C";

const CRS: NameSeg = NameSeg::literal(*b"_CRS");
const EVT: NameSeg = NameSeg::literal(*b"_EVT");

/// The interrupts of all devices together; each has a vector.
pub const MAX_EVENTS: usize = vectors::EVENTS.len();

/// The interrupts that came and are not yet served, a bit each.
static CAME: AtomicU32 = AtomicU32::new(0);
/// The levels among the interrupts, a bit each.
static LEVELS: AtomicU32 = AtomicU32::new(0);
static PINS: [AtomicU32; MAX_EVENTS] = [const { AtomicU32::new(0) }; MAX_EVENTS];
const HANDLERS: [Handler; MAX_EVENTS] =
    [on::<0>, on::<1>, on::<2>, on::<3>, on::<4>, on::<5>, on::<6>, on::<7>];

fn on<const N: usize>() {
    if LEVELS.load(Ordering::Relaxed) & 1 << N != 0 {
        io_apic::set_mask(Gsi(PINS[N].load(Ordering::Relaxed)), Mask::Masked);
    }
    CAME.fetch_or(1 << N, Ordering::Release);
}

/// The interrupts that came since the last call, a bit each.
pub fn take() -> u32 {
    CAME.swap(0, Ordering::Acquire)
}

/// Whether any came since the last [`take`].
pub fn any() -> bool {
    CAME.load(Ordering::Relaxed) != 0
}

/// An interrupt of a generic event device.
#[derive(Clone, Debug)]
pub struct Event {
    wiring: Wiring,
    method: Handle,
    reach: Reach,
}

/// All interrupts of generic event devices that are listened to, at most [`MAX_EVENTS`].
#[derive(Debug, Default)]
pub struct Events(Vec<Event>);

impl Events {
    /// Finds the devices and their interrupts, and the power buttons that they may notify.
    pub fn discover(namespace: &mut Namespace) -> Events {
        let mut found = Vec::new();
        for device in namespace.devices().to_vec() {
            match namespace.hardware_id(device).ok().flatten().as_deref() {
                Some(POWER_BUTTON) => namespace.inbox.buttons.push(device),
                Some(EVENT_DEVICE) => found.push(device),
                _ => {}
            }
        }
        let mut events = Events::default();
        for device in found {
            events.add(namespace, device);
        }
        events
    }

    fn add(&mut self, namespace: &mut Namespace, device: Handle) {
        let Some(method) = namespace.child(device, EVT) else {
            warn!("{}: an event device without _EVT", namespace.name(device));
            return;
        };
        let inbox = &namespace.inbox;
        let is_target = |device| inbox.concerns_memory(device) || inbox.buttons.contains(&device);
        let reach = namespace.reaches_notify(method, &is_target);
        if reach == Reach::No {
            return;
        }
        let crs = namespace.evaluate_child(device, CRS);
        let Ok(Some(Value::Buffer(crs))) = crs else {
            warn!("{}: no interrupts in _CRS", namespace.name(device));
            return;
        };
        for resource in decode(&crs).map_while(Result::ok) {
            let Resource::Interrupts(interrupts) = resource else { continue };
            let signal = Signal {
                polarity: match interrupts.polarity {
                    resources::Polarity::High => Polarity::High,
                    resources::Polarity::Low => Polarity::Low,
                },
                trigger: match interrupts.trigger {
                    resources::Trigger::Edge => Trigger::Edge,
                    resources::Trigger::Level => Trigger::Level,
                },
            };
            for gsi in interrupts.numbers(&crs) {
                if self.0.len() == MAX_EVENTS {
                    warn!("{}: more than {MAX_EVENTS} interrupts; {gsi} is left out", namespace.name(device));
                    return;
                }
                let what = namespace.name(device);
                info!("{what}: interrupt {gsi}, {:?}, notifies: {reach:?}", signal.trigger);
                self.0.push(Event { wiring: Wiring { gsi, signal }, method, reach });
            }
        }
    }

    /// Routes the interrupts. One that cannot be routed is left out with a warning.
    pub fn route(&self) {
        for (number, event) in self.0.iter().enumerate() {
            PINS[number].store(event.wiring.gsi, Ordering::Relaxed);
            if event.wiring.signal.trigger == Trigger::Level {
                LEVELS.fetch_or(1 << number, Ordering::Relaxed);
            }
            if let Err(error) = io_apic::route(event.wiring, vectors::EVENTS[number], HANDLERS[number]) {
                warn!("a generic event device's interrupt: {error}");
            }
            // An edge before this is lost: each that matters is served once at the start.
            if event.wiring.signal.trigger == Trigger::Edge && event.reach == Reach::Yes {
                CAME.fetch_or(1 << number, Ordering::Release);
            }
        }
    }

    /// Runs the event's method once.
    ///
    /// # Errors
    ///
    /// The method's.
    pub fn run(&self, number: usize, namespace: &mut Namespace) -> Result<(), carapace_aml::Error> {
        let Some(event) = self.0.get(number) else { return Ok(()) };
        namespace.evaluate(event.method, &[Value::Integer(event.wiring.gsi.into())]).map(|_| ())
    }

    /// Lets a level come again.
    pub fn served(&self, number: usize) {
        if let Some(event) = self.0.get(number).filter(|event| event.wiring.signal.trigger == Trigger::Level)
        {
            io_apic::set_mask(Gsi(event.wiring.gsi), Mask::Open);
        }
    }
}
