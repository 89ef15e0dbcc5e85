//! Bytes from the serial lines, in their order, none dropped: what is typed while a command runs waits
//! here (and, with this full, in the ring and the UART behind it), except for Ctrl-C, which stops the
//! command. Each line stops its own commands (`session`).
//!
//! Whoever does not read what the shell says is not heard on either: input waits, and so does a command
//! at its next step, until the serial line has [`ROOM`]. So only a command that writes more than that
//! between two steps can ever wait for the line without letting the rest of the kernel work.

use super::{Failure, remote, session};
use crate::arch::serial::{self, Port};
use crate::arch::time;
use crate::executor;
use arrayvec::ArrayVec;
use spin::Mutex;

/// Bytes that the line must take before a command, or its next step, begins: more than the log needs.
pub const ROOM: usize = serial::OUTGOING_BYTES / 2;
/// Bytes that can be typed ahead while Ctrl-C is still heard.
const TYPED_MAX: usize = 4096;
const CTRL_C: u8 = 0x03;

/// What was typed while a command ran, by line. Only the line's task takes its lock.
static TYPED: [Mutex<Typed>; 2] = [const { Mutex::new(Typed { bytes: ArrayVec::new_const(), taken: 0 }) }; 2];

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
    fn look_for_interrupt(&mut self, port: Port) -> Option<Interrupt> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        while !self.bytes.is_full() {
            match serial::take_byte(port)? {
                CTRL_C => return Some(Interrupt),
                byte => self.bytes.push(byte),
            }
        }
        None
    }
}

struct Interrupt;

/// The next byte of the line's input, if there is one, and if the line is read.
pub fn take(port: Port) -> Option<u8> {
    if serial::room(port) < ROOM {
        return None;
    }
    let typed = TYPED[port as usize].lock().take();
    typed.or_else(|| serial::take_byte(port))
}

/// The next byte typed at the shell.
pub async fn byte() -> u8 {
    loop {
        if let Some(byte) = take(Port::Console) {
            return byte;
        }
        executor::woken().await;
    }
}

/// Between two steps of a long command: lets the rest of the kernel work.
///
/// # Errors
///
/// When Ctrl-C has come, or a program does not read its line: the command ends, having undone what it has
/// half done.
pub async fn step() -> Result<(), Failure> {
    executor::give_way().await;
    let port = session::port();
    if port == Port::Remote {
        remote::tell();
    }
    let deadline = time::uptime().saturating_add(remote::PATIENCE);
    loop {
        let interrupt = TYPED[port as usize].lock().look_for_interrupt(port);
        match interrupt {
            Some(Interrupt) => return Err(Failure::of("stopped by Ctrl-C")),
            None if serial::room(port) >= ROOM => return Ok(()),
            None if port == Port::Console => executor::woken().await,
            None if time::uptime() >= deadline => {
                return Err(Failure::of("stopped: nobody reads the line"));
            }
            None => executor::woken_until(deadline).await,
        }
    }
}

/// As [`step`], for what has to be done to its end: Ctrl-C waits.
pub async fn pause() {
    executor::give_way().await;
}
