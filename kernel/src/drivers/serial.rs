//! The serial lines: a ring in each direction between a UART and the kernel. COM1 is for people ([`Port::Console`]: log
//! and shell), COM2, if present, for programs ([`Port::Remote`], module `rpc`).
//!
//! ```text
//!  UART FIFO --interrupt--> ring of INCOMING_BYTES --take_byte()--> shell
//!      ^                      full: receive interrupt and RTS off; bytes wait in the FIFO and at the
//!      '-- sender held back   sender (QEMU's can_receive, RTS/CTS)
//!
//!  write() --> ring of OUTGOING_BYTES --.--> UART FIFO     at once, while the UART accepts bytes
//!  offer()                              |--interrupt-->    when a busy UART has emptied its FIFO
//!                                       '--pump()------>   the main loop, a bounded number per turn
//! ```
//!
//! The kernel does not wait for the reader while the ring has space. [`write()`], for COM1, waits only when the ring is
//! full; callers that can wait in a better way check [`room`] first. [`offer`], for COM2, never waits. The transmit
//! interrupt is enabled only while the UART is busy and bytes are left. The main loop feeds a UART that accepts
//! everything at once (an emulated one), so that its interrupt cannot starve the rest.
//!
//! Invariants: the driver drops no byte. One [`IrqMutex`] per line, in `LINES`, guards its input ring and its UART's
//! registers; the output ring has its own lock, which may be taken
//! while that one is held, never the other way round. Fatal reports bypass both ([`Emergency`]).
//! Until [`use_interrupts`], output to COM1 waits for the UART, and COM2 is unusable.

mod line;
mod report;

use crate::arch::io_apic::{self, RouteError};
use crate::arch::port::{PortNumber, Ports};
use crate::arch::vectors::{self, Handler, Vector};
use crate::arch::{interrupts, time};
use crate::sync::{IrqMutex, Rank};
use carapace_acpi::madt::Signal;
use carapace_irq::ring::Ring;
use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use line::{Announcement, Intake, Line, Progress};
use uart_16550::spec::registers::{IER, LSR};
use uart_16550::{BaudRate, Config, InitError};

pub use report::{Emergency, send_waiting};

/// One of the two lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// COM1, for people.
    Console,
    /// COM2, for programs.
    Remote,
}

impl Port {
    const ALL: [Port; 2] = [Port::Console, Port::Remote];

    /// Its registers.
    const fn registers(self) -> Ports {
        match self {
            Port::Console => COM1,
            Port::Remote => COM2,
        }
    }

    /// Its interrupt on a PC, the vector for it, and that one's handler.
    const fn interrupt(self) -> (u16, Vector, Handler) {
        match self {
            Port::Console => (4, vectors::CONSOLE, || on_interrupt(Port::Console)),
            Port::Remote => (3, vectors::REMOTE, || on_interrupt(Port::Remote)),
        }
    }

    fn line(self) -> &'static IrqMutex<Line> {
        &LINES[self as usize]
    }

    fn outgoing(self) -> &'static IrqMutex<Ring<OUTGOING_BYTES>> {
        &OUTGOING[self as usize]
    }

    fn state(self) -> &'static AtomicU8 {
        &STATES[self as usize]
    }

    fn is(self, state: u8) -> bool {
        self.state().load(Ordering::Relaxed) == state
    }
}

// SAFETY: a PC's first serial port, a 16550: it sends and receives bytes, its interrupt has a gate, and it writes to no
// memory.
const COM1: Ports = unsafe { Ports::new(PortNumber(0x3f8), 8) };
// SAFETY: a PC's second serial port, a 16550 whose interrupt has a gate, or unused ports.
const COM2: Ports = unsafe { Ports::new(PortNumber(0x2f8), 8) };
/// The transmit register, when written.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
/// Bytes received and not yet taken.
const INCOMING_BYTES: usize = 4096;
/// Bytes written and not yet sent.
pub const OUTGOING_BYTES: usize = 64 * 1024;
/// The size of a 16550's transmit FIFO.
const FIFO: usize = 16;
/// Bytes sent in one turn, by the interrupt's handler or by the main loop.
const TURN: usize = 16 * FIFO;
/// How long [`drain`] waits for a line that accepts nothing.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Whether each port has a UART.
static STATES: [AtomicU8; 2] = [const { AtomicU8::new(NOT_TRIED) }; 2];
const NOT_TRIED: u8 = 0;
const READY: u8 = 1;
const ABSENT: u8 = 2;

static LINES: [IrqMutex<Line>; 2] = [
    IrqMutex::new(Rank::SerialLine, Line::new(Port::Console)),
    IrqMutex::new(Rank::SerialLine, Line::new(Port::Remote)),
];
/// Separate from [`LINES`], whose initial values are not all zeros, so that these buffers are in `.bss`.
static OUTGOING: [IrqMutex<Ring<OUTGOING_BYTES>>; 2] =
    [const { IrqMutex::new(Rank::SerialOutput, Ring::new()) }; 2];

/// Whether an access of `bytes` at `port` touches a line's registers. Firmware may not access them, because it would
/// disturb the output.
pub fn owns(port: PortNumber, bytes: u64) -> bool {
    let within = |line: Port| line.registers().touches(port, bytes);
    within(Port::Console) || Port::Remote.is(READY) && within(Port::Remote)
}

/// Sets the line to 115200 baud, 8N1, FIFOs on, interrupts off.
///
/// # Errors
///
/// When there is no UART (its scratch register does not keep a value). Output is discarded from then on.
pub fn init(port: Port) -> Result<(), InitError> {
    let result = port.line().lock().set_up(Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT });
    port.state().store(if result.is_ok() { READY } else { ABSENT }, Ordering::Relaxed);
    result
}

