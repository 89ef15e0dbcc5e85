//! General-purpose events: the handler method of each, whether it can notify a memory device, and its registers.
//!
//! ```text
//!  \_GPE._Exx  edge:   clear the status, run the method      an event raised during the run is seen
//!  \_GPE._Lxx  level:  run the method, clear the status      the method makes the device deassert the line
//! ```
//!
//! Enabled are the events whose method can reach a Notify on a memory device in the call graph, and those for which
//! that is undecidable. All others are disabled: their devices have no driver here (QEMU's event 2 is for processors).
//! ACPI 6.5, sections 4.8.4.1 and 5.6.4.

use super::namespace::Namespace;
use super::register::{Access, RegisterError, Width};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use carapace_acpi::fadt::{Fadt, GpeRegisters};
use carapace_acpi::gpe::Gpe;
use carapace_aml::{Handle, Reach};
use core::fmt;
use log::{debug, warn};

/// When the status of an event is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Before its method runs.
    Edge,
    /// After it.
    Level,
}

/// An event that has a method.
#[derive(Clone, Debug)]
pub struct Handler {
    /// Its number.
    pub gpe: Gpe,
    /// The method's path, for display.
    pub method: String,
    /// When its status is cleared.
    pub trigger: Trigger,
    /// Whether the method can notify a memory device.
    pub reach: Reach,
    /// How often the method ran.
    pub runs: u64,
    /// The method.
    handle: Handle,
    /// Its status bit; `None` if no block has the event.
    status: Option<StatusBit>,
}

/// A bit of a status register.
#[derive(Clone, Copy, Debug)]
struct StatusBit {
    registers: GpeRegisters,
    register: u8,
    bit: u8,
}

impl Handler {
    /// Whether the event is enabled.
    pub fn is_enabled(&self) -> bool {
        self.status.is_some() && self.reach != Reach::No
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPE {:#04x} ({})", self.gpe.0, self.method)
    }
}

/// All events with a handler method.
#[derive(Debug, Default)]
pub struct Gpes {
    blocks: [Option<GpeRegisters>; 2],
    handlers: Vec<Handler>,
}

impl Gpes {
    /// Finds the methods and decides which events to enable.
    pub fn discover(namespace: &Namespace, fadt: &Fadt) -> Gpes {
        let mut gpes = Gpes { blocks: fadt.gpe, handlers: Vec::new() };
        for handle in namespace.children("\\_GPE") {
            let method = format!("{}", namespace.name(handle));
            let Some((gpe, trigger)) = parse(&method) else { continue };
            if gpes.handlers.iter().any(|known| known.gpe == gpe) {
                warn!("{method}: another method handles the same event; left out");
                continue;
            }
            let reach = namespace.reaches_notify(handle, &|device| namespace.inbox.concerns_memory(device));
            let status = fadt.gpe.iter().flatten().find_map(|&registers| {
                registers.block.locate(gpe).map(|(register, bit)| StatusBit { registers, register, bit })
            });
            let handler = Handler { gpe, method, trigger, reach, runs: 0, handle, status };
            if handler.is_enabled() {
                debug!("{handler}: on, notifies memory devices: {reach:?}");
            }
            gpes.handlers.push(handler);
        }
        gpes
    }

    /// Writes every enable register: enables the events chosen by [`Gpes::discover`], disables all others.
    ///
    /// # Errors
    ///
    /// A register cannot be accessed.
    pub fn enable(&self) -> Result<(), RegisterError> {
        for registers in self.blocks.iter().flatten() {
            for register in 0..registers.block.registers {
                let bits = self.handlers.iter().filter(|handler| handler.is_enabled());
                let bits = bits.filter_map(|handler| handler.status).filter(|status| {
                    status.registers.first == registers.first && status.register == register
                });
                let bits = bits.fold(0, |bits, status| bits | status.bit);
                let offset = u64::from(registers.block.registers) + u64::from(register);
                registers.first.offset(offset).write(Width::Bits8, bits.into())?;
            }
        }
        Ok(())
    }

    /// All handlers.
    pub fn handlers(&self) -> &[Handler] {
        &self.handlers
    }

    /// Whether the event at `index` in [`Gpes::handlers`] is enabled and its status set. A register that cannot be read
    /// counts as not set; it was accessible when the event was enabled.
    pub fn is_pending(&self, index: usize) -> bool {
        let Some(handler) = self.handlers.get(index).filter(|handler| handler.is_enabled()) else {
            return false;
        };
        handler.status.is_some_and(|StatusBit { registers, register, bit }| {
            let bits = registers.first.offset(register.into()).read(Width::Bits8);
            bits.is_ok_and(|bits| bits & u64::from(bit) != 0)
        })
    }

    /// Whether the event notifies memory devices and is edge-triggered: an event raised before or across a reset may
    /// have lost its status bit, and an edge is not raised again. A level is.
    pub fn may_be_lost(&self, index: usize) -> bool {
        self.handlers.get(index).is_some_and(|handler| {
            handler.is_enabled() && handler.reach == Reach::Yes && handler.trigger == Trigger::Edge
        })
    }

    /// Whether any enabled event is pending.
    pub fn any_pending(&self) -> bool {
        (0..self.handlers.len()).any(|index| self.is_pending(index))
    }

    /// Runs the event's method once; clears its status before (edge) or after (level).
    ///
    /// # Errors
    ///
    /// The method's. The status is cleared nevertheless, so that the event does not stay pending.
    pub fn run(&mut self, index: usize, namespace: &mut Namespace) -> Result<(), carapace_aml::Error> {
        let Some(handler) = self.handlers.get_mut(index) else { return Ok(()) };
        handler.runs = handler.runs.saturating_add(1);
        if handler.trigger == Trigger::Edge {
            handler.clear();
        }
        let result = namespace.evaluate(handler.handle, &[]).map(|_| ());
        if handler.trigger == Trigger::Level {
            handler.clear();
        }
        result
    }
}

impl Handler {
    /// Clears the status: writing 1 to a bit clears it, 0 leaves it.
    fn clear(&self) {
        let Some(StatusBit { registers, register, bit }) = self.status else { return };
        let register = registers.first.offset(register.into());
        if let Err(error) = register.write(Width::Bits8, bit.into()) {
            warn!("{self}: {error}");
        }
    }
}

/// The event's number and trigger, from the path of a method below `\_GPE`: `_E03`, `_L1F`.
fn parse(method: &str) -> Option<(Gpe, Trigger)> {
    let name = method.strip_prefix("\\_GPE.")?;
    let (kind, digits) = name.split_at_checked(2)?;
    let trigger = match kind {
        "_E" => Trigger::Edge,
        "_L" => Trigger::Level,
        _ => return None,
    };
    // `from_str_radix` would accept a sign; a name cannot contain one.
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?.map(|gpe| (Gpe(gpe), trigger))
}
