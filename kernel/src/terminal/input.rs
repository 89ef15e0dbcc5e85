//! Input from the serial lines, in order and without loss. Input that arrives while a command runs is stored here (and,
//! once this is full, in the driver's ring and the UART), except Ctrl-C, which stops the command of its own line
//! (`session`).
//!
//! Flow control: while the transmit queue has less space than [`MIN_SPACE`], because the reader is slow, no input is
//! read and a command waits at its next step. Only a command that writes more than that between two steps can block the
//! rest of the kernel.

use super::reply::{self, TIMEOUT};
use super::{Failure, MIN_SPACE, console, session};
use crate::arch::time;
use crate::drivers::serial::{self, Port};
use crate::executor;
use crate::sync::{Mutex, MutexGuard, Rank};
use arrayvec::ArrayVec;
use core::future::poll_fn;
use core::task::Poll;

/// Bytes that can be typed ahead before Ctrl-C is no longer noticed.
const TYPED_MAX: usize = 4096;
const CTRL_C: u8 = 0x03;

/// Input that arrived while a command ran, by line. Only the line's task takes its lock.
static TYPED: [Mutex<Typed>; 2] =
    [const { Mutex::new(Rank::Input, Typed { bytes: ArrayVec::new_const(), taken: 0, interrupted: false }) };
        2];

struct Typed {
    bytes: ArrayVec<u8, TYPED_MAX>,
    taken: usize,
    /// A Ctrl-C has arrived and has not stopped a command yet.
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

    /// Stores input up to a Ctrl-C, which it removes and returns, or until the buffer is full.
    fn poll_interrupt(&mut self, port: Port) -> Option<Interrupt> {
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

/// The next byte of the line's input. `None` if there is none or the line's reader is too slow.
pub fn take(port: Port) -> Option<u8> {
    if serial::room(port) < MIN_SPACE {
        return None;
    }
    let byte = typed(port).take();
    byte.or_else(|| serial::take_byte(port))
}

/// The next byte that a running command has stored while polling for Ctrl-C.
pub fn take_typed_ahead(port: Port) -> Option<u8> {
    if serial::room(port) < MIN_SPACE { None } else { typed(port).take() }
}

/// Passes a Ctrl-C on to the command that polls for one next.
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

/// Called between two steps of a long command: yields to the rest of the kernel, then waits until the transmit queue has
/// space.
///
/// # Errors
///
/// On Ctrl-C, or when a program does not read the remote line. The command must then undo its unfinished work and end.
pub async fn step() -> Result<(), Failure> {
    executor::yield_now().await;
    match session::port() {
        Port::Console => {
            console::show_progress();
            poll_fn(|_| poll_step()).await
        }
        Port::Remote => remote_step().await,
    }
}

// Not inlined at each of its many callers.
#[inline(never)]
fn poll_step() -> Poll<Result<(), Failure>> {
    match typed(Port::Console).poll_interrupt(Port::Console) {
        Some(Interrupt) => Poll::Ready(Err(Failure::Stopped)),
        None if serial::room(Port::Console) >= MIN_SPACE => Poll::Ready(Ok(())),
        None => Poll::Pending,
    }
}

async fn remote_step() -> Result<(), Failure> {
    reply::send_events();
    let deadline = time::uptime().saturating_add(TIMEOUT);
    loop {
        let interrupt = typed(Port::Remote).poll_interrupt(Port::Remote);
        match interrupt {
            Some(Interrupt) => return Err(Failure::Stopped),
            None if serial::room(Port::Remote) >= MIN_SPACE => return Ok(()),
            None if time::uptime() >= deadline => {
                return Err(Failure::of("stopped: the reader of the line is too slow"));
            }
            None => executor::wait_for_event_until(deadline).await,
        }
    }
}

/// Like [`step`], for work that cannot be interrupted: Ctrl-C stays pending.
pub async fn pause() {
    executor::yield_now().await;
    if session::port() == Port::Console {
        console::show_progress();
    }
}
