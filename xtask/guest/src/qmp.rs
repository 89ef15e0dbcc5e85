//! QEMU's monitor protocol (QMP), and the human monitor's lines through it.
//!
//! ```text
//!  execute, human ──> {"execute":...} ──> QEMU
//!                 <── {"return":...} or {"error":...}
//!  wait_event     <── {"event":...}, each kept with the time at which it was read
//! ```
//!
//! The client never polls: it blocks until a line arrives or its deadline has passed, so an event's time is exact and
//! the guest is not disturbed while it works. QEMU talks to one client of a socket at a time.
//! Neighbour: `dimm` adds and removes DIMMs with it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use qapi::Command;
use qapi::qmp::{self, Event};
use serde_json::{Value, json};

/// How long QEMU may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long QEMU may take for its greeting. It sends none while another client is connected.
const GREETING_TIMEOUT: Duration = Duration::from_secs(20);

/// The connection.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    events: VecDeque<(Instant, Event)>,
}

/// The guest's report about a memory device (`_OST`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ost {
    /// The device's id in QEMU; empty if QEMU has no device in that slot any more.
    pub device: String,
    /// The request it answers: 1 an insertion, 3 an eject request.
    pub source: i64,
    /// 0 for success, else ACPI's code of the failure.
    pub status: i64,
}

/// An event on the way of a device out of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eject {
    /// The guest reported something about a device.
    Told(Ost),
    /// QEMU has removed the device of that id.
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

/// What comes next of an eject request.
pub(crate) fn eject(event: &Event) -> Option<Eject> {
    match event {
        Event::DEVICE_DELETED { data, .. } => data.device.clone().map(Eject::Deleted),
        event => ost(event).map(Eject::Told),
    }
}

impl Monitor {
    /// Speaks QMP on a connected socket.
    ///
    /// # Errors
    /// No greeting: the socket is not QMP, or another client holds it.
    pub fn new(stream: UnixStream) -> Result<Monitor> {
        let mut monitor =
            Monitor { lines: BufReader::new(stream), partial: Vec::new(), events: VecDeque::new() };
        let greeting = monitor.read(Instant::now() + GREETING_TIMEOUT)?;
        greeting.context("no greeting by QMP: is another program connected to this socket?")?;
        monitor.execute(&qmp::qmp_capabilities { enable: None })?;
        Ok(monitor)
    }

