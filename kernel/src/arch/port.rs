//! Port I/O, and the one place for it: everything that speaks to a device through ports (serial line,
//! interrupt controller, timers, ACPI registers, QEMU's debug exit) comes through here.
//!
//! The functions are safe although a port can, in principle, make a device write to memory: which
//! ports are touched is decided by the kernel's drivers and by the firmware's AML, and both are
//! trusted with the devices that they own (AML: ACPI 6.5 section 19.6.100, SystemIO). Ports alone
//! cannot break memory safety without a device that was told addresses before.

use x86_64::instructions::port::Port;

/// A port's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortNumber(pub u16);

impl PortNumber {
    /// The port `by` further up (wraps, as the CPU's 16-bit port space does).
    pub const fn offset(self, by: u16) -> PortNumber {
        PortNumber(self.0.wrapping_add(by))
    }
}

macro_rules! port_access {
    ($read:ident, $write:ident, $word:ty, $bits:literal) => {
        #[doc = concat!("Reads ", $bits, " bits from `port`.")]
        pub fn $read(port: PortNumber) -> $word {
            // SAFETY: see the module's head: the devices behind ports are given no memory to write to.
            unsafe { Port::new(port.0).read() }
        }

        #[doc = concat!("Writes ", $bits, " bits to `port`.")]
        pub fn $write(port: PortNumber, value: $word) {
            // SAFETY: see the module's head: the devices behind ports are given no memory to write to.
            unsafe { Port::new(port.0).write(value) }
        }
    };
}

port_access!(read8, write8, u8, "8");
port_access!(read16, write16, u16, "16");
port_access!(read32, write32, u32, "32");
