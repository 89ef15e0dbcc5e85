//! Output that takes no lock: for fatal reports, which may have interrupted the holder of the line's
//! lock, and for the time before [`super::init`]. It needs two stateless register accesses, no more.

use super::{ABSENT, COM1, DATA, LINE_STATUS, Port};
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};
use uart_16550::spec::registers::LSR;

/// How often the line is asked whether it can take a byte before a report gives up on it. A byte takes
/// 87 us at 115200 baud and a port access at least half a microsecond.
const PATIENCE: u32 = 1_000_000;

/// Set when the patience was in vain: from then on the line is asked once a byte, so that a report
/// that nobody reads comes to its end.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

/// A writer that takes no lock and changes no state of the line's driver.
#[derive(Clone, Copy, Debug)]
pub struct Emergency;

/// Whether the line came to where it was waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Yes,
    No,
}

impl Emergency {
    /// Writes all of `bytes`, or gives up on a line that takes none.
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

    /// Waits until the last byte has left the UART, or gives up on a line that takes none.
    pub fn finish(&mut self) {
        if !Port::Console.is(ABSENT) {
            wait_for(LSR::TRANSMITTER_EMPTY);
        }
    }
}

fn wait_for(status: LSR) -> Came {
    let mut patience = if GAVE_UP.load(Ordering::Relaxed) { 1 } else { PATIENCE };
    while COM1.read8(LINE_STATUS) & status.bits() == 0 {
        patience -= 1;
        if patience == 0 {
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

/// Sends what was written before a fatal report and waits in the ring, so that it stands before the
/// report: unless the report interrupted just that (the report tells that lock among those held), or the line
/// takes nothing. The line's own lock may be held: its holder changes the ring under the ring's lock only.
pub fn send_waiting() {
    let Some(mut ring) = Port::Console.outgoing().try_lock() else { return };
    while ring.waiting() > 0 {
        let count = ring.front().len();
        Emergency.write(ring.front());
        ring.take(count);
    }
}
