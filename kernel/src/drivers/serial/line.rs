//! One serial line: its UART and its input ring.
//!
//! Invariant: only the holder of the line's lock accesses the UART's registers. The crate's driver caches only the
//! configuration, so this module may write the registers that the driver does not support (modem control, single
//! interrupts). The output ring has its own lock (`Port::outgoing`).

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

/// How bytes arrive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// No interrupt is routed yet: the ring is filled by polling.
    Polled,
    /// The receive interrupt is on.
    Interrupt,
    /// The ring was full: the interrupt is off until it has space.
    HeldBack,
}

/// Whether the transmit interrupt is on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    Off,
    On,
}

/// The result of sending.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The ring is empty.
    Done,
    /// The UART is busy; its interrupt follows.
    Busy,
    /// The limit was reached.
    Bounded,
}

impl Line {
    /// A polled line, not set up yet.
    pub const fn new(port: Port) -> Line {
        // SAFETY: the eight ports from 0x3f8 and from 0x2f8 on are a PC's first two serial ports. Only this module and
        // `Emergency`, which reads the first one's line status and writes data, use them. Each has one `Line`, which owns
        // the UART. AML may not access them (`owns`).
        let uart = match unsafe { Uart16550::new_port(port.registers().first().0) } {
            Ok(uart) => uart,
            Err(_) => panic!("the port's number leaves room for its registers"),
        };
        let (intake, announcement) = (Intake::Polled, Announcement::Off);
        Line { port, uart, incoming: Ring::new(), intake, announcement }
    }

    /// Sets the UART up, FIFOs on, interrupts off.
    pub fn set_up(&mut self, config: Config) -> Result<(), InitError> {
        // QEMU delivers as many bytes at once as the trigger level; it signals fewer after the time of
        // four characters.
        let config = Config { fifo_trigger_level: Some(FifoTriggerLevel::Fourteen), ..config };
        match self.port {
            Port::Console => self.save_early_bytes(),
            Port::Remote => self.mark_early_bytes(),
        }
        self.uart.init(config)?;
        let status = self.port.registers().read8(LINE_STATUS);
        if status & LSR::DATA_READY.bits() == 0 {
            // The FIFO is empty, so this reads nothing, but tells QEMU that it may send again.
            self.port.registers().read8(DATA);
        }
        Ok(())
    }

    /// Reads input that arrived before the set-up, since enabling the FIFOs would drop it. Loopback mode keeps further
    /// input out until then.
    fn save_early_bytes(&mut self) {
        self.port.registers().write8(MODEM_CONTROL, MCR::LOOP_BACK.bits());
        for _ in 0..=FIFO {
            let status = self.port.registers().read8(LINE_STATUS);
            // All ones: no device at the port.
            if status == u8::MAX || status & LSR::DATA_READY.bits() == 0 {
                return;
            }
            self.incoming.put(&[self.port.registers().read8(DATA)]);
        }
    }

    /// Input from before the set-up may be the end of a line whose beginning was lost with a restart or the FIFOs. Inserts
    /// a byte that is not text, so that the line is refused.
    fn mark_early_bytes(&mut self) {
        let status = self.port.registers().read8(LINE_STATUS);
        if status != u8::MAX && status & LSR::DATA_READY.bits() != 0 {
            self.incoming.put(&[CUT]);
        }
    }

    /// Sets the UART's enabled interrupts.
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

    /// Moves bytes from the ring to the UART, as many as it accepts at once, at most `most`.
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
                // Try once more: not every UART signals a FIFO that was empty already.
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

    /// Moves bytes from the UART to the ring, as many as fit.
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
        // Not at the first free byte, to avoid stopping and starting the sender for each one.
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
