//! One serial line: its UART, and the ring of what it has received.
//!
//! Invariant: whoever holds the line's lock is the only one to touch the UART's registers; of them the crate's driver
//! has no state but the configuration, so what is missing in it (modem control, interrupts one by one) is written
//! beside it. The outgoing ring has a lock of its own (`Port::outgoing`).

use super::{DATA, FIFO, INCOMING_BYTES, INTERRUPT_ENABLE, LINE_STATUS, MODEM_CONTROL, Port, READY};
use carapace_irq::ring::Ring;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER, LSR, MCR};
use uart_16550::{Config, InitError, Uart16550};

/// ECMA-48's CANCEL.
const CUT: u8 = 0x18;

/// A line. See the module's head.
pub struct Line {
    port: Port,
    pub uart: Uart16550<PioBackend>,
    incoming: Ring<INCOMING_BYTES>,
    pub intake: Intake,
    announcement: Announcement,
}

/// How bytes come in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// No interrupt is routed yet: the ring is filled when somebody asks.
    Polled,
    /// The receive interrupt is on.
    Interrupt,
    /// The ring was full: the interrupt is off until there is room.
    HeldBack,
}

/// Whether the UART tells by an interrupt that it can take bytes again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    Off,
    On,
}

/// How far sending has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing waits any more.
    Done,
    /// The UART is busy; its interrupt will tell when it is not.
    Busy,
    /// As much was sent as was allowed.
    Bounded,
}

impl Line {
    /// A line that is polled, and was not tried yet.
    pub const fn new(port: Port) -> Line {
        // SAFETY: the eight ports from 0x3f8 and from 0x2f8 on are a PC's first two serial ports. Nothing else of
        // the kernel uses them but `Emergency`, which only reads the first one's line status and writes data; and
        // each has one `Line`, which holds the UART. AML is refused them (`owns`).
        let uart = match unsafe { Uart16550::new_port(port.registers().first().0) } {
            Ok(uart) => uart,
            Err(_) => panic!("the port's number leaves room for its registers"),
        };
        let (intake, announcement) = (Intake::Polled, Announcement::Off);
        Line { port, uart, incoming: Ring::new(), intake, announcement }
    }

    /// Sets the UART up, FIFOs on, interrupts off.
    pub fn set_up(&mut self, config: Config) -> Result<(), InitError> {
        // QEMU hands over as many bytes at once as the trigger level asks for; fewer are announced
        // after four characters' time.
        let config = Config { fifo_trigger_level: Some(FifoTriggerLevel::Fourteen), ..config };
        match self.port {
            Port::Console => self.save_early_bytes(),
            Port::Remote => self.mark_early_bytes(),
        }
        self.uart.init(config)?;
        let status = self.port.registers().read8(LINE_STATUS);
        if status & LSR::DATA_READY.bits() == 0 {
            // Nothing waits, so this reads nothing; QEMU takes it as the sign that there is room again.
            self.port.registers().read8(DATA);
        }
        Ok(())
    }

    /// Takes what was typed before the line is set up: switching the FIFOs on would drop it. In loopback
    /// mode the UART takes nothing more from outside, so nothing comes between this and the switch.
    fn save_early_bytes(&mut self) {
        self.port.registers().write8(MODEM_CONTROL, MCR::LOOP_BACK.bits());
        for _ in 0..=FIFO {
            let status = self.port.registers().read8(LINE_STATUS);
            // All ones: nobody answers at the port.
            if status == u8::MAX || status & LSR::DATA_READY.bits() == 0 {
                return;
            }
            self.incoming.put(&[self.port.registers().read8(DATA)]);
        }
    }

    /// What has come before the line is set up may be the end of a line whose beginning went with the kernel before
    /// a restart, or with the FIFOs: in front of what comes next stands a byte that is no text, so that this line is
    /// refused, and not taken for another one.
    fn mark_early_bytes(&mut self) {
        let status = self.port.registers().read8(LINE_STATUS);
        if status != u8::MAX && status & LSR::DATA_READY.bits() != 0 {
            self.incoming.put(&[CUT]);
        }
    }

    /// Tells the UART which interrupts are wanted.
    pub fn set_interrupts(&mut self) {
        let mut wanted = IER::empty();
        wanted.set(IER::DATA_READY, self.intake == Intake::Interrupt);
        wanted.set(IER::THR_EMPTY, self.announcement == Announcement::On);
        self.port.registers().write8(INTERRUPT_ENABLE, wanted.bits());
    }

    pub fn announce(&mut self, announcement: Announcement) {
        if self.announcement != announcement {
            self.announcement = announcement;
            self.set_interrupts();
        }
    }

    /// From the ring to the UART, as much as it takes at once, at most `most` bytes.
    pub fn send(&mut self, most: usize) -> Progress {
        let mut ring = self.port.outgoing().lock();
        let mut left = most;
        while ring.waiting() > 0 && left > 0 {
            let piece = ring.front();
            let sent = self.uart.send_bytes(&piece[..piece.len().min(left)]);
            ring.take(sent);
            left -= sent;
            if sent == 0 {
                if self.announcement == Announcement::On {
                    return Progress::Busy;
                }
                // And once more: not every UART announces what was so before.
                self.announce(Announcement::On);
            }
        }
        self.announce(Announcement::Off);
        if ring.waiting() == 0 {
            return Progress::Done;
        }
        crate::executor::wake();
        Progress::Bounded
    }

    /// From the UART into the ring, as much as fits.
    pub fn fill(&mut self) {
        if !self.port.is(READY) {
            return;
        }
        while self.incoming.room() > 0 {
            let Ok(byte) = self.uart.try_receive_byte() else {
                return;
            };
            self.incoming.put(&[byte]);
        }
        if self.intake == Intake::Interrupt {
            self.intake = Intake::HeldBack;
            self.set_interrupts();
            self.signal(MCR::empty());
        }
    }

    /// The oldest byte received.
    pub fn take(&mut self) -> Option<u8> {
        if self.intake == Intake::Polled {
            self.fill();
        }
        let byte = *self.incoming.front().first()?;
        self.incoming.take(1);
        // Not at the first free byte: the sender would be held back and let go for each one.
        if self.intake == Intake::HeldBack && self.incoming.room() >= INCOMING_BYTES / 2 {
            self.intake = Intake::Interrupt;
            self.signal(MCR::RTS);
            self.set_interrupts();
            self.fill();
        }
        Some(byte)
    }

    /// Sets the modem control lines: always "terminal ready" and the interrupt's gate, and `ready`
    /// (RTS or nothing). The crate has no setter for them.
    fn signal(&mut self, ready: MCR) {
        let lines = MCR::DTR | MCR::OUT_2_INT_ENABLE | ready;
        self.port.registers().write8(MODEM_CONTROL, lines.bits());
    }
}
