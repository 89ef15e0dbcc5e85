//! Events of memory devices for a listener on the remote line (Linux: uevents): hotplug adds them to a short list, the
//! remote line takes them out.
//!
//! ```text
//!  acpi (Notify, _OST), hotplug (added, removed) ── push ──> list of CAPACITY ── next ──> terminal::reply -> COM2
//! ```
//!
//! Invariants: without a listener nothing is stored, and an event costs one load. Adding an event never blocks; an event
//! that does not fit is dropped and counted. Listening ends at the time given to [`listen`], so a listener that
//! disappears costs nothing for long. Not for interrupt handlers.

use crate::arch::time;
use crate::executor;
use crate::sync::{Mutex, Rank};
use arrayvec::ArrayVec;
use carapace_mm::info::ResourceId;
use carapace_schema::{Device, Event, Text};
use core::fmt::Display;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

/// Events stored for a slow listener.
const CAPACITY: usize = 64;

/// When listening ends, in nanoseconds of uptime.
static UNTIL: AtomicU64 = AtomicU64::new(0);
static LIST: Mutex<List> = Mutex::new(Rank::Events, List { rows: ArrayVec::new_const(), lost: 0 });

/// An event without the log's lines, which the log itself keeps.
type Stored = Event<&'static str>;

struct List {
    rows: ArrayVec<Stored, CAPACITY>,
    lost: u64,
}

/// Whether there is a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// There is one.
    There,
    /// There is none.
    None,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Stores events until uptime `until`. Events stored before are kept only if there was a listener already.
pub fn listen(until: Duration) {
    if listener() == Listener::None {
        let mut list = LIST.lock();
        list.rows.clear();
        list.lost = 0;
    }
    UNTIL.store(nanos(until), Ordering::Relaxed);
}

/// Whether there is a listener.
pub fn listener() -> Listener {
    match UNTIL.load(Ordering::Relaxed) {
        0 => Listener::None,
        until if nanos(time::uptime()) >= until => Listener::None,
        _ => Listener::There,
    }
}

/// Stores the event if there is a listener; `row` gets the uptime in microseconds.
fn push(row: impl FnOnce(u64) -> Stored) {
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

/// The firmware sent a Notify with `value` to a device.
pub fn notified(device: &impl Display, value: u64) {
    push(|uptime_us| Event::Notify { uptime_us, device: Device::of(device), value });
}

/// `_OST` answered a Notify of value `source` with `status`.
pub fn answered(device: &impl Display, source: u64, status: u64) {
    push(|uptime_us| Event::Ost { uptime_us, device: Device::of(device), source, status });
}

/// A resource was added; the sizes are bytes.
pub fn added(device: &impl Display, resource: ResourceId, base: u64, size: u64, node: u32) {
    push(|uptime_us| Event::Added {
        uptime_us,
        device: Device::of(device),
        resource: resource.0,
        base,
        size,
        node,
    });
}

/// All memory of a device was removed, `size` bytes.
pub fn removed(device: &impl Display, size: u64) {
    push(|uptime_us| Event::Removed { uptime_us, device: Device::of(device), size });
}

/// A run of a virtio-mem device was plugged; the sizes are bytes.
pub fn plugged(device: &impl Display, resource: ResourceId, base: u64, size: u64, node: u32) {
    push(|uptime_us| Event::Plugged {
        uptime_us,
        device: Device::of(device),
        resource: resource.0,
        base,
        size,
        node,
    });
}

/// So many free bytes were reported to the host.
pub fn reported(device: &impl Display, size: u64) {
    push(|uptime_us| Event::Reported { uptime_us, device: Device::of(device), size });
}

/// A virtio-mem device has unplugged a run.
pub fn unplugged(device: &impl Display, base: u64, size: u64) {
    push(|uptime_us| Event::Unplugged { uptime_us, device: Device::of(device), base, size });
}

/// A virtio-mem device does not have the requested size.
pub fn held(device: &impl Display, reason: &impl Display) {
    push(|uptime_us| Event::Held { uptime_us, device: Device::of(device), reason: Text::of(reason) });
}

/// Takes the oldest event.
pub fn next() -> Option<Stored> {
    LIST.lock().rows.pop_at(0)
}

/// How many events were dropped since the last call.
pub fn take_lost() -> u64 {
    core::mem::take(&mut LIST.lock().lost)
}
