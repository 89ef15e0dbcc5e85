//! General-purpose events: which of them concern memory, and their registers.
//!
//! ```text
//!  \_GPE._Exx  edge:   clear the status, run the method      a new event during the run is seen
//!  \_GPE._Lxx  level:  run the method, clear the status      the method makes the device let go
//! ```
//!
//! Enabled are the events whose method can reach a Notify on a memory device by the call graph; where
//! that cannot be told, it is taken for yes. All others are off: their devices have no driver here
//! (QEMU's event 2 is for processors). ACPI 6.5, sections 4.8.4.1 and 5.6.4.

use super::namespace::Namespace;
use super::register::{Access, RegisterError, Width};
use crate::hotplug;
use alloc::string::String;
use alloc::vec::Vec;
use carapace_acpi::fadt::{Fadt, GpeRegisters};
use carapace_acpi::gpe::Gpe;
use carapace_aml::Reach;
use core::fmt;
use log::{info, warn};

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
    /// The method's path.
    pub method: String,
    /// When its status is cleared.
    pub trigger: Trigger,
    /// Whether the method can tell a memory device something.
    pub reach: Reach,
    /// How often the method ran.
    pub runs: u64,
    /// Where its bit is; `None` where no block has it.
    place: Option<Place>,
}

/// A bit of a status register.
#[derive(Clone, Copy, Debug)]
struct Place {
    registers: GpeRegisters,
    register: u8,
    bit: u8,
}

impl Handler {
    /// Whether the event is (to be) enabled.
    pub fn is_enabled(&self) -> bool {
        self.place.is_some() && self.reach != Reach::No
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GPE {:#04x} ({})", self.gpe.0, self.method)
    }
}

/// All events that have methods.
#[derive(Debug, Default)]
pub struct Gpes {
    blocks: [Option<GpeRegisters>; 2],
    handlers: Vec<Handler>,
}

impl Gpes {
    /// Finds the methods and decides which events to enable.
    pub fn discover(namespace: &Namespace, fadt: &Fadt) -> Gpes {
        let mut gpes = Gpes { blocks: fadt.gpe, handlers: Vec::new() };
        for method in namespace.children("\\_GPE") {
            let Some((gpe, trigger)) = parse(&method) else { continue };
            if gpes.handlers.iter().any(|known| known.gpe == gpe) {
                warn!("{method}: another method serves the same event; left out");
                continue;
            }
            let reach = namespace.reaches_notify(&method, &|path| hotplug::find(path).is_some());
            let place = fadt.gpe.iter().flatten().find_map(|&registers| {
                registers.block.locate(gpe).map(|(register, bit)| Place { registers, register, bit })
            });
            let handler = Handler { gpe, method, trigger, reach, runs: 0, place };
            if handler.is_enabled() {
                info!("{handler}: enabled, can tell of memory: {reach:?}");
            }
            gpes.handlers.push(handler);
        }
        gpes
    }

    /// Writes every enable register: what [`Gpes::discover`] decided on is on, everything else off.
    ///
    /// # Errors
    ///
    /// When a register cannot be reached.
    pub fn enable(&self) -> Result<(), RegisterError> {
        for registers in self.blocks.iter().flatten() {
            for register in 0..registers.block.registers {
                let bits = self.handlers.iter().filter(|handler| handler.is_enabled());
                let bits = bits
                    .filter_map(|handler| handler.place)
                    .filter(|place| place.registers.first == registers.first && place.register == register);
                let bits = bits.fold(0, |bits, place| bits | place.bit);
                let offset = u64::from(registers.block.registers) + u64::from(register);
                registers.first.offset(offset).write(Width::Bits8, bits.into())?;
            }
        }
        Ok(())
    }

    /// All of them, for the shell.
    pub fn handlers(&self) -> &[Handler] {
        &self.handlers
    }

    /// Whether the event numbered `index` in [`Gpes::handlers`] is enabled and its status set. A register
    /// that cannot be read says no; it could be read when the event was enabled.
    pub fn is_pending(&self, index: usize) -> bool {
        let Some(handler) = self.handlers.get(index).filter(|handler| handler.is_enabled()) else {
            return false;
        };
        handler.place.is_some_and(|place| {
            let status = place.registers.first.offset(place.register.into()).read(Width::Bits8);
            status.is_ok_and(|status| status & u64::from(place.bit) != 0)
        })
    }

    /// Whether the event is one that tells of memory and whose status a restart of the machine loses, while what
    /// it stands for is still to be told: an edge does not come again, a level does.
    pub fn may_be_lost(&self, index: usize) -> bool {
        self.handlers.get(index).is_some_and(|handler| {
            handler.is_enabled() && handler.reach == Reach::Yes && handler.trigger == Trigger::Edge
        })
    }

    /// Whether any enabled event waits to be served.
    pub fn any_pending(&self) -> bool {
        (0..self.handlers.len()).any(|index| self.is_pending(index))
    }

    /// Runs the event's method once and clears its status before or after, as its kind asks for.
    ///
    /// # Errors
    ///
    /// The method's; its status is cleared all the same, so that it does not come for ever.
    pub fn run(&mut self, index: usize, namespace: &mut Namespace) -> Result<(), carapace_aml::Error> {
        let Some(handler) = self.handlers.get_mut(index) else { return Ok(()) };
        handler.runs = handler.runs.saturating_add(1);
        if handler.trigger == Trigger::Edge {
            handler.clear();
        }
        let result = namespace.evaluate(&handler.method, &[]).map(|_| ());
        if handler.trigger == Trigger::Level {
            handler.clear();
        }
        result
    }
}

impl Handler {
    /// Clears the status: writing 1 to a bit clears it, 0 leaves it.
    fn clear(&self) {
        let Some(place) = self.place else { return };
        let register = place.registers.first.offset(place.register.into());
        if let Err(error) = register.write(Width::Bits8, place.bit.into()) {
            warn!("{self}: {error}");
        }
    }
}

/// The event and its kind in the name of a method below `\_GPE`: `_E03`, `_L1F`.
fn parse(method: &str) -> Option<(Gpe, Trigger)> {
    let name = method.strip_prefix("\\_GPE.")?;
    let (kind, digits) = name.split_at_checked(2)?;
    let trigger = match kind {
        "_E" => Trigger::Edge,
        "_L" => Trigger::Level,
        _ => return None,
    };
    // `from_str_radix` would take a sign, which no name can have.
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?.map(|gpe| (Gpe(gpe), trigger))
}