/// Routes the line's interrupt and switches from polling to interrupts in both directions.
///
/// # Errors
///
/// When no IO APIC has its pin: the line stays polled.
pub fn use_interrupts(port: Port) -> Result<(), RouteError> {
    let (irq, vector, handler) = port.interrupt();
    io_apic::route(io_apic::wiring(irq, Signal::ISA), vector, handler)?;
    let mut line = port.line().lock();
    if port.is(READY) {
        line.intake = Intake::Interrupt;
        line.set_interrupts();
        line.fill();
    }
    Ok(())
}

/// Whether the line works by interrupts.
pub fn is_up(port: Port) -> bool {
    port.is(READY) && input(port) == Input::Interrupt
}

/// Writes all of `bytes` to COM1: into the ring, and on to the UART as far as it accepts them at once. Waits only while
/// the ring is full, since output is not dropped. (An unconnected line accepts everything.)
pub fn write(bytes: &[u8]) {
    let port = Port::Console;
    if !port.is(READY) {
        Emergency.write(bytes);
        return;
    }
    // One FIFO per turn, so that interrupts are served in between.
    for mut piece in bytes.chunks(FIFO) {
        while !piece.is_empty() {
            let mut line = port.line().lock();
            let taken = if line.intake == Intake::Polled {
                line.uart.send_bytes(piece)
            } else {
                let taken = port.outgoing().lock().put(piece);
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

/// The result of [`offer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It will be sent.
    All,
    /// Not enough space; nothing was taken.
    Nothing,
}

/// Queues all of `bytes` or nothing, and never waits. The main loop sends them ([`pump`]).
pub fn offer(port: Port, bytes: &[u8]) -> Taken {
    let mut ring = port.outgoing().lock();
    if ring.room() < bytes.len() {
        return Taken::Nothing;
    }
    ring.put(bytes);
    drop(ring);
    crate::executor::wake();
    Taken::All
}

/// How many bytes fit into the line's transmit queue.
pub fn room(port: Port) -> usize {
    port.outgoing().lock().room()
}

/// Sends some queued bytes. The main loop calls it in each turn.
pub fn pump() {
    Port::ALL.into_iter().for_each(pump_line);
}

fn pump_line(port: Port) {
    // One FIFO at a time, so that interrupts are served in between.
    for _ in 0..TURN / FIFO {
        if port.outgoing().lock().waiting() == 0 {
            return;
        }
        let mut line = port.line().lock();
        if line.intake == Intake::Polled || line.send(FIFO) != Progress::Bounded {
            return;
        }
    }
}

/// Waits until everything is sent on COM1, or nothing is sent for a second.
pub fn drain() {
    let port = Port::Console;
    if !port.is(READY) {
        return;
    }
    let mut deadline = time::uptime() + TIMEOUT;
    let mut waiting = usize::MAX;
    loop {
        pump_line(port);
        let left = port.outgoing().lock().waiting();
        if left < waiting {
            (waiting, deadline) = (left, time::uptime() + TIMEOUT);
        }
        let status = LSR::from_bits_retain(COM1.read8(LINE_STATUS));
        if left == 0 && status.contains(LSR::TRANSMITTER_EMPTY) || time::uptime() > deadline {
            return;
        }
        core::hint::spin_loop();
    }
}

/// The next byte received, if there is one.
pub fn take_byte(port: Port) -> Option<u8> {
    port.line().lock().take()
}

/// How input arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Never: there is no UART.
    None,
    /// It must be polled.
    Polled,
    /// By interrupt.
    Interrupt,
}

/// How input arrives at present.
pub fn input(port: Port) -> Input {
    match port.line().lock().intake {
        _ if port.is(ABSENT) => Input::None,
        Intake::Polled => Input::Polled,
        Intake::Interrupt | Intake::HeldBack => Input::Interrupt,
    }
}

/// Handles the line's interrupt: bytes have arrived, or the transmit FIFO is empty.
fn on_interrupt(port: Port) {
    let mut line = port.line().lock();
    line.fill();
    line.send(TURN);
    // The interrupt is edge-triggered, and a second cause may have been raised before the first was cleared: disabling and
    // enabling it makes a new edge if one is pending.
    port.registers().write8(INTERRUPT_ENABLE, IER::empty().bits());
    line.set_interrupts();
}

/// Calls `tell` with the name of each held lock of the lines, for fatal reports.
pub fn held_locks(tell: &mut dyn FnMut(&'static str)) {
    for (port, names) in [
        (Port::Console, ["serial", "serial output"]),
        (Port::Remote, ["second serial", "second serial output"]),
    ] {
        let held = [port.line().try_lock().is_none(), port.outgoing().try_lock().is_none()];
        held.into_iter().zip(names).filter(|(held, _)| *held).for_each(|(_, name)| tell(name));
    }
}

/// Runs `work` with both locks of the console's line held, to provoke errors there.
pub fn while_sending(work: impl FnOnce()) {
    let _line = Port::Console.line().lock();
    let _ring = Port::Console.outgoing().lock();
    work();
}

/// Lets the line's interrupt arrive while its lock is held, to provoke the handler's panic. Returns if none arrives within
/// a second.
pub fn collide_with_handler() {
    let mut line = Port::Console.line().lock();
    // The transmitter is idle and raises its interrupt.
    line.announce(Announcement::On);
    let end = time::uptime() + TIMEOUT;
    interrupts::enable();
    while time::uptime() < end {
        core::hint::spin_loop();
    }
    interrupts::disable();
}
