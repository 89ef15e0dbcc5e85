//! The legacy interrupt controllers (two 8259s): moved out of the exceptions' vectors and masked.
//! Even masked they can deliver a spurious interrupt, hence the move.

use super::port::{PortNumber, write8};
use super::vectors;

const MASTER: PortNumber = PortNumber(0x20);
const SLAVE: PortNumber = PortNumber(0xa0);
/// Command words (Intel 8259A data sheet): begin initialisation, cascade, with a fourth word.
const ICW1: u8 = 0x11;
/// 8086 mode.
const ICW4: u8 = 0x01;

/// Moves both controllers to [`vectors::PIC`] and masks all of their interrupts. Done also where the
/// MADT says that there are none: writing to absent ports does nothing, and firmware that is wrong
/// about them would leave them unmasked.
pub fn mask() {
    for (controller, vector, cascade) in [(MASTER, vectors::PIC.0, 1 << 2), (SLAVE, vectors::PIC.0 + 8, 2)] {
        let data = controller.offset(1);
        write8(controller, ICW1);
        write8(data, vector);
        write8(data, cascade);
        write8(data, ICW4);
        write8(data, 0xff);
    }
}
