//! The serial line (COM1): output polled, input by interrupt into a ring.
//!
//! ```text
//!  UART FIFO --interrupt--> ring of RING bytes --take_byte()--> shell
//!      ^                      full: the UART's receive interrupt goes off and RTS down; bytes wait in
//!      '-- sender held back   the FIFO and, behind it, at the sender (QEMU's can_receive, RTS/CTS)
//! ```
//!
//! Invariants: no byte is dropped by us; the ring and the UART's registers are changed under one
//! [`IrqMutex`]. A fatal report writes past that lock ([`emergency`]): output needs two stateless
//! register accesses, no more. Before [`init`] succeeds, output goes the same stateless way.

use super::port::{self, PortNumber};
use crate::sync::IrqMutex;
use core::fmt;
use core::sync::atomic::{AtomicU8, Ordering};
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER, LSR, MCR};
use uart_16550::{BaudRate, Config, InitError, Uart16550};

const COM1: PortNumber = PortNumber(0x3f8);
/// The transmit register, when written.
const DATA: u16 = 0;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
/// ISA interrupt of COM1.
pub const ISA_IRQ: u8 = 4;
/// Bytes received and not yet taken.
const RING: usize = 4096;
/// What a transmit FIFO of a 16550 holds.
const FIFO: usize = 16;
/// How often a fatal report asks the line whether it can take a byte before it gives up on it. A byte takes
/// 87 us at 115200 baud and a port access at least half a microsecond.
const PATIENCE: u32 = 1_000_000;

/// Whether anything answers at the port.
static LINE: AtomicU8 = AtomicU8::new(NOT_TRIED);
const NOT_TRIED: u8 = 0;
const READY: u8 = 1;
const ABSENT: u8 = 2;

struct Line {
    uart: Uart16550<PioBackend>,
    ring: [u8; RING],
    /// Bytes ever put into and taken out of the ring.
    received: usize,
    taken: usize,
    intake: Intake,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    /// No interrupt is routed yet: the ring is filled when somebody asks.
    Polled,
    /// The receive interrupt is on.
    Interrupt,
    /// The ring was full: the interrupt is off until there is room.
    HeldBack,
}

const UART: Uart16550<PioBackend> = {
    // SAFETY: ports 0x3f8 to 0x3ff are a PC's first serial port, and nothing else of the kernel uses
    // them but `emergency`, which only reads the line status and writes data.
    match unsafe { Uart16550::new_port(COM1.0) } {
        Ok(uart) => uart,
        Err(_) => panic!("the port's number leaves room for its registers"),
    }
};

static SERIAL: IrqMutex<Line> =
    IrqMutex::new(Line { uart: UART, ring: [0; RING], received: 0, taken: 0, intake: Intake::Polled });

/// Sets the line to 115200 baud, 8N1, FIFOs on, interrupts off.
///
/// # Errors
///
/// When no UART answers: output is discarded from then on.
pub fn init() -> Result<(), InitError> {
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        // QEMU hands over as many bytes at once as the trigger level asks for; fewer are announced
        // after four characters' time.
        fifo_trigger_level: Some(FifoTriggerLevel::Fourteen),
        ..Config::DEFAULT
    };
    let result = SERIAL.lock().uart.init(config);
    LINE.store(if result.is_ok() { READY } else { ABSENT }, Ordering::Relaxed);
    result
}

/// Switches input from polling to the receive interrupt. The interrupt must be routed and acknowledged
/// by `apic`.
pub fn receive_by_interrupt() {
    let mut line = SERIAL.lock();
    if LINE.load(Ordering::Relaxed) == READY {
        line.intake = Intake::Interrupt;
        line.uart.enable_interrupts(IER::DATA_READY);
        line.fill();
    }
}

/// Writes all of `bytes`. Waits as long as whoever listens holds the line back: output is not dropped
/// either (a line with nobody at its end takes everything).
pub fn write(bytes: &[u8]) {
    if LINE.load(Ordering::Relaxed) != READY {
        Emergency.write(bytes);
        return;
    }
    // One FIFO a turn, so that interrupts come in between.
    for mut piece in bytes.chunks(FIFO) {
        while !piece.is_empty() {
            let sent = SERIAL.lock().uart.send_bytes(piece);
            piece = &piece[sent..];
            core::hint::spin_loop();
        }
    }
}

/// The next byte received, if there is one.
pub fn take_byte() -> Option<u8> {
    SERIAL.lock().take()
}

/// How input comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody must ask for it: no interrupt tells of it.
    Polled,
    /// By interrupt.
    Interrupt,
}

/// How input comes in at present.
pub fn input() -> Input {
    match SERIAL.lock().intake {
        Intake::Polled => Input::Polled,
        Intake::Interrupt | Intake::HeldBack => Input::Interrupt,
    }
}

/// The receive interrupt. The UART withdraws it when its FIFO is empty or the interrupt is off.
pub(super) fn on_interrupt() {
    SERIAL.lock().fill();
}

impl Line {
    fn free(&self) -> usize {
        RING - self.received.wrapping_sub(self.taken)
    }

    /// From the UART into the ring, as much as fits.
    fn fill(&mut self) {
        if LINE.load(Ordering::Relaxed) != READY {
            return;
        }
        while self.free() > 0 {
            let Ok(byte) = self.uart.try_receive_byte() else {
                return;
            };
            self.ring[self.received % RING] = byte;
            self.received = self.received.wrapping_add(1);
        }
        if self.intake == Intake::Interrupt {
            self.intake = Intake::HeldBack;
            self.uart.disable_interrupts(IER::DATA_READY);
            self.signal(MCR::empty());
        }
    }

    fn take(&mut self) -> Option<u8> {
        if self.intake == Intake::Polled {
            self.fill();
        }
        if self.received == self.taken {
            return None;
        }
        let byte = self.ring[self.taken % RING];
        self.taken = self.taken.wrapping_add(1);
        // Not at the first free byte: the sender would be held back and let go for each one.
        if self.intake == Intake::HeldBack && self.free() >= RING / 2 {
            self.intake = Intake::Interrupt;
            self.signal(MCR::RTS);
            self.uart.enable_interrupts(IER::DATA_READY);
            self.fill();
        }
        Some(byte)
    }

    /// Sets the modem control lines: always "terminal ready" and the interrupt's gate, and `ready`
    /// (RTS or nothing). The crate has no setter for them.
    fn signal(&mut self, ready: MCR) {
        let lines = MCR::DTR | MCR::OUT_2_INT_ENABLE | ready;
        port::write8(COM1.offset(MODEM_CONTROL), lines.bits());
    }
}

/// A writer that takes no lock and changes no state of ours: for fatal reports, which may have
/// interrupted the holder of the line's lock, and for the time before [`init`].
#[derive(Clone, Copy, Debug)]
pub struct Emergency;

impl Emergency {
    /// Writes all of `bytes`, or gives up on a line that takes none.
    pub fn write(&mut self, bytes: &[u8]) {
        if LINE.load(Ordering::Relaxed) == ABSENT {
            return;
        }
        for &byte in bytes {
            let mut patience = PATIENCE;
            while port::read8(COM1.offset(LINE_STATUS)) & LSR::THR_EMPTY.bits() == 0 {
                patience -= 1;
                if patience == 0 {
                    return;
                }
                core::hint::spin_loop();
            }
            port::write8(COM1.offset(DATA), byte);
        }
    }
}

impl fmt::Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => {
                    self.write(line.as_bytes());
                    self.write(b"\r\n");
                }
                None => self.write(line.as_bytes()),
            }
        }
        Ok(())
    }
}
