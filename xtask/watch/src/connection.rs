//! The connection to the kernel: a thread reads what the second serial line says and hands it on.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Result;
use guest::rpc::{self, Requests};

use crate::model::{self, Line};

/// What has come.
#[derive(Debug)]
pub enum Heard {
    /// A line that is known.
    Line(Line),
    /// QEMU has closed the socket: the guest has ended.
    Ended,
}

/// Connects to the socket at `path`; what comes goes to `heard`, made into the caller's own message.
///
/// # Errors
/// Nobody listens there.
pub fn connect<M: Send + 'static>(
    path: &Path,
    heard: Sender<M>,
    message: fn(Heard) -> M,
) -> Result<Requests> {
    let (requests, mut messages) = rpc::connect(path, None)?;
    thread::spawn(move || {
        while let Ok(Some(line)) = messages.next_message() {
            if let Some(line) = model::known(line)
                && heard.send(message(Heard::Line(line))).is_err()
            {
                return;
            }
        }
        // If this fails the program has ended already.
        let _ = heard.send(message(Heard::Ended));
    });
    Ok(requests)
}
