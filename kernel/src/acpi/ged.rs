//! Generic event devices (ACPI0013, ACPI 6.5 section 5.6.9): interrupts that the firmware's methods serve.
//!
//! ```text
//!  _CRS: Interrupt --> pin --> handler: note it, mask a level --> task: the method, its notifications --> unmask
//! ```
//!
//! The method of an interrupt below 256 is the device's `_Exx` (edge) or `_Lxx` (level) where it has that, of any other its
//! `_EVT`, which is called with the interrupt's number. Routed are the interrupts whose method can notify a memory device
//! or a power button in the call graph, and those for which that is undecidable, as for general-purpose events. A device
//! that is absent at the start is left out. Devices that share an interrupt are all served by it. Invariant: a level stays
//! masked until the methods have run. Neighbours: `events` is the task, `gpe` has the events of fixed hardware.

use super::memory_device::{self, Presence};
use super::namespace::Namespace;
use crate::arch::io_apic::{self, Gsi, Mask};
use crate::arch::vectors::{self, Handler};
use alloc::vec::Vec;
use carapace_acpi::madt::{Polarity, Signal, Trigger, Wiring};
use carapace_aml::resources::{self, Resource, decode};
use carapace_aml::{Handle, NameSeg, Reach, Value};
use core::sync::atomic::{AtomicU32, Ordering};
use log::{debug, warn};

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
    methods: Vec<Method>,
    reach: Reach,
}

/// What serves an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    /// `_Exx` or `_Lxx`, without an argument.
    Own(Handle),
    /// `_EVT`, which is called with the number.
    Any(Handle),
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
        if matches!(memory_device::evaluate_sta(namespace, device), Ok(Presence::Absent)) {
            return;
        }
        let crs = namespace.evaluate_child(device, CRS);
        let Ok(Some(Value::Buffer(crs))) = crs else {
            warn!("{}: no interrupts in _CRS", namespace.name(device));
            return;
        };
        let mut without_method = None;
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
                let wiring = Wiring { gsi, signal };
                let Some(method) = method_of(namespace, device, wiring) else {
                    without_method.get_or_insert(gsi);
                    continue;
                };
                let inbox = &namespace.inbox;
                let is_target = |device| inbox.concerns_memory(device) || inbox.buttons.contains(&device);
                let (Method::Own(handle) | Method::Any(handle)) = method;
                let reach = namespace.reaches_notify(handle, &is_target);
                if reach == Reach::No {
                    continue;
                }
                debug!(
                    "{}: interrupt {gsi}, {:?}, notifies: {reach:?}",
                    namespace.name(device),
                    signal.trigger
                );
                if let Some(known) = self.0.iter_mut().find(|event| event.wiring.gsi == gsi) {
                    if !known.methods.contains(&method) {
                        known.methods.push(method);
                    }
                    continue;
                }
                if self.0.len() == MAX_EVENTS {
                    warn!("{}: over {MAX_EVENTS} interrupts; {gsi} is left out", namespace.name(device));
                    return;
                }
                self.0.push(Event { wiring, methods: alloc::vec![method], reach });
            }
        }
        if let Some(gsi) = without_method {
            warn!("{}: no method for interrupt {gsi}", namespace.name(device));
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

    /// Runs the event's methods once each.
    ///
    /// # Errors
    ///
    /// That of the last one that failed.
    pub fn run(&self, number: usize, namespace: &mut Namespace) -> Result<(), carapace_aml::Error> {
        let Some(event) = self.0.get(number) else { return Ok(()) };
        let mut result = Ok(());
        for method in &event.methods {
            let value = match *method {
                Method::Own(handle) => namespace.evaluate(handle, &[]),
                Method::Any(handle) => namespace.evaluate(handle, &[Value::Integer(event.wiring.gsi.into())]),
            };
            if let Err(error) = value {
                result = Err(error);
            }
        }
        result
    }

    /// Lets a level come again.
    pub fn served(&self, number: usize) {
        if let Some(event) = self.0.get(number).filter(|event| event.wiring.signal.trigger == Trigger::Level)
        {
            io_apic::set_mask(Gsi(event.wiring.gsi), Mask::Open);
        }
    }
}

/// The method that serves the interrupt.
fn method_of(namespace: &Namespace, device: Handle, wiring: Wiring) -> Option<Method> {
    let kind = match wiring.signal.trigger {
        Trigger::Edge => b'E',
        Trigger::Level => b'L',
    };
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    let own = u8::try_from(wiring.gsi).ok().and_then(|gsi| {
        let name = NameSeg::literal([b'_', kind, digit(gsi >> 4), digit(gsi & 0xf)]);
        namespace.child(device, name)
    });
    own.map(Method::Own).or_else(|| namespace.child(device, EVT).map(Method::Any))
}
