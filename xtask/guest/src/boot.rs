//! A guest of our own: planned ([`Plan`]), booted, and held for as long as the value lives ([`Guest`]).
//!
//! ```text
//!  Plan ──boot──> Guest ──┬── serial line (unix socket) ── shell commands, `-J` answers     serial, schema
//!                         ├── QMP (unix socket) ── HMP lines, events                        qmp, dimm
//!                         ├── second serial line, if the plan has one                       rpc
//!                         └── QEMU's exit status                                            launch
//! ```
//!
//! Neighbour: `plan` has what a guest is made of.

mod plan;

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qapi::qmp;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::discovery::REMOTE;
use crate::launch::Qemu;
use crate::qmp::{Eject, Monitor, Ost};
use crate::rpc::Client;
use crate::schema::{Alloc, Meminfo, Resource, Verify};
use crate::serial::{Serial, Silence};

pub use plan::Plan;

/// After this something hangs: emulation on a busy machine is slow, but not that slow.
pub const LIMIT: Duration = Duration::from_secs(90);
/// What a machine says first.
const STARTS: &str = "carapace-boot: kernel of";

/// A running guest. Dropping it ends QEMU.
#[derive(Debug)]
pub struct Guest {
    // QEMU ends before its directory goes.
    qemu: Qemu,
    line: Vec<String>,
    serial: Serial,
    monitor: Option<Monitor>,
    directory: TempDir,
    started: Instant,
}

/// A DIMM to plug.
#[derive(Clone, Copy, Debug)]
pub struct Dimm {
    /// Its number; the device is `dimmN`, its memory `ramN`.
    pub number: u32,
    /// Its size in QEMU's words.
    pub size: &'static str,
    /// Its node.
    pub node: u32,
}

/// How an eject request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// QEMU has removed the device.
    Deleted,
    /// The guest keeps it, for the reason that this status stands for.
    Refused(i64),
}

impl Guest {
    /// The serial line.
    pub fn serial(&mut self) -> &mut Serial {
        &mut self.serial
    }

    /// QEMU's monitor; `None` if QEMU ended before it answered.
    pub fn monitor(&mut self) -> Option<&mut Monitor> {
        self.monitor.as_mut()
    }

    fn qmp(&mut self) -> Result<&mut Monitor> {
        self.monitor.as_mut().context("QEMU ended before its monitor answered")
    }

    /// A connection to the second serial port of a plan with [`Plan::second_port`].
    ///
    /// # Errors
    /// There is no such port.
    pub fn second_line(&self) -> Result<Client> {
        Client::connect(&self.directory().join(REMOTE), Some(LIMIT))
    }

    /// A directory of the guest's own, for files that go with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// QEMU's command.
    pub fn command(&self) -> &[String] {
        &self.line
    }

    /// QEMU's process id.
    pub fn process(&self) -> u32 {
        self.qemu.id()
    }

    /// When QEMU was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Everything the guest has said.
    pub fn log(&self) -> String {
        self.serial.text()
    }

    /// What QEMU itself has said.
    pub fn messages_of_qemu(&self) -> String {
        fs::read_to_string(self.directory.path().join("qemu.log")).unwrap_or_default()
    }

    /// Types a command; the lines it answers.
    ///
    /// # Errors
    /// The guest does not answer in time.
    pub fn sh(&mut self, command: &str) -> Result<Vec<String>, Silence> {
        self.serial.command(command, LIMIT)
    }

