//! A guest of our own: planned, booted, and held for as long as the value lives.
//!
//! ```text
//!  Plan ──boot──> Guest ──┬── serial line (unix socket) ── shell commands, `-J` answers     serial, schema
//!                         ├── QMP (unix socket) ── HMP lines, events                        qmp, dimm
//!                         ├── second serial line, if the plan has one                       rpc
//!                         └── QEMU's exit status                                            launch
//! ```
//!
//! The QEMU command comes from `cargo xtask run --dry-run`: benchmarks and tests run the same guest as users. The kernel
//! is therefore built with profile `release`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qapi::qmp;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::discovery::REMOTE;
use crate::launch::Qemu;
use crate::qemu::{self, Machine};
use crate::qmp::{Eject, Monitor, Ost};
use crate::rpc::Client;
use crate::schema::{Alloc, Meminfo, Resource, Verify};
use crate::serial::{Serial, Silence};
use crate::task;

/// After this something hangs: emulation on a busy machine is slow, but not that slow.
pub const LIMIT: Duration = Duration::from_secs(90);
/// How long QEMU may take to listen on its sockets.
const START_LIMIT: Duration = Duration::from_secs(20);
/// What a machine says first.
const STARTS: &str = "carapace-boot: kernel of";

/// The file that the boot shim gets by `-initrd`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kernel {
    Built,
    None,
    File(String),
}

/// How a guest is to look; [`Plan::boot`] starts it.
#[derive(Clone, Debug)]
pub struct Plan {
    arguments: Vec<String>,
    qemu: Vec<String>,
    kernel: Kernel,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Plan {
    /// The guest that `cargo xtask run` starts by default, on this machine type, emulated, with one CPU: what a test or a
    /// measurement finds does not depend on the host.
    pub fn new(machine: Machine) -> Plan {
        Plan::of_type(machine.name())
    }

    /// The same on a machine type of any name.
    pub fn of_type(machine: &str) -> Plan {
        let arguments = ["--accel", "tcg", "--machine", machine, "--cpus", "1"].map(str::to_owned).to_vec();
        Plan { arguments, qemu: Vec::new(), kernel: Kernel::Built, files: Vec::new() }
    }

    /// Adds an option of `cargo xtask run`, or changes its value.
    pub fn option(mut self, name: &str, value: &str) -> Plan {
        // This one may be given several times.
        let is_one = name != "--virtio-mem";
        match self.arguments.iter().position(|argument| is_one && argument == name) {
            Some(place) => value.clone_into(&mut self.arguments[place + 1]),
            None => self.arguments.extend([name.to_owned(), value.to_owned()]),
        }
        self
    }

    /// Adds arguments of QEMU.
    pub fn qemu(mut self, arguments: &[&str]) -> Plan {
        self.qemu.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Adds a second serial port, for [`Guest::second_line`].
    pub fn second_port(self) -> Plan {
        let [chardev, socket, serial, device] = qemu::second_port(&format!("{}/{REMOTE}", task::DIRECTORY));
        self.qemu(&[&chardev, &socket, &serial, &device])
    }

    /// Puts a file into the guest's own directory; the name by which arguments of QEMU call it.
    pub fn file(&mut self, name: &'static str, bytes: Vec<u8>) -> String {
        self.files.push((name, bytes));
        format!("{}/{name}", task::DIRECTORY)
    }

    /// Gives the boot shim no kernel.
    pub fn without_kernel(mut self) -> Plan {
        self.kernel = Kernel::None;
        self
    }

    /// Gives the boot shim this file as its kernel.
    ///
    /// # Panics
    /// The path is not UTF-8.
    pub fn kernel(mut self, file: &Path) -> Plan {
        self.kernel = Kernel::File(file.to_str().expect("a path in UTF-8").to_owned());
        self
    }

    /// The QEMU command, with the sockets in `directory`.
    fn command(&self, directory: &Path) -> Result<Vec<String>> {
        let mut command = task::qemu_command(&self.arguments, &self.qemu, directory)?;
        match &self.kernel {
            Kernel::Built => {}
            Kernel::None => {
                let initrd = initrd(&command)?;
                drop(command.drain(initrd..initrd + 2));
            }
            Kernel::File(file) => {
                let initrd = initrd(&command)?;
                command[initrd + 1].clone_from(file);
            }
        }
        Ok(command)
    }

    /// The file that is the kernel of a guest of this plan.
    ///
    /// # Errors
    /// It cannot be built.
    pub fn kernel_file(&self) -> Result<String> {
        let command = self.command(Path::new("/"))?;
        Ok(command[initrd(&command)? + 1].clone())
    }

    /// Starts the guest, and does not wait for its prompt.
    ///
    /// # Errors
    /// The kernel cannot be built, or QEMU does not start.
    pub fn start(&self) -> Result<Guest> {
        self.start_changed(|_| Ok(()))
    }

    /// The same with a command that `change` has changed.
    ///
    /// # Errors
    /// As for [`Plan::start`], and those of `change`.
    pub fn start_changed(&self, change: impl FnOnce(&mut Vec<String>) -> Result<()>) -> Result<Guest> {
        let directory = TempDir::new().context("a temporary directory")?;
        for (name, bytes) in &self.files {
            fs::write(directory.path().join(name), bytes).context("a file for the guest")?;
        }
        let mut line = self.command(directory.path())?;
        change(&mut line)?;
        let errors = directory.path().join("qemu.log");
        let log = File::create(&errors).context("a file for QEMU's messages")?;
        let started = Instant::now();
        let qemu = Qemu::start(&line, Stdio::null(), log.try_clone()?.into(), log.into())?;
        let serial = Serial::connect(&directory.path().join("serial"), START_LIMIT).with_context(|| {
            let said = fs::read_to_string(&errors).unwrap_or_default();
            format!("QEMU does not start: {}\n{said}", line.join(" "))
        })?;
        // A guest that ends at once (a refused kernel) may be gone before QMP answers.
        let connected = crate::discovery::connect(&directory.path().join("qmp"));
        let monitor = connected.and_then(Monitor::new).ok();
        Ok(Guest { qemu, line, serial, monitor, directory, started })
    }

    /// Starts the guest and waits for its first prompt.
    ///
    /// # Errors
    /// As for [`Plan::start`], and no prompt in time.
    pub fn boot(&self) -> Result<Guest> {
        let mut guest = self.start()?;
        guest.serial.wait_prompt(LIMIT).context("waiting for the prompt")?;
        Ok(guest)
    }
}

/// Where the option is that names the kernel.
fn initrd(command: &[String]) -> Result<usize> {
    command.iter().position(|word| word == "-initrd").context("QEMU's command names no kernel")
}

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
