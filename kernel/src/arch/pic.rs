//! The legacy interrupt controllers (two 8259s): moved out of the exceptions' vectors and masked.
//! Even masked they can deliver a spurious interrupt, hence the move.

use super::port::{PortNumber, Ports};
use super::vectors;

// SAFETY: the first 8259's ports on every PC. `mask` alone writes there, one sequence that moves its vectors to gates of
// their own and masks them; an interrupt controller writes to no memory.
const MASTER: Ports = unsafe { Ports::new(PortNumber(0x20), 2) };
// SAFETY: the second 8259's ports on every PC. `mask` alone writes there, one sequence that moves its vectors to gates of
// their own and masks them; an interrupt controller writes to no memory.
const SLAVE: Ports = unsafe { Ports::new(PortNumber(0xa0), 2) };
/// Offsets of the command and the data port.
const COMMAND: u16 = 0;
const DATA: u16 = 1;
/// Command words (Intel 8259A data sheet): begin initialisation, cascade, with a fourth word.
const ICW1: u8 = 0x11;
/// 8086 mode.
const ICW4: u8 = 0x01;

/// Moves both controllers to [`vectors::PIC`] and masks all of their interrupts. Done also where the
/// MADT says that there are none: writing to absent ports does nothing, and firmware that is wrong
/// about them would leave them unmasked.
pub fn mask() {
    for (controller, vector, cascade) in [(MASTER, vectors::PIC.0, 1 << 2), (SLAVE, vectors::PIC.0 + 8, 2)] {
        controller.write8(COMMAND, ICW1);
        controller.write8(DATA, vector);
        controller.write8(DATA, cascade);
        controller.write8(DATA, ICW4);
        controller.write8(DATA, 0xff);
    }
}
