//! QEMU's monitor (QMP) without polling: a time is taken when a line arrives, and the guest is not disturbed
//! by questions while it works.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tests::serial::retry;

/// The connection.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
    events: Vec<(Instant, Value)>,
}

/// The guest's answer to a DIMM.
#[derive(Clone, Copy, Debug)]
pub struct Ost {
    /// When it came.
    pub at: Instant,
    /// 0 for success.
    pub status: u64,
}

impl Monitor {
    /// Connects to the socket at `path`, on which QEMU will listen soon.
    pub fn connect(path: &Path) -> Result<Monitor> {
        let stream = retry(Duration::from_secs(20), || UnixStream::connect(path))?;
        let mut monitor = Monitor { lines: BufReader::new(stream), events: Vec::new() };
        monitor.read(Instant::now() + Duration::from_secs(20))?.context("QMP's greeting")?;
        monitor.execute("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// The next line, or nothing before `deadline`.
    fn read(&mut self, deadline: Instant) -> Result<Option<Value>> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        self.lines.get_ref().set_read_timeout(Some(left))?;
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(0) => bail!("QEMU has ended"),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let value: Value = serde_json::from_str(&line)?;
        if value.get("event").is_some() {
            self.events.push((Instant::now(), value.clone()));
        }
        Ok(Some(value))
    }

    /// Sends a command; returns what it returns.
    ///
    /// # Errors
    /// QEMU's refusal in its own words.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({"execute": command, "arguments": arguments}).to_string() + "\n";
        self.lines.get_ref().write_all(line.as_bytes())?;
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            let value = self.read(deadline)?.with_context(|| format!("no answer to {command}"))?;
            if let Some(error) = value.get("error") {
                bail!("{command}: {}", error["desc"].as_str().unwrap_or("refused"));
            }
            if let Some(result) = value.get("return") {
                return Ok(result.clone());
            }
        }
    }

    /// Types a line at the human monitor.
    pub fn human(&mut self, line: &str) -> Result<String> {
        let answer = self.execute("human-monitor-command", json!({"command-line": line}))?;
        Ok(answer.as_str().unwrap_or_default().to_owned())
    }

    /// Waits for the final `_OST` of the device with this id.
    pub fn ost(&mut self, device: &str, limit: Duration) -> Result<Ost> {
        const IN_PROGRESS: u64 = 0x80;
        let deadline = Instant::now() + limit;
        loop {
            for (at, event) in self.events.drain(..) {
                let info = &event["data"]["info"];
                let status = info["status"].as_u64().unwrap_or(u64::MAX);
                if event["event"] == "ACPI_DEVICE_OST" && info["device"] == device && status != IN_PROGRESS {
                    return Ok(Ost { at, status });
                }
            }
            if self.read(deadline)?.is_none() {
                bail!("no _OST for {device} in {} s", limit.as_secs());
            }
        }
    }
}
