//! A tiny executor: a few pinned futures, polled in turn, no heap; the CPU sleeps while none is awake.
//!
//! ```text
//!  loop {  awake?  yes: poll every future once (events, ejections, the shell, the remote line, the CPU's errors)
//!                  no:  sti; hlt until an interrupt wakes }
//! ```
//!
//! One flag for all of them: whoever wakes one wakes all, and polling a future that has nothing to do
//! costs a few loads. Interrupt handlers call [`wake`]; work that takes long calls [`give_way`] between
//! its steps, and every other future is polled before it goes on. Invariant: the flag is looked at with
//! interrupts off, and `hlt` follows before one can come, so no wake-up is slept through (crate `carapace-irq`).

use crate::arch::interrupts::ThisCpu;
use crate::arch::serial::{self, Input, Port};
use crate::arch::time;
use carapace_irq::Wake;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use core::time::Duration;

/// Whether a future may have something to do.
static AWAKE: Wake = Wake::new();
/// The earliest time somebody sleeps until, in nanoseconds of uptime; `u64::MAX`: nobody does.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Lets every future be polled once more. Callable from everywhere, interrupt handlers included.
pub fn wake() {
    AWAKE.wake();
}

const VTABLE: RawWakerVTable =
    RawWakerVTable::new(|_| RawWaker::new(core::ptr::null(), &VTABLE), |_| wake(), |_| wake(), |_| {});

/// Polls `futures` in turn until the first of them ends (the rest is then as it is).
pub fn run(futures: &mut [Pin<&mut dyn Future<Output = ()>>]) {
    // SAFETY: the functions of the table ignore the data pointer, may be called from any context (they
    // store to an atomic), and there is nothing to drop: the contract of `RawWakerVTable` holds.
    let waker = unsafe { Waker::from_raw(RawWaker::new(core::ptr::null(), &VTABLE)) };
    let mut context = Context::from_waker(&waker);
    loop {
        while AWAKE.take() {
            // Whoever still sleeps says so again when it is polled.
            DEADLINE.store(u64::MAX, Ordering::Relaxed);
            for future in futures.iter_mut() {
                if future.as_mut().poll(&mut context).is_ready() {
                    return;
                }
            }
            // What waits to be sent, and what had to wait for that: the log's lines, also those of
            // interrupt handlers.
            crate::memory::tell_findings();
            serial::pump();
            crate::log::flush();
        }
        idle();
    }
}

/// Sleeps until the next interrupt or the earliest deadline, unless something is awake. Without
/// interrupts (no usable IO APIC) nothing would end the sleep: then the futures are polled on and on.
fn idle() {
    if serial::input(Port::Console) == Input::Polled {
        wake();
        return;
    }
    let deadline = DEADLINE.load(Ordering::Relaxed);
    AWAKE.sleep_unless_awake::<ThisCpu>(|| {
        if deadline != u64::MAX {
            time::wake_at(Duration::from_nanos(deadline));
        }
    });
}

/// Gives every other future a turn.
pub async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if given {
            return Poll::Ready(());
        }
        given = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Sleeps until `deadline` of [`time::uptime`].
pub async fn sleep_until(deadline: Duration) {
    poll_fn(|_| {
        if time::uptime() >= deadline {
            return Poll::Ready(());
        }
        let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        DEADLINE.fetch_min(nanos, Ordering::Relaxed);
        Poll::Pending
    })
    .await;
}

/// As [`woken`], but no longer than until `deadline` of [`time::uptime`].
pub async fn woken_until(deadline: Duration) {
    let mut slept = false;
    poll_fn(|_| {
        if slept || time::uptime() >= deadline {
            return Poll::Ready(());
        }
        slept = true;
        let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        DEADLINE.fetch_min(nanos, Ordering::Relaxed);
        Poll::Pending
    })
    .await;
}

/// Sleeps until the next interrupt or [`wake`]; a future that waits for more than that asks for its
/// condition again afterwards.
pub async fn woken() {
    let mut slept = false;
    poll_fn(|_| {
        if slept {
            return Poll::Ready(());
        }
        slept = true;
        Poll::Pending
    })
    .await;
}
