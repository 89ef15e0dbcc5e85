//! QEMU's monitor: HMP lines as a person types them, by QMP, and the events that QEMU reports.

use crate::serial::retry;
use qapi::qmp::{self, Event};
use qapi::{Command, ExecuteResult, Qmp, Stream};
use std::collections::VecDeque;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The connection.
pub struct Monitor {
    qmp: Qmp<Stream<BufReader<UnixStream>, UnixStream>>,
    events: VecDeque<Event>,
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("events", &self.events).finish_non_exhaustive()
    }
}

/// What the guest told about a memory device (`_OST`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ost {
    /// The device's id in QEMU; empty where QEMU has no device in that slot any more.
    pub device: String,
    /// What it answers: 1 an insertion, 3 an eject request.
    pub source: i64,
    /// 0 for success, else ACPI's code of the failure.
    pub status: i64,
}

/// An event on the way of a device out of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eject {
    /// The guest told something about a device.
    Told(Ost),
    /// QEMU has taken the device of that id away.
    Deleted(String),
}

/// The `_OST` that an event reports.
fn ost(event: &Event) -> Option<Ost> {
    match event {
        Event::ACPI_DEVICE_OST { data, .. } => Some(Ost {
            device: data.info.device.clone().unwrap_or_default(),
            source: data.info.source,
            status: data.info.status,
        }),
        _ => None,
    }
}

impl Monitor {
    /// Connects to the socket at `path`, on which QEMU will listen soon.
    pub fn connect(path: &Path, limit: Duration) -> std::io::Result<Monitor> {
        let stream = retry(limit, || UnixStream::connect(path))?;
        stream.set_read_timeout(Some(limit))?;
        let mut qmp = Qmp::new(Stream::new(BufReader::new(stream.try_clone()?), stream));
        qmp.handshake()?;
        Ok(Monitor { qmp, events: VecDeque::new() })
    }

    /// Executes a QMP command.
    pub fn execute<C: Command>(&mut self, command: &C) -> ExecuteResult<C> {
        let result = self.qmp.execute(command);
        self.events.extend(self.qmp.events());
        result
    }

    /// Types a line at the human monitor; its answer, which is empty where all went well.
    #[track_caller]
    pub fn human(&mut self, line: &str) -> String {
        let command = qmp::human_monitor_command { cpu_index: None, command_line: line.to_owned() };
        self.execute(&command).unwrap_or_else(|error| panic!("(qemu) {line}: {error}"))
    }

    /// Waits for an event that `pick` takes; others before it are dropped.
    pub fn wait_event<T>(&mut self, limit: Duration, mut pick: impl FnMut(&Event) -> Option<T>) -> Option<T> {
        let end = Instant::now() + limit;
        loop {
            while let Some(event) = self.events.pop_front() {
                if let Some(picked) = pick(&event) {
                    return Some(picked);
                }
            }
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
            // QEMU has ended: nothing more will come
            self.execute(&qmp::query_version {}).ok()?;
        }
    }

    /// Waits for the guest's next `_OST`.
    pub fn wait_ost(&mut self, limit: Duration) -> Option<Ost> {
        self.wait_event(limit, ost)
    }

    /// Waits for what comes next of an eject request.
    pub fn wait_eject(&mut self, limit: Duration) -> Option<Eject> {
        self.wait_event(limit, |event| match event {
            Event::DEVICE_DELETED { data, .. } => data.device.clone().map(Eject::Deleted),
            event => ost(event).map(Eject::Told),
        })
    }

    /// The `_OST`s that have come and were not waited for.
    #[track_caller]
    pub fn pending_osts(&mut self) -> Vec<Ost> {
        std::iter::from_fn(|| self.wait_ost(Duration::ZERO)).collect()
    }
}
