//! Output without locks, for fatal reports, which may have interrupted the holder of the line's lock,
//! and for output before [`super::init`]. It needs only two stateless register accesses.

use super::{ABSENT, COM1, DATA, LINE_STATUS, Port};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use uart_16550::spec::registers::LSR;

/// How often a report polls the line's status for each byte before it gives up. A byte takes 87 us at
/// 115200 baud, and a port access at least half a microsecond.
const MAX_POLLS: u32 = 1_000_000;

/// Set when a report has given up once: from then on it polls once per byte, so that it ends even if
/// the line accepts nothing.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

/// A writer without locks, which changes no state of the line's driver.
#[derive(Clone, Copy, Debug)]
pub struct Emergency;

/// The result of waiting for the line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Yes,
    No,
}

impl Emergency {
    /// Writes all of `bytes`, or gives up if the line accepts none.
    pub fn write(&mut self, bytes: &[u8]) {
        if Port::Console.is(ABSENT) {
            return;
        }
        for &byte in bytes {
            if wait_for(LSR::THR_EMPTY) == Came::No {
                return;
            }
            COM1.write8(DATA, byte);
        }
    }

    /// Waits until the UART has sent the last byte, or gives up.
    pub fn finish(&mut self) {
        if !Port::Console.is(ABSENT) {
            wait_for(LSR::TRANSMITTER_EMPTY);
        }
    }
}

fn wait_for(status: LSR) -> Came {
    let mut polls_left = if GAVE_UP.load(Ordering::Relaxed) { 1 } else { MAX_POLLS };
    while COM1.read8(LINE_STATUS) & status.bits() == 0 {
        polls_left -= 1;
        if polls_left == 0 {
            GAVE_UP.store(true, Ordering::Relaxed);
            return Came::No;
        }
        core::hint::spin_loop();
    }
    Came::Yes
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

/// Sends the queued output before a fatal report. Does nothing if the report interrupted the holder of the ring's lock (the
/// report lists that lock as held), or the line accepts nothing. The line's own lock may be held: its holder changes the
/// ring only under the ring's lock.
pub fn send_waiting() {
    let Some(mut ring) = Port::Console.outgoing().try_lock() else { return };
    while ring.waiting() > 0 {
        let count = ring.front().len();
        Emergency.write(ring.front());
        ring.take(count);
    }
}
