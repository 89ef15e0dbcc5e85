//! Bytes from the serial line, in their order, none dropped: what is typed while a command runs waits
//! here (and, with this full, in the ring and the UART behind it), except for Ctrl-C, which stops the
//! command.
//!
//! Whoever does not read what the shell says is not heard on either: input waits, and so does a command
//! at its next step, until the serial line has [`ROOM`]. So only a command that writes more than that
//! between two steps can ever wait for the line without letting the rest of the kernel work.

use super::Failure;
use crate::arch::serial;
use crate::executor;
use arrayvec::ArrayVec;
use spin::Mutex;

/// Bytes that the line must take before a command, or its next step, begins: more than the log needs.
const ROOM: usize = serial::OUTGOING_BYTES / 2;
/// Bytes that can be typed ahead while Ctrl-C is still heard.
const TYPED_MAX: usize = 4096;
const CTRL_C: u8 = 0x03;

/// What was typed while a command ran. Only the shell takes this lock.
static TYPED: Mutex<Typed> = Mutex::new(Typed { bytes: ArrayVec::new_const(), taken: 0 });

struct Typed {
    bytes: ArrayVec<u8, TYPED_MAX>,
    taken: usize,
}

impl Typed {
    fn take(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.taken).copied();
        if byte.is_some() {
            self.taken += 1;
        } else {
            self.bytes.clear();
            self.taken = 0;
        }
        byte
    }

    /// Takes in what has come until a Ctrl-C, which is kept out, or until there is no room.
    fn look_for_interrupt(&mut self) -> Option<Interrupt> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        while !self.bytes.is_full() {
            match serial::take_byte()? {
                CTRL_C => return Some(Interrupt),
                byte => self.bytes.push(byte),
            }
        }
        None
    }
}

struct Interrupt;

/// The next byte of input.
pub async fn byte() -> u8 {
    loop {
        if serial::room() >= ROOM {
            let typed = TYPED.lock().take();
            if let Some(byte) = typed.or_else(serial::take_byte) {
                return byte;
            }
        }
        executor::woken().await;
    }
}

/// Between two steps of a long command: lets the rest of the kernel work.
///
/// # Errors
///
/// When Ctrl-C has come: the command ends, having undone what it has half done.
pub async fn step() -> Result<(), Failure> {
    executor::give_way().await;
    loop {
        let interrupt = TYPED.lock().look_for_interrupt();
        match interrupt {
            Some(Interrupt) => return Err(Failure::of("stopped by Ctrl-C")),
            None if serial::room() >= ROOM => return Ok(()),
            None => executor::woken().await,
        }
    }
}

/// As [`step`], for what has to be done to its end: Ctrl-C waits.
pub async fn pause() {
    executor::give_way().await;
}
