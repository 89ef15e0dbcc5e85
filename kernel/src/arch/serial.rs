//! The serial line (COM1): a ring in each direction between the UART and the kernel.
//!
//! ```text
//!  UART FIFO --interrupt--> ring of INCOMING_BYTES --take_byte()--> shell
//!      ^                      full: the UART's receive interrupt goes off and RTS down; bytes wait in
//!      '-- sender held back   the FIFO and, behind it, at the sender (QEMU's can_receive, RTS/CTS)
//!
//!  write() --> ring of OUTGOING_BYTES --.--> UART FIFO     at once, while the UART takes bytes
//!                                       |--interrupt-->    when a busy UART has sent what it had
//!                                       '--pump()------>   the main loop, a bounded number a turn
//! ```
//!
//! So nobody waits for whoever reads the line, as long as the ring has room: [`write()`] waits only when
//! it is full, and whoever can wait better asks [`room`] first. The transmitter's interrupt is on only
//! while there is something to send that the UART did not take; a UART that takes everything at once
//! (an emulated one) is fed by the main loop, so that its interrupt cannot starve the rest.
//!
//! Invariants: no byte is dropped by us; the rings and the UART's registers are changed under one
//! [`IrqMutex`], `SERIAL` (the outgoing ring's own lock is taken inside of it only). A fatal report
//! writes past them ([`Emergency`]). Until [`use_interrupts`], output waits for the UART.

mod report;
mod ring;

use super::port::{self, PortNumber};
use super::time;
use crate::sync::IrqMutex;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use ring::Ring;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER, LSR, MCR};
use uart_16550::{BaudRate, Config, InitError, Uart16550};

pub use report::{Emergency, send_waiting};

const COM1: PortNumber = PortNumber(0x3f8);
/// Its registers.
const PORTS: u16 = 8;
/// The transmit register, when written.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
/// ISA interrupt of COM1.
pub const ISA_IRQ: u8 = 4;
/// Bytes received and not yet taken.
const INCOMING_BYTES: usize = 4096;
/// Bytes written and not yet sent.
pub const OUTGOING_BYTES: usize = 64 * 1024;
/// What a transmit FIFO of a 16550 holds.
const FIFO: usize = 16;
/// Bytes sent in one turn, by the interrupt's handler or by the main loop.
const TURN: usize = 16 * FIFO;
/// How long [`drain`] waits for a line that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether anything answers at the port.
static LINE: AtomicU8 = AtomicU8::new(NOT_TRIED);
const NOT_TRIED: u8 = 0;
const READY: u8 = 1;
const ABSENT: u8 = 2;

struct Line {
    uart: Uart16550<PioBackend>,
    incoming: Ring<INCOMING_BYTES>,
    intake: Intake,
    announcement: Announcement,
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

/// Whether the UART tells by an interrupt that it can take bytes again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announcement {
    Off,
    On,
}

const UART: Uart16550<PioBackend> = {
    // SAFETY: ports 0x3f8 to 0x3ff are a PC's first serial port, and nothing else of the kernel uses
    // them but `Emergency`, which only reads the line status and writes data, and `Line`, which holds
    // the UART. AML is refused them (`owns`).
    match unsafe { Uart16550::new_port(COM1.0) } {
        Ok(uart) => uart,
        Err(_) => panic!("the port's number leaves room for its registers"),
    }
};

static SERIAL: IrqMutex<Line> = IrqMutex::new(Line {
    uart: UART,
    incoming: Ring::new(),
    intake: Intake::Polled,
    announcement: Announcement::Off,
});
/// Apart from [`SERIAL`], whose first value is not all zeros: so these bytes are not in the kernel's file.
static OUTGOING: IrqMutex<Ring<OUTGOING_BYTES>> = IrqMutex::new(Ring::new());

/// Whether an access of `bytes` at `port` touches the line's registers. Firmware is refused there: it would
/// write into the midst of what is being sent.
pub const fn owns(port: PortNumber, bytes: u64) -> bool {
    let (start, end) = (port.0 as u64, port.0 as u64 + bytes);
    start < (COM1.0 + PORTS) as u64 && end > COM1.0 as u64
}

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
    let mut line = SERIAL.lock();
    line.save_early_bytes();
    let result = line.uart.init(config);
    let status = port::read8(COM1.offset(LINE_STATUS));
    if result.is_ok() && status & LSR::DATA_READY.bits() == 0 {
        // Nothing waits, so this reads nothing; QEMU takes it as the sign that there is room again.
        port::read8(COM1.offset(DATA));
    }
    LINE.store(if result.is_ok() { READY } else { ABSENT }, Ordering::Relaxed);
    result
}

