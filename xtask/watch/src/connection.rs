//! The connection to the kernel: a thread reads messages from the second serial line and passes them on.

use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;

use anyhow::Result;
use guest::rpc::{self, Requests};

use crate::model::{self, Line};

/// A message from the connection.
#[derive(Debug)]
pub enum Heard {
    /// A line that is known.
    Line(Line),
    /// QEMU has closed the socket: the guest has ended.
    Ended,
}

/// Connects to the socket at `path`; messages go to `heard`, converted to the caller's type.
///
/// # Errors
/// The socket has no listener.
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
