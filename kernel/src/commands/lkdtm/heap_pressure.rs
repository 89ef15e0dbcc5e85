//! Fills the heap for `stress heap`, to test that DIMMs are answered and commands work with only the reserve left.
//!
//! ```text
//!  newest -> [Link|......]  -> [Link|...] -> [Link|......] -> (empty)
//! ```
//!
//! Each block holds the link to the next one, so the list needs no other memory. Neighbour: `memory::heap`.

use crate::sync::{Mutex, Rank};
use alloc::vec::Vec;
use core::mem::{size_of, take};

/// A held block: a vector with one link and unused capacity.
struct Link {
    before: Vec<Link>,
}

struct Ballast {
    newest: Vec<Link>,
    bytes: u64,
}

/// The capacity of the largest block, in links: 6 MiB.
const MOST: usize = 1 << 18;

static BALLAST: Mutex<Ballast> = Mutex::new(Rank::Ballast, Ballast { newest: Vec::new(), bytes: 0 });

/// Allocates the whole heap, in the largest possible blocks. Returns the bytes held. Do not call it with the reserve
/// open.
pub fn fill() -> u64 {
    let mut ballast = BALLAST.lock();
    let mut capacity = MOST;
    while capacity > 0 {
        let mut block = Vec::new();
        if block.try_reserve_exact(capacity).is_err() {
            capacity /= 2;
            continue;
        }
        ballast.bytes += (block.capacity() * size_of::<Link>()) as u64;
        block.push(Link { before: take(&mut ballast.newest) });
        ballast.newest = block;
    }
    ballast.bytes
}

/// Frees all blocks. Returns the bytes freed.
pub fn drop_all() -> u64 {
    let mut ballast = BALLAST.lock();
    // One by one: dropping the newest block would recurse through the whole list.
    while let Some(Link { before }) = ballast.newest.pop() {
        ballast.newest = before;
    }
    ballast.newest = Vec::new();
    take(&mut ballast.bytes)
}
