//! What a local APIC is sent, in both of its modes, and the way from one mode into the other; the registers are behind a
//! trait.
//!
//! ```text
//!            registers                        a command for another CPU         identity
//!  xAPIC     a page of memory                 2 writes of 32 bits, high first   8 bits, the register's highest
//!  x2APIC    model-specific, 0x800 + offset/16   1 write of 64 bits, behind fences   32 bits
//! ```
//!
//! Invariant: no step makes a transition that the SDM forbids (vol. 3, section 11.12.5), none of which a CPU ignores: it
//! raises #GP. `tests/local_apic.rs` has a model that checks each access. Neighbour: the kernel's `local_apic`, which has
//! the registers.

/// The mode of a local APIC. All CPUs are in the first one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Registers in memory, identities of 8 bits.
    XApic,
    /// Model-specific registers, identities of 32 bits.
    X2Apic,
}

/// Bits of the model-specific register IA32_APIC_BASE.
pub const BASE_ENABLE: u64 = 1 << 11;
/// x2APIC mode; allowed with [`BASE_ENABLE`] only.
pub const BASE_X2: u64 = 1 << 10;

/// The registers of the CPU that runs (SDM vol. 3, table 11-1): their offsets in the page.
pub const ID: u32 = 0x20;
/// The command register, or its lower half.
pub const COMMAND_LOW: u32 = 0x300;
/// Its upper half, the destination; in xAPIC mode only.
pub const COMMAND_HIGH: u32 = 0x310;

/// Delivery modes of a command, and its other bits (SDM vol. 3, figure 11-12).
const COMMAND_NMI: u32 = 4 << 8;
const COMMAND_INIT: u32 = 5 << 8;
const COMMAND_START: u32 = 6 << 8;
const COMMAND_PENDING: u32 = 1 << 12;
const COMMAND_ASSERT: u32 = 1 << 14;
/// Looks at a command that is not delivered yet before it is given up.
const COMMAND_PATIENCE: u32 = 100_000;

/// The number of the model-specific register at an offset of the page.
pub const fn msr(register: u32) -> u32 {
    0x800 + (register >> 4)
}

/// Access to the local APIC of the CPU that runs.
pub trait Registers {
    /// IA32_APIC_BASE.
    fn base(&self) -> u64;
    /// Writes IA32_APIC_BASE.
    fn set_base(&mut self, value: u64);
    /// Reads a register in the page (xAPIC mode).
    fn load(&self, register: u32) -> u32;
    /// Writes a register in the page (xAPIC mode).
    fn store(&mut self, register: u32, value: u32);
    /// Reads a model-specific register, by [`msr`] (x2APIC mode).
    fn read_msr(&self, number: u32) -> u64;
    /// Writes a model-specific register (x2APIC mode).
    fn write_msr(&mut self, number: u32, value: u64);
    /// Orders earlier writes to memory before later writes of model-specific registers.
    fn fence(&mut self);
}

/// An interrupt vector from 32 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u8);

/// The identity of a CPU's local APIC: where its interrupts go. In xAPIC mode less than 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination(pub u32);

/// What one CPU sends another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An interrupt of this vector.
    Interrupt(Vector),
    /// A non-maskable interrupt.
    Nmi,
    /// Reset, and wait for [`Message::Start`].
    Init,
    /// Start in real mode at the beginning of this page, one of the first 256.
    Start {
        /// The page's number.
        page: u8,
    },
}

impl Message {
    /// The lower half of the command.
    const fn command(self) -> u32 {
        COMMAND_ASSERT
            | match self {
                Message::Interrupt(vector) => vector.0 as u32,
                Message::Nmi => COMMAND_NMI,
                Message::Init => COMMAND_INIT,
                Message::Start { page } => COMMAND_START | page as u32,
            }
    }
}

/// The mode that the firmware left this CPU in.
pub fn mode(registers: &impl Registers) -> Mode {
    if registers.base() & BASE_X2 != 0 { Mode::X2Apic } else { Mode::XApic }
}

/// Enables this CPU's local APIC in `mode`, whatever state it is in. Call it with interrupts off. x2APIC mode must be one
/// that the CPU has: another CPU of the machine is in it.
pub fn enter(registers: &mut impl Registers, mode: Mode) {
    let state = registers.base();
    let address = state & !(BASE_ENABLE | BASE_X2);
    if mode == Mode::XApic && state & BASE_X2 != 0 {
        // The way back leads through "disabled".
        registers.set_base(address);
    }
    if mode == Mode::XApic || state & BASE_X2 == 0 {
        registers.set_base(address | BASE_ENABLE);
    }
    if mode == Mode::X2Apic {
        registers.set_base(address | BASE_ENABLE | BASE_X2);
    }
}

/// The identity of the CPU that runs.
pub fn id(registers: &impl Registers, mode: Mode) -> Destination {
    Destination(match mode {
        Mode::XApic => registers.load(ID) >> 24,
        Mode::X2Apic => registers.read_msr(msr(ID)) as u32,
    })
}

/// Sends `message` to the CPU `to`. Call it with interrupts off: a handler on this CPU that sends too must not come between
/// the two halves of a command.
pub fn send(registers: &mut impl Registers, mode: Mode, to: Destination, message: Message) {
    let low = message.command();
    match mode {
        Mode::X2Apic => {
            // The write is not ordered behind earlier ones to memory (SDM vol. 3, section 11.12.3), which the receiver
            // is to see.
            registers.fence();
            registers.write_msr(msr(COMMAND_LOW), u64::from(to.0) << 32 | u64::from(low));
        }
        Mode::XApic => {
            for _ in 0..COMMAND_PATIENCE {
                if registers.load(COMMAND_LOW) & COMMAND_PENDING == 0 {
                    break;
                }
                core::hint::spin_loop();
            }
            registers.store(COMMAND_HIGH, to.0 << 24);
            registers.store(COMMAND_LOW, low);
        }
    }
}
