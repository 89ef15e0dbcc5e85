//! How a guest is to look, and its start.
//!
//! The QEMU command comes from `cargo xtask run --dry-run`: benchmarks and tests run the same guest as users. The
//! kernel is therefore built with profile `release`. Neighbour: `boot` has the running guest.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{Guest, LIMIT};
use crate::discovery::REMOTE;
use crate::launch::Qemu;
use crate::qemu::{self, Machine};
use crate::qmp::Monitor;
use crate::serial::Serial;
use crate::task;

/// How long QEMU may take to listen on its sockets.
const START_LIMIT: Duration = Duration::from_secs(20);

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
    /// The guest that `cargo xtask run` starts by default, on this machine type, emulated, with one CPU: what a test or
    /// a measurement finds does not depend on the host.
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