/// Switches from polling to interrupts in both directions. The interrupt must be routed and
/// acknowledged by `apic`.
pub fn use_interrupts() {
    let mut line = SERIAL.lock();
    if LINE.load(Ordering::Relaxed) == READY {
        line.intake = Intake::Interrupt;
        line.set_interrupts();
        line.fill();
    }
}

/// Writes all of `bytes`: into the ring, and from there what the UART takes at once. Waits only while
/// the ring is full, since output is not dropped (a line with nobody at its end takes everything).
pub fn write(bytes: &[u8]) {
    if LINE.load(Ordering::Relaxed) != READY {
        Emergency.write(bytes);
        return;
    }
    // One FIFO a turn, so that interrupts come in between.
    for mut piece in bytes.chunks(FIFO) {
        while !piece.is_empty() {
            let mut line = SERIAL.lock();
            let taken = if line.intake == Intake::Polled {
                line.uart.send_bytes(piece)
            } else {
                let taken = OUTGOING.lock().put(piece);
                // Twice of it: what waits becomes less.
                line.send(2 * FIFO);
                taken
            };
            drop(line);
            piece = &piece[taken..];
            core::hint::spin_loop();
        }
    }
}

/// How many bytes [`write()`] takes without waiting for whoever reads the line.
pub fn room() -> usize {
    OUTGOING.lock().room()
}

/// Sends some more of what waits: to be called by the main loop in each turn.
pub fn pump() {
    // One FIFO at a time, so that interrupts come in between.
    for _ in 0..TURN / FIFO {
        let mut line = SERIAL.lock();
        if line.intake == Intake::Polled || line.send(FIFO) != Progress::Bounded {
            return;
        }
    }
}

/// Waits until everything is sent, but no longer than a second in which nothing is.
pub fn drain() {
    if LINE.load(Ordering::Relaxed) != READY {
        return;
    }
    let mut deadline = time::uptime() + PATIENCE;
    let mut waiting = usize::MAX;
    loop {
        pump();
        let left = OUTGOING.lock().waiting();
        if left < waiting {
            (waiting, deadline) = (left, time::uptime() + PATIENCE);
        }
        let status = LSR::from_bits_retain(port::read8(COM1.offset(LINE_STATUS)));
        if left == 0 && status.contains(LSR::TRANSMITTER_EMPTY) || time::uptime() > deadline {
            return;
        }
        core::hint::spin_loop();
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

/// The line's interrupt: bytes have come, or the UART has sent what it had.
pub(super) fn on_interrupt() {
    let mut line = SERIAL.lock();
    line.fill();
    line.send(TURN);
    // The interrupt is edge-triggered, and one cause may have come up before the other was gone: off
    // and on again makes a new edge of whatever is pending.
    port::write8(COM1.offset(INTERRUPT_ENABLE), IER::empty().bits());
    line.set_interrupts();
}

/// How far sending has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing waits any more.
    Done,
    /// The UART is busy; its interrupt will tell when it is not.
    Busy,
    /// As much was sent as was allowed.
    Bounded,
}

impl Line {
    /// Takes what was typed before the line is set up: switching the FIFOs on would drop it. In loopback
    /// mode the UART takes nothing more from outside, so nothing comes between this and the switch.
    fn save_early_bytes(&mut self) {
        port::write8(COM1.offset(MODEM_CONTROL), MCR::LOOP_BACK.bits());
        for _ in 0..=FIFO {
            let status = port::read8(COM1.offset(LINE_STATUS));
            // All ones: nobody answers at the port.
            if status == u8::MAX || status & LSR::DATA_READY.bits() == 0 {
                return;
            }
            self.incoming.put(&[port::read8(COM1.offset(DATA))]);
        }
    }

    /// Tells the UART which interrupts are wanted.
    fn set_interrupts(&mut self) {
        let mut wanted = IER::empty();
        wanted.set(IER::DATA_READY, self.intake == Intake::Interrupt);
        wanted.set(IER::THR_EMPTY, self.announcement == Announcement::On);
        port::write8(COM1.offset(INTERRUPT_ENABLE), wanted.bits());
    }

    fn announce(&mut self, announcement: Announcement) {
        if self.announcement != announcement {
            self.announcement = announcement;
            self.set_interrupts();
        }
    }

    /// From the ring to the UART, as much as it takes at once, at most `most` bytes.
    fn send(&mut self, most: usize) -> Progress {
        let mut ring = OUTGOING.lock();
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
    fn fill(&mut self) {
        if LINE.load(Ordering::Relaxed) != READY {
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

    fn take(&mut self) -> Option<u8> {
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
        port::write8(COM1.offset(MODEM_CONTROL), lines.bits());
    }
}