    /// Types a `-J` command; its one line of JSON. Log lines beside it are skipped.
    ///
    /// # Errors
    /// The guest does not answer in time, or answers something else.
    pub fn json<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        let lines = self.sh(command).with_context(|| format!("waiting for the end of `{command}`"))?;
        json_of(command, &lines)
    }

    /// `resources -J`.
    ///
    /// # Errors
    /// As for [`Guest::json`].
    pub fn resources(&mut self) -> Result<Vec<Resource>> {
        self.json("resources -J")
    }

    /// `meminfo -J`.
    ///
    /// # Errors
    /// As for [`Guest::json`].
    pub fn meminfo(&mut self) -> Result<Meminfo> {
        self.json("meminfo -J")
    }

    /// `alloc ... -J`.
    ///
    /// # Errors
    /// As for [`Guest::json`].
    pub fn alloc(&mut self, what: &str) -> Result<Alloc> {
        self.json(&format!("alloc {what} -J"))
    }

    /// `verify -J`.
    ///
    /// # Errors
    /// As for [`Guest::json`].
    pub fn verify(&mut self) -> Result<Verify> {
        self.json("verify -J")
    }

    /// Resets the machine and waits until it has started again. Output from before the reset is skipped, prompts too.
    ///
    /// # Errors
    /// It does not start again.
    pub fn reset(&mut self) -> Result<()> {
        let starts = self.log().matches(STARTS).count();
        self.qmp()?.execute(&qmp::system_reset {})?;
        self.serial.skip_to(STARTS, starts, LIMIT).context("waiting for the start after a reset")?;
        self.serial.wait_prompt(LIMIT).context("waiting for the prompt after a reset")
    }

    /// Types an HMP line that has to go well.
    ///
    /// # Errors
    /// QEMU refuses, in its words.
    pub fn monitor_line(&mut self, line: &str) -> Result<()> {
        let answer = self.qmp()?.human(line)?;
        ensure!(answer.trim().is_empty(), "(qemu) {line}\n{answer}");
        Ok(())
    }

    /// Plugs a DIMM by the example's two lines, and waits for the guest's answer.
    ///
    /// # Errors
    /// QEMU refuses, or the guest does not answer.
    pub fn plug(&mut self, dimm: Dimm) -> Result<Ost> {
        let Dimm { number, size, node } = dimm;
        self.monitor_line(&format!("object_add memory-backend-ram,id=ram{number},size={size}"))?;
        self.monitor_line(&format!("device_add pc-dimm,id=dimm{number},memdev=ram{number},node={node}"))?;
        self.qmp()?.wait_ost(LIMIT).with_context(|| format!("no _OST for dimm{number}"))
    }

    /// Plugs a DIMM that has to come online; its resource.
    ///
    /// # Errors
    /// As for [`Guest::plug`], and it does not come online.
    pub fn plug_online(&mut self, dimm: Dimm) -> Result<Resource> {
        let before = self.resources()?;
        let ost = self.plug(dimm)?;
        let success = Ost { device: format!("dimm{}", dimm.number), source: 1, status: 0 };
        ensure!(ost == success, "the kernel answered {ost:?}");
        let mut new = self.resources()?;
        new.retain(|resource| before.iter().all(|old| old.id != resource.id));
        match <[Resource; 1]>::try_from(new) {
            Ok([resource]) if resource.state == "online" && resource.node == dimm.node => Ok(resource),
            Ok(other) => bail!("the DIMM became {other:?}"),
            Err(other) => bail!("one new resource, not {other:?}"),
        }
    }

    /// Waits for the next event of an eject request for `device`.
    ///
    /// # Errors
    /// None comes.
    pub fn next_of_eject(&mut self, device: &str) -> Result<Eject> {
        let event = self.qmp()?.wait_eject(LIMIT);
        event.with_context(|| format!("no further event of the removal of {device}"))
    }

    /// Asks for a DIMM back, and waits for the end.
    ///
    /// # Errors
    /// QEMU refuses, or the guest does not answer.
    pub fn unplug(&mut self, number: u32) -> Result<Ended> {
        let device = format!("dimm{number}");
        self.monitor_line(&format!("device_del {device}"))?;
        loop {
            match self.next_of_eject(&device)? {
                Eject::Deleted(gone) if gone == device => return Ok(Ended::Deleted),
                Eject::Told(Ost { status, .. }) if status != crate::dimm::EJECTING => {
                    return Ok(Ended::Refused(status));
                }
                Eject::Deleted(_) | Eject::Told(_) => {}
            }
        }
    }

    /// QEMU's exit status, if it has ended.
    ///
    /// # Errors
    /// QEMU cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.qemu.ended()
    }

    /// Waits until QEMU has ended, and for everything that the guest said.
    ///
    /// # Errors
    /// It does not end.
    pub fn wait_exit(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + LIMIT;
        loop {
            match self.qemu.ended()? {
                Some(status) => {
                    self.serial.hear_the_rest(LIMIT)?;
                    return Ok(status);
                }
                None if Instant::now() > end => bail!("QEMU does not end"),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Types `poweroff` and waits for the end; QEMU's exit status.
    ///
    /// # Errors
    /// It does not end.
    pub fn power_off(mut self) -> Result<ExitStatus> {
        self.serial.send(b"poweroff\n")?;
        self.wait_exit()
    }
}

/// The one line of JSON among the lines that `command` answered.
///
/// # Errors
/// There is none, or several, or it is something else.
pub fn json_of<T: DeserializeOwned>(command: &str, lines: &[String]) -> Result<T> {
    let mut values = lines.iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    let (Some(line), None) = (values.next(), values.next()) else {
        bail!("`{command}` answered not one line of JSON but {lines:?}");
    };
    serde_json::from_str(line).with_context(|| format!("`{command}` answered {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Proves that the answer is found among log lines, and that none or two of them are an error.
    #[test]
    fn json_among_lines() {
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>();
        let answer = lines(&["[    0.1] INFO something", r#"{"free_pages": 7}"#]);
        assert_eq!(json_of::<Value>("meminfo -J", &answer).expect("an answer"), json!({"free_pages": 7}));
        assert!(json_of::<Value>("x", &lines(&["error: no"])).is_err());
        assert!(json_of::<Value>("x", &lines(&["{}", "{}"])).is_err());
    }
}
