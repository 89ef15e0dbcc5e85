//! Holding the heap full on purpose: what `stress heap` does, so that it is seen that a DIMM is answered
//! and every command works when there is nothing left but the reserve.
//!
//! ```text
//!  newest -> [Link|......]  -> [Link|...] -> [Link|......] -> (empty)
//! ```
//!
//! Each block is the list's next link and otherwise unused room, so holding memory needs none beside it.
//! Neighbours: `heap` is asked for blocks until it has none; the shell calls.

use crate::sync::{Mutex, Rank};
use alloc::vec::Vec;
use core::mem::{size_of, take};

/// A block that is held: a vector with one link in it and more room.
struct Link {
    before: Vec<Link>,
}

struct Ballast {
    newest: Vec<Link>,
    bytes: u64,
}

/// Links that the largest block tried has room for: 6 MiB.
const MOST: usize = 1 << 18;

static BALLAST: Mutex<Ballast> = Mutex::new(Rank::Ballast, Ballast { newest: Vec::new(), bytes: 0 });

/// Takes all of the heap that can be had, in the largest blocks there are, and holds it. Returns the bytes
/// that are held now. Not to be called with the reserve open.
pub fn fill() -> u64 {
    let mut ballast = BALLAST.lock();
    let mut room = MOST;
    while room > 0 {
        let mut block = Vec::new();
        if block.try_reserve_exact(room).is_err() {
            room /= 2;
            continue;
        }
        ballast.bytes += (block.capacity() * size_of::<Link>()) as u64;
        block.push(Link { before: take(&mut ballast.newest) });
        ballast.newest = block;
    }
    ballast.bytes
}

/// Gives back all that is held, and tells how many bytes that were.
pub fn drop_all() -> u64 {
    let mut ballast = BALLAST.lock();
    // One by one: dropping the newest block alone would go down the whole list on the stack.
    while let Some(Link { before }) = ballast.newest.pop() {
        ballast.newest = before;
    }
    ballast.newest = Vec::new();
    take(&mut ballast.bytes)
}
