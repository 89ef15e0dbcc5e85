//! The executor: polls a fixed list of pinned futures round-robin, without a heap, and halts the CPU while none is awake.
//!
//! ```text
//!  loop {  awake?  yes: poll every future once (events, ejections, the shell, the remote line, machine checks)
//!                  no:  sti; hlt until the next interrupt }
//! ```
//!
//! All futures share one wake flag: waking one polls all, and polling an idle future costs a few loads. Interrupt
//! handlers call [`wake`]. Long work calls [`yield_now`] between its steps; every other future is polled before it
//! continues. Invariant: no wake-up is lost, because the flag is read with interrupts off and `hlt` follows before an
//! interrupt can arrive (crate `carapace-irq`).

use crate::arch::interrupts::ThisCpu;
use crate::arch::{local_apic, time};
use crate::cpus;
use carapace_irq::WakeFlag;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};
use core::time::Duration;

/// Set when a future may have work to do.
static AWAKE: WakeFlag = WakeFlag::new();
/// The earliest deadline of a sleeping future, in nanoseconds of uptime; `u64::MAX` for none.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Makes the executor poll every future once more. Callable from anywhere, interrupt handlers and other CPUs included.
pub fn wake() {
    AWAKE.wake();
    cpus::ring_first();
}

const VTABLE: RawWakerVTable =
    RawWakerVTable::new(|_| RawWaker::new(core::ptr::null(), &VTABLE), |_| wake(), |_| wake(), |_| {});

/// Whether the executor may sleep after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Until something wakes it.
    Sleep,
    /// No: an input exists that raises no interrupt.
    Poll,
}

/// Polls `futures` round-robin until one of them completes. `end_of_turn` runs after each turn.
///
/// # Panics
/// On a CPU other than the first.
pub fn run(futures: &mut [Pin<&mut dyn Future<Output = ()>>], end_of_turn: fn() -> Next) {
    cpus::assert_first();
    // SAFETY: the functions of the table ignore the data pointer, may be called from any context (they only store to
    // an atomic and interrupt the first CPU), and have nothing to drop, so the contract of `RawWakerVTable` holds.
    let waker = unsafe { Waker::from_raw(RawWaker::new(core::ptr::null(), &VTABLE)) };
    let mut context = Context::from_waker(&waker);
    loop {
        while AWAKE.take() {
            // A future that still sleeps sets its deadline again when it is polled.
            DEADLINE.store(u64::MAX, Ordering::Relaxed);
            for future in futures.iter_mut() {
                if future.as_mut().poll(&mut context).is_ready() {
                    return;
                }
            }
            if end_of_turn() == Next::Poll {
                wake();
            }
        }
        sleep();
    }
}

/// Sleeps until the next interrupt or the earliest deadline, unless a future is awake.
fn sleep() {
    let deadline = DEADLINE.load(Ordering::Relaxed);
    AWAKE.sleep_unless_awake::<ThisCpu>(|| {
        if deadline != u64::MAX {
            local_apic::wake_at(Duration::from_nanos(deadline));
        }
    });
}

/// Yields: every other future is polled before this one continues.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
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
        wake_at(deadline);
        Poll::Pending
    })
    .await;
}

/// Ends the next [`wait_for_event`] of the caller at `deadline` of [`time::uptime`] at the latest.
pub fn wake_at(deadline: Duration) {
    let nanos = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    DEADLINE.fetch_min(nanos, Ordering::Relaxed);
}

/// Like [`wait_for_event`], but at most until `deadline` of [`time::uptime`].
pub async fn wait_for_event_until(deadline: Duration) {
    let mut slept = false;
    poll_fn(|_| {
        if slept || time::uptime() >= deadline {
            return Poll::Ready(());
        }
        slept = true;
        wake_at(deadline);
        Poll::Pending
    })
    .await;
}

/// Sleeps until the next interrupt or [`wake`]. Wake-ups may be spurious: the caller checks its condition in a loop.
pub async fn wait_for_event() {
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
