//! Which serial line a task talks on: its commands write there, and are stopped from there.
//!
//! One future is polled at a time, so this is a word that is set while one is. So every command serves both lines, and
//! two of them, one a line, run side by side between their steps, as the shell and an ejection do.

use crate::drivers::serial::Port;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::sync::atomic::{AtomicBool, Ordering};

/// Whether the future that is being polled is the remote line's.
static REMOTE: AtomicBool = AtomicBool::new(false);

/// Runs `future` as the one that talks on `port`.
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

/// The line of whoever asks.
pub fn port() -> Port {
    if REMOTE.load(Ordering::Relaxed) { Port::Remote } else { Port::Console }
}
