//! What happens to memory devices, for whoever listens: a short list that hotplug fills and the remote line empties.
//!
//! ```text
//!  acpi (Notify, _OST), hotplug (added, removed) -- tell --> list of KEPT -- next --> shell::remote -> COM2
//! ```
//!
//! Invariants: while nobody listens nothing is kept, and telling costs a load; telling never waits: what finds no room
//! is counted. Listening ends by itself at the time that [`listen`] was given, so that a listener that is gone without
//! a word costs nothing for long. Lock order (`sync`): after hotplug's and the remote line's. Not for interrupt
//! handlers.

use crate::arch::time;
use crate::executor;
use arrayvec::ArrayVec;
use carapace_cli::rows::{Device, NewsRow};
use carapace_mm::info::ResourceId;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use spin::Mutex;

/// Pieces of news kept for a listener that is slow.
const KEPT: usize = 64;

/// Until when somebody listens, in nanoseconds of uptime.
static UNTIL: AtomicU64 = AtomicU64::new(0);
static LIST: Mutex<List> = Mutex::new(List { rows: ArrayVec::new_const(), lost: 0 });

struct List {
    rows: ArrayVec<NewsRow, KEPT>,
    lost: u64,
}

/// Whether somebody wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Somebody does.
    There,
    /// Nobody does.
    None,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Keeps news until `until` of the uptime, and what was told before only if somebody listened already.
pub fn listen(until: Duration) {
    if listener() == Listener::None {
        let mut list = LIST.lock();
        list.rows.clear();
        list.lost = 0;
    }
    UNTIL.store(nanos(until), Ordering::Relaxed);
}

/// Whether somebody listens.
pub fn listener() -> Listener {
    match UNTIL.load(Ordering::Relaxed) {
        0 => Listener::None,
        until if nanos(time::uptime()) >= until => Listener::None,
        _ => Listener::There,
    }
}

fn tell(row: impl FnOnce(u64) -> NewsRow) {
    if listener() == Listener::None {
        return;
    }
    let at = u64::try_from(time::uptime().as_micros()).unwrap_or(u64::MAX);
    let mut list = LIST.lock();
    if list.rows.try_push(row(at)).is_err() {
        list.lost += 1;
    }
    executor::wake();
}

/// The firmware has notified something at `path` with `value`.
pub fn notified(path: &str, value: u64) {
    tell(|uptime_us| NewsRow::Notify { uptime_us, device: Device::of(&path), value });
}

/// The firmware was told how a Notify of that value (`source`) ended.
pub fn answered(path: &str, source: u64, status: u64) {
    tell(|uptime_us| NewsRow::Ost { uptime_us, device: Device::of(&path), source, status });
}

/// Memory has come; the sizes are bytes.
pub fn added(path: &str, resource: ResourceId, base: u64, size: u64, node: u32) {
    tell(|uptime_us| NewsRow::Added {
        uptime_us,
        device: Device::of(&path),
        resource: resource.0,
        base,
        size,
        node,
    });
}

/// All memory of a device has gone, `size` bytes.
pub fn removed(path: &str, size: u64) {
    tell(|uptime_us| NewsRow::Removed { uptime_us, device: Device::of(&path), size });
}

/// The oldest piece of news.
pub fn next() -> Option<NewsRow> {
    LIST.lock().rows.pop_at(0)
}

/// How many pieces there was no room for since the last call.
pub fn take_lost() -> u64 {
    core::mem::take(&mut LIST.lock().lost)
}