    /// The next line, or nothing before `deadline`. An event is kept, and returned too.
    fn read(&mut self, deadline: Instant) -> Result<Option<Value>> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
            self.lines.get_ref().set_read_timeout(Some(left))?;
            match self.lines.read_until(b'\n', &mut self.partial) {
                Ok(0) => bail!("QEMU has ended"),
                Ok(_) => break,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("QMP"),
            }
        }
        let line = std::mem::take(&mut self.partial);
        let value: Value = serde_json::from_slice(&line).context("QEMU sent a line that is no JSON")?;
        if value.get("event").is_some() {
            let now = Instant::now();
            // Newer versions of QEMU report events that this client does not know.
            self.events.extend(serde_json::from_value(value.clone()).ok().map(|event| (now, event)));
        }
        Ok(Some(value))
    }

    /// Executes a QMP command.
    ///
    /// # Errors
    /// QEMU refuses, with its own words, or does not answer.
    pub fn execute<C: Command>(&mut self, command: &C) -> Result<C::Ok> {
        let line = json!({"execute": C::NAME, "arguments": command}).to_string() + "\n";
        self.lines.get_ref().write_all(line.as_bytes()).context("QMP")?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let mut value =
                self.read(deadline)?.with_context(|| format!("QEMU does not answer {}", C::NAME))?;
            if let Some(error) = value.get("error") {
                bail!("{}", error["desc"].as_str().unwrap_or("QEMU refuses"));
            }
            if let Some(result) = value.get_mut("return") {
                let result = serde_json::from_value(result.take());
                return result.with_context(|| format!("QEMU's answer to {}", C::NAME));
            }
        }
    }

    /// Types a line at the human monitor; its answer, which is empty if all went well.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub fn human(&mut self, line: &str) -> Result<String> {
        let command = qmp::human_monitor_command { cpu_index: None, command_line: line.to_owned() };
        self.execute(&command).with_context(|| format!("(qemu) {line}"))
    }

    /// Waits for an event that `pick` takes, and returns it with its time. Events before it are dropped. `None` if
    /// none arrives within `limit`, or QEMU has ended.
    pub fn wait_event<T>(
        &mut self,
        limit: Duration,
        mut pick: impl FnMut(&Event) -> Option<T>,
    ) -> Option<(Instant, T)> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some((at, event)) = self.events.pop_front() {
                if let Some(picked) = pick(&event) {
                    return Some((at, picked));
                }
            }
            self.read(deadline).ok()??;
        }
    }

    /// Waits for the guest's next `_OST`.
    pub fn wait_ost(&mut self, limit: Duration) -> Option<Ost> {
        self.wait_event(limit, ost).map(|(_, ost)| ost)
    }

    /// Waits for what comes next of an eject request.
    pub fn wait_eject(&mut self, limit: Duration) -> Option<Eject> {
        self.wait_event(limit, eject).map(|(_, eject)| eject)
    }

    /// The `_OST`s that have arrived and were not waited for.
    pub fn pending_osts(&mut self) -> Vec<Ost> {
        // QEMU sends events in front of a later command's answer: all that have happened are read with it.
        let _ = self.execute(&qmp::query_version {});
        std::iter::from_fn(|| self.wait_ost(Duration::ZERO)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A QEMU that says these lines, with a pause in the middle of the last but one.
    fn monitor(lines: &'static [&'static str]) -> Monitor {
        let (ours, mut its) = UnixStream::pair().expect("a pair of sockets");
        thread::spawn(move || {
            let mut commands = BufReader::new(its.try_clone().expect("a second handle")).lines();
            its.write_all(b"{\"QMP\":{}}\n").expect("a greeting");
            let _ = commands.next();
            its.write_all(b"{\"return\":{}}\n").expect("capabilities");
            for line in lines {
                let (first, second) = line.split_at(line.len() / 2);
                its.write_all(first.as_bytes()).expect("a socket");
                thread::sleep(Duration::from_millis(50));
                its.write_all(format!("{second}\n").as_bytes()).expect("a socket");
            }
            let _ = commands.next();
        });
        Monitor::new(ours).expect("a handshake")
    }

    const OST: &str = r#"{"timestamp":{"seconds":1,"microseconds":2},"event":"ACPI_DEVICE_OST",
        "data":{"info":{"device":"dimm0","source":1,"slot":"0","status":0,"slot-type":"DIMM"}}}"#;
    const NEW: &str = r#"{"timestamp":{"seconds":1,"microseconds":2},"event":"FROM_THE_FUTURE","data":{}}"#;

    /// Proves that a line which arrives in two parts is read whole although a wait ended between them, and that an
    /// unknown event is skipped. Fails if a timeout drops the part read so far.
    #[test]
    fn lines_in_parts() {
        let one_line: &'static str = Box::leak(OST.replace('\n', " ").into_boxed_str());
        let mut monitor = monitor(Box::leak(Box::new([NEW, one_line])));
        assert_eq!(monitor.wait_ost(Duration::from_millis(5)), None);
        let expected = Ost { device: "dimm0".into(), source: 1, status: 0 };
        assert_eq!(monitor.wait_ost(Duration::from_secs(10)), Some(expected));
    }

    /// Proves that an error has QEMU's words, and that events before it are kept.
    #[test]
    fn refusals() {
        let lines = [NEW, r#"{"error":{"class":"GenericError","desc":"no such device"}}"#];
        let mut monitor = monitor(Box::leak(Box::new(lines)));
        let error = monitor.human("device_del x").expect_err("refused");
        assert_eq!(format!("{error:#}"), "(qemu) device_del x: no such device");
    }
}
