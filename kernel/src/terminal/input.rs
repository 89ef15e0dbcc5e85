//! Bytes from the serial lines, in order, none dropped. Bytes typed while a command runs wait here (and, with this full,
//! in the ring and the UART behind it), except for Ctrl-C, which stops the command. Each line stops its own commands
//! (`session`).
//!
//! Input waits while the output is not read, and so does a command at its next step, until the line's ring has [`ROOM`].
//! So only a command that writes more than that between two steps can wait for the line while the rest of the kernel
//! stands still.

use super::reply::{self, PATIENCE};
use super::{Failure, ROOM, session};
use crate::arch::time;
use crate::drivers::serial::{self, Port};
use crate::executor;
use crate::sync::{Mutex, MutexGuard, Rank};
use arrayvec::ArrayVec;
use core::future::poll_fn;
use core::task::Poll;

/// Bytes that can be typed ahead while Ctrl-C is still heard.
const TYPED_MAX: usize = 4096;
const CTRL_C: u8 = 0x03;

/// What was typed while a command ran, by line. Only the line's task takes its lock.
static TYPED: [Mutex<Typed>; 2] =
    [const { Mutex::new(Rank::Input, Typed { bytes: ArrayVec::new_const(), taken: 0, interrupted: false }) };
        2];

struct Typed {
    bytes: ArrayVec<u8, TYPED_MAX>,
    taken: usize,
    /// A Ctrl-C has come that nobody was stopped by yet.
    interrupted: bool,
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
        if core::mem::take(&mut self.interrupted) {
            return Some(Interrupt);
        }
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

fn typed(port: Port) -> MutexGuard<'static, Typed> {
    TYPED[port as usize].lock()
}

/// The next byte of the line's input, if there is one, and if the line is read.
pub fn take(port: Port) -> Option<u8> {
    if serial::room(port) < ROOM {
        return None;
    }
    let byte = typed(port).take();
    byte.or_else(|| serial::take_byte(port))
}

/// The next byte that came while a command runs on the line, which has looked for Ctrl-C among what came.
pub fn take_typed_ahead(port: Port) -> Option<u8> {
    if serial::room(port) < ROOM { None } else { typed(port).take() }
}

/// Hands on a Ctrl-C: whoever looks for one next finds it.
pub fn interrupt(port: Port) {
    typed(port).interrupted = true;
}

/// The next byte typed at the shell.
pub async fn byte() -> u8 {
    loop {
        if let Some(byte) = take(Port::Console) {
            return byte;
        }
        executor::wait_for_event().await;
    }
}

/// Between two steps of a long command: lets the rest of the kernel work, and waits for whoever reads: until the
/// serial line has room.
///
/// # Errors
///
/// When Ctrl-C has come, or a program does not read its line: the command ends, having undone what it has
/// half done.
pub async fn step() -> Result<(), Failure> {
    executor::yield_now().await;
    match session::port() {
        Port::Console => poll_fn(|_| may_go_on()).await,
        Port::Remote => remote_step().await,
    }
}

// Once in the kernel, not at each of the many places with a step.
#[inline(never)]
fn may_go_on() -> Poll<Result<(), Failure>> {
    match typed(Port::Console).look_for_interrupt(Port::Console) {
        Some(Interrupt) => Poll::Ready(Err(Failure::Stopped)),
        None if serial::room(Port::Console) >= ROOM => Poll::Ready(Ok(())),
        None => Poll::Pending,
    }
}

async fn remote_step() -> Result<(), Failure> {
    reply::tell();
    let deadline = time::uptime().saturating_add(PATIENCE);
    loop {
        let interrupt = typed(Port::Remote).look_for_interrupt(Port::Remote);
        match interrupt {
            Some(Interrupt) => return Err(Failure::Stopped),
            None if serial::room(Port::Remote) >= ROOM => return Ok(()),
            None if time::uptime() >= deadline => {
                return Err(Failure::of("stopped: nobody reads the line"));
            }
            None => executor::wait_for_event_until(deadline).await,
        }
    }
}

/// As [`step`], for what has to be done to its end: Ctrl-C waits.
pub async fn pause() {
    executor::yield_now().await;
}
