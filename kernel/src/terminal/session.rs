//! The serial line of the running task: its commands write there and are interrupted from there.
//!
//! The executor polls one future at a time, so a global word, set around each poll, says which line it belongs to. Thus
//! every command serves both lines, and two commands, one per line, run interleaved at their steps.

use crate::drivers::serial::Port;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether the future being polled belongs to the remote line.
static REMOTE: AtomicBool = AtomicBool::new(false);

/// Runs `future` for `port`.
pub async fn on<F: Future>(port: Port, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let before = REMOTE.swap(port == Port::Remote, Ordering::Relaxed);
        let poll = future.as_mut().poll(context);
        REMOTE.store(before, Ordering::Relaxed);
        poll
    })
    .await
}

/// The serial line of the caller's task.
pub fn port() -> Port {
    if REMOTE.load(Ordering::Relaxed) { Port::Remote } else { Port::Console }
}
