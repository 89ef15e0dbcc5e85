//! Commands and modes of the local APIC against a model of its registers, which refuses what a CPU refuses (Intel SDM
//! vol. 3, sections 11.6.1 and 11.12): a forbidden transition, an access that the mode does not have, reserved bits.

use std::cell::Cell;

use carapace_irq::local_apic::{
    BASE_ENABLE, BASE_X2, COMMAND_HIGH, COMMAND_LOW, Destination, ID, Message, Mode, Registers, Vector,
    enter, id, mode, msr, send,
};

/// The address of the page, and the bit of the first CPU.
const REST: u64 = 0xfee0_0000 | 1 << 8;
const COMMAND_PENDING: u32 = 1 << 12;
/// Bits 13, 16, 17 and 20 to 31 of a command; in x2APIC mode bit 12 too.
const RESERVED: u64 = 0xfff3_2000;

/// A CPU with a local APIC.
struct Cpu {
    id: u32,
    base: u64,
    /// The upper half of a command, xAPIC mode.
    high: Option<u32>,
    /// So many looks from now on show a command that is not delivered.
    busy: Cell<u32>,
    /// Writes to memory are not ordered before the next one to a model-specific register.
    unordered: bool,
    sent: Vec<(u32, u64)>,
}

impl Cpu {
    fn new(id: u32, bits: u64) -> Cpu {
        Cpu { id, base: REST | bits, high: None, busy: Cell::new(0), unordered: true, sent: Vec::new() }
    }

    fn bits(&self) -> u64 {
        self.base & (BASE_ENABLE | BASE_X2)
    }

    fn deliver(&mut self, to: u32, low: u64, reserved: u64) {
        assert_eq!(low & reserved, 0, "reserved bits of the command {low:#x}");
        assert_eq!(self.busy.get(), 0, "the earlier command is not delivered yet");
        self.sent.push((to, low));
    }
}

impl Registers for Cpu {
    fn base(&self) -> u64 {
        self.base
    }

    fn set_base(&mut self, value: u64) {
        let (from, to) = (self.bits(), value & (BASE_ENABLE | BASE_X2));
        let x2 = BASE_ENABLE | BASE_X2;
        let allowed = match (from, to) {
            _ if from == to => true,
            (0, BASE_ENABLE) | (BASE_ENABLE, 0) => true,
            (BASE_ENABLE, to) => to == x2,
            (from, 0) => from == x2,
            _ => false,
        };
        assert!(allowed, "#GP: from {from:#x} to {to:#x}");
        assert_eq!(value & !(BASE_ENABLE | BASE_X2), REST, "address and first CPU stay");
        self.base = value;
    }

    fn load(&self, register: u32) -> u32 {
        assert_eq!(self.bits(), BASE_ENABLE, "the page is there in xAPIC mode only");
        match register {
            ID => self.id << 24,
            COMMAND_LOW if self.busy.get() > 0 => {
                self.busy.set(self.busy.get() - 1);
                COMMAND_PENDING
            }
            COMMAND_LOW => 0,
            _ => panic!("read of {register:#x}"),
        }
    }

    fn store(&mut self, register: u32, value: u32) {
        assert_eq!(self.bits(), BASE_ENABLE, "the page is there in xAPIC mode only");
        match register {
            COMMAND_HIGH => {
                assert_eq!(value & 0x00ff_ffff, 0, "reserved bits of the destination");
                self.high = Some(value >> 24);
            }
            COMMAND_LOW => {
                let to = self.high.take().expect("the destination is written before the command is sent");
                self.deliver(to, value.into(), RESERVED);
            }
            _ => panic!("write of {register:#x}"),
        }
    }

    fn read_msr(&self, number: u32) -> u64 {
        assert_eq!(self.bits(), BASE_ENABLE | BASE_X2, "#GP: the registers have numbers in x2APIC mode only");
        match number {
            0x802 => self.id.into(),
            _ => panic!("read of {number:#x}"),
        }
    }

    fn write_msr(&mut self, number: u32, value: u64) {
        assert_eq!(self.bits(), BASE_ENABLE | BASE_X2, "#GP: the registers have numbers in x2APIC mode only");
        // 0x831, the upper half, does not exist in this mode.
        assert_eq!(number, 0x830, "#GP");
        assert!(!self.unordered, "the receiver may not see earlier writes");
        self.unordered = true;
        self.deliver((value >> 32) as u32, value & 0xffff_ffff, RESERVED | u64::from(COMMAND_PENDING));
    }

    fn fence(&mut self) {
        self.unordered = false;
    }
}

/// Proves that a CPU comes into the first one's mode from each state in which a firmware or INIT may leave it, by allowed
/// transitions alone, with its page's address unchanged. Fails when x2APIC mode is entered from "disabled", or left for
/// xAPIC mode directly: both are #GP.
#[test]
fn each_mode_from_each_state() {
    for from in [0, BASE_ENABLE, BASE_ENABLE | BASE_X2] {
        for (to, bits) in [(Mode::XApic, BASE_ENABLE), (Mode::X2Apic, BASE_ENABLE | BASE_X2)] {
            let mut cpu = Cpu::new(3, from);
            enter(&mut cpu, to);
            assert_eq!((cpu.bits(), mode(&cpu)), (bits, to), "from {from:#x}");
        }
    }
}

/// What the messages are in the command register: delivery mode in bits 8 to 10, vector or page below, asserted.
const COMMANDS: [(Message, u64); 4] = [
    (Message::Init, 0x4500),
    (Message::Start { page: 0x9f }, 0x469f),
    (Message::Interrupt(Vector(0xf0)), 0x40f0),
    (Message::Nmi, 0x4400),
];

/// Proves that each message reaches the CPU that is meant, in x2APIC mode with all 32 bits of its number, by a single write
/// behind a fence. Fails when a number above 255 is cut, the halves are written one after the other, or the fence is missing.
#[test]
fn commands_of_x2apic() {
    for to in [0, 1, 254, 255, 256, 512, 0xffff_fffe] {
        for (message, command) in COMMANDS {
            let mut cpu = Cpu::new(0, BASE_ENABLE | BASE_X2);
            send(&mut cpu, Mode::X2Apic, Destination(to), message);
            assert_eq!(cpu.sent, [(to, command)]);
        }
    }
    assert_eq!(msr(COMMAND_LOW), 0x830);
}

/// Proves that in xAPIC mode the destination is written first, and only once the earlier command is delivered. Fails when the
/// halves are exchanged, or the command is not waited for.
#[test]
fn commands_of_xapic() {
    for to in [0, 1, 254] {
        for (message, command) in COMMANDS {
            let mut cpu = Cpu::new(0, BASE_ENABLE);
            cpu.busy.set(500);
            send(&mut cpu, Mode::XApic, Destination(to), message);
            assert_eq!(cpu.sent, [(to, command)]);
        }
    }
}

/// Proves that a CPU knows its number in both modes. Fails when the 32 bits of x2APIC mode are taken for 8, or the other way
/// round.
#[test]
fn identities() {
    let of = |number, bits, mode| id(&Cpu::new(number, bits), mode);
    assert_eq!(of(254, BASE_ENABLE, Mode::XApic), Destination(254));
    for number in [0, 254, 256, 0x0100_0000] {
        assert_eq!(of(number, BASE_ENABLE | BASE_X2, Mode::X2Apic), Destination(number));
    }
}
