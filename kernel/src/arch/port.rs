//! Port I/O, and the one place for it. A driver holds the [`Ports`] of its device and nothing else.
//!
//! Making [`Ports`] is unsafe, using them is safe: the maker argues once, for all values that may be written, that the
//! device behind the ports harms no memory. Port numbers that firmware names come in through `acpi::register`, which
//! refuses those that could ([`carapace_acpi::protected`]).

use x86_64::instructions::port::Port;

/// A port's number, as firmware names it: no right to use the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortNumber(pub u16);

/// How many bytes one access moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    DWord,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u16 {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::DWord => 4,
        }
    }
}

/// The ports of one device. An access that does not lie within them reads as all ones and writes nothing, as one to
/// unused ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    first: PortNumber,
    count: u16,
}

impl Ports {
    /// The `count` ports from `first` on.
    ///
    /// # Safety
    ///
    /// Whatever is read from and written to these ports, at any width and in any order: no device writes to memory
    /// for it, and no exception or interrupt comes at a vector that has no gate for it.
    pub const unsafe fn new(first: PortNumber, count: u16) -> Ports {
        Ports { first, count }
    }

    /// The number of the first one.
    pub const fn first(self) -> PortNumber {
        self.first
    }

    /// Whether an access of `bytes` at `port` touches one of them.
    pub const fn touches(self, port: PortNumber, bytes: u64) -> bool {
        let (start, first) = (port.0 as u64, self.first.0 as u64);
        start < first + self.count as u64 && start + bytes > first
    }

    fn at(self, offset: u16, width: Width) -> Option<u16> {
        let fits = offset.checked_add(width.bytes()).is_some_and(|end| end <= self.count);
        self.first.0.checked_add(offset).filter(|_| fits)
    }

    /// Reads at `offset` from the first port.
    pub fn read(self, offset: u16, width: Width) -> u32 {
        let Some(port) = self.at(offset, width) else { return u32::MAX };
        match width {
            // SAFETY: the port is one of those that `new` was promised to be harmless.
            Width::Byte => unsafe { Port::<u8>::new(port).read() }.into(),
            // SAFETY: both ports are among those that `new` was promised to be harmless at any width.
            Width::Word => unsafe { Port::<u16>::new(port).read() }.into(),
            // SAFETY: all four ports are among those that `new` was promised to be harmless at any width.
            Width::DWord => unsafe { Port::<u32>::new(port).read() },
        }
    }

    /// Writes the low bytes of `value` at `offset` from the first port.
    pub fn write(self, offset: u16, width: Width, value: u32) {
        let Some(port) = self.at(offset, width) else { return };
        match width {
            // SAFETY: the port is one of those that `new` was promised to be harmless whatever is written.
            Width::Byte => unsafe { Port::new(port).write(value as u8) },
            // SAFETY: both ports are among those that `new` was promised to be harmless whatever is written.
            Width::Word => unsafe { Port::new(port).write(value as u16) },
            // SAFETY: all four ports are among those that `new` was promised to be harmless whatever is written.
            Width::DWord => unsafe { Port::new(port).write(value) },
        }
    }

    /// Reads the byte at `offset`.
    pub fn read8(self, offset: u16) -> u8 {
        self.read(offset, Width::Byte) as u8
    }

    /// Writes the byte at `offset`.
    pub fn write8(self, offset: u16, value: u8) {
        self.write(offset, Width::Byte, value.into());
    }
}
