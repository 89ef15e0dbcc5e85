//! A guest: QEMU with the kernel, its serial line and its monitor, for as long as a test holds it.

mod stuck;

use crate::answers::{Alloc, Meminfo, Page, Resource, Section, Verify};
use crate::monitor::{Monitor, Ost};
use crate::serial::{Reading, Serial};
use crate::xtask;
use qapi::qmp;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// After this something hangs: emulation on a busy machine is slow, but not that slow.
pub const LIMIT: Duration = Duration::from_secs(90);

/// What a machine says first.
const STARTS: &str = "carapace-boot: kernel of";

/// QEMU's machine types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Intel Q35.
    Q35,
    /// Intel 440FX.
    Pc,
}

impl Machine {
    /// QEMU's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            Machine::Q35 => "q35",
            Machine::Pc => "pc",
        }
    }
}

/// What the boot shim is given with `-initrd`.
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
    /// The guest that `cargo xtask run` starts by default, on this machine type, emulated.
    pub fn new(machine: Machine) -> Plan {
        let arguments = ["--accel", "tcg", "--machine", machine.name()].map(str::to_owned).to_vec();
        Plan { arguments, qemu: Vec::new(), kernel: Kernel::Built, files: Vec::new() }
    }

    /// Adds an option of `cargo xtask run`.
    pub fn option(mut self, name: &str, value: &str) -> Plan {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Adds arguments of QEMU.
    pub fn qemu(mut self, arguments: &[&str]) -> Plan {
        self.qemu.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Puts a file into the guest's own directory; the name by which arguments of QEMU call it.
    pub fn file(&mut self, name: &'static str, bytes: Vec<u8>) -> String {
        self.files.push((name, bytes));
        format!("{}/{name}", xtask::DIRECTORY)
    }

    /// Gives the boot shim no kernel.
    pub fn without_kernel(mut self) -> Plan {
        self.kernel = Kernel::None;
        self
    }

    /// Gives the boot shim this file as its kernel.
    pub fn kernel(mut self, file: &Path) -> Plan {
        self.kernel = Kernel::File(file.to_str().expect("a path in UTF-8").to_owned());
        self
    }

    /// The QEMU command, with the sockets in `directory`.
    #[track_caller]
    fn command(&self, directory: &Path) -> Vec<String> {
        let mut command = xtask::qemu_command(&self.arguments, &self.qemu, directory);
        let initrd =
            || command.iter().position(|word| word == "-initrd").expect("the command names a kernel");
        match &self.kernel {
            Kernel::Built => {}
            Kernel::None => {
                let initrd = initrd();
                drop(command.drain(initrd..initrd + 2));
            }
            Kernel::File(file) => {
                let initrd = initrd();
                command[initrd + 1].clone_from(file);
            }
        }
        command
    }

    /// The file that is the kernel of a guest of this plan.
    #[track_caller]
    pub fn kernel_file(&self) -> String {
        let command = self.command(Path::new("/"));
        let initrd = command.iter().position(|word| word == "-initrd").expect("the command names a kernel");
        command[initrd + 1].clone()
    }

    /// Starts the guest, and does not wait for its prompt.
    #[track_caller]
    pub fn start(&self) -> Guest {
        let directory = TempDir::new().expect("a temporary directory");
        for (name, bytes) in &self.files {
            fs::write(directory.path().join(name), bytes).expect("a directory of our own");
        }
        let line = self.command(directory.path());
        let errors = directory.path().join("qemu.log");
        let child = child(&line, File::create(&errors).expect("a file for QEMU's messages"));
        let mut guest = Guest { child, directory, line, serial: None, monitor: None };
        let (serial, qmp) = (guest.directory.path().join("serial"), guest.directory.path().join("qmp"));
        match Serial::connect(&serial, Duration::from_secs(20)) {
            Ok(serial) => guest.serial = Some(serial),
            Err(error) => guest.fail(&format!("QEMU does not listen on its serial socket: {error}")),
        }
        // A guest that ends at once (a refused kernel) may be gone before QMP answers.
        guest.monitor = Monitor::connect(&qmp, LIMIT).ok();
        guest
    }

    /// Starts the guest and waits for its first prompt.
    #[track_caller]
    pub fn boot(&self) -> Guest {
        let mut guest = self.start();
        guest.wait_prompt();
        guest
    }
}

/// QEMU as a child that ends with the thread that started it, so with the test.
pub fn child(line: &[String], errors: File) -> Child {
    let mut command = Command::new(&line[0]);
    command.args(line[1..].iter().map(OsStr::new));
    let out = errors.try_clone().expect("a second handle of the file");
    command.stdin(Stdio::null()).stdout(out).stderr(errors);
    // SAFETY: between fork and exec the closure makes one system call (prctl) and touches no memory
    // but its own stack: it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
    command.spawn().unwrap_or_else(|error| panic!("cannot start {}: {error}", line[0]))
}

/// A running guest. Dropping it ends QEMU, and prints the serial log if the test is failing.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    directory: TempDir,
    line: Vec<String>,
    serial: Option<Serial>,
    monitor: Option<Monitor>,
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

impl Guest {
    fn serial(&mut self) -> &mut Serial {
        self.serial.as_mut().expect("a started guest has a serial line")
    }

    /// QEMU's monitor.
    #[track_caller]
    pub fn monitor(&mut self) -> &mut Monitor {
        self.monitor.as_mut().expect("QEMU ended before its monitor answered")
    }

    /// A directory of the guest's own, for files that go with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Everything the guest has said.
    pub fn log(&self) -> String {
        self.serial.as_ref().map(Serial::text).unwrap_or_default()
    }

    #[track_caller]
    fn fail(&self, why: &str) -> ! {
        panic!("{why}");
    }

    /// Waits for a prompt that has not been seen yet.
    #[track_caller]
    pub fn wait_prompt(&mut self) {
        if let Err(silence) = self.serial().wait_prompt(LIMIT) {
            self.silence("waiting for the prompt", &silence);
        }
    }

    /// From here on only what comes now counts as a prompt: for a guest that is about to restart.
    pub fn skip_to_now(&mut self) {
        self.serial().skip_to_now();
    }

    /// Resets the machine and waits until it has started again. What the guest says until it notices is passed over, a
    /// prompt too.
    #[track_caller]
    pub fn reset(&mut self) {
        let starts = self.log().matches(STARTS).count();
        self.monitor().execute(&qmp::system_reset {}).expect("QEMU resets the machine");
        if let Err(silence) = self.serial().skip_to(STARTS, starts, LIMIT) {
            self.silence("waiting for the start after a reset", &silence);
        }
        self.wait_prompt();
    }

    /// Stops or goes on reading the serial line.
    pub fn set_reading(&mut self, reading: Reading) {
        self.serial().set_reading(reading);
    }

    /// Waits until the guest has said `text`.
    #[track_caller]
    pub fn wait_text(&mut self, text: &str) {
        if let Err(silence) = self.serial().wait(0, LIMIT, |all| all.contains(text).then_some(())) {
            self.silence(&format!("waiting for `{text}`"), &silence);
        }
    }

    /// Sends bytes on the serial line as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.serial().send(bytes).expect("the guest reads its serial line");
    }

    /// Types a command; the lines it answers.
    #[track_caller]
    pub fn sh(&mut self, command: &str) -> Vec<String> {
        match self.serial().command(command, LIMIT) {
            Ok(lines) => lines,
            Err(silence) => self.silence(&format!("waiting for the end of `{command}`"), &silence),
        }
    }

    /// Types a `-J` command; its one line of JSON. Log lines beside it are not looked at.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&mut self, command: &str) -> T {
        self.send(format!("{command}\n").as_bytes());
        self.finish(command)
    }

    /// Waits for the end of a command that was sent; the lines it answers.
    #[track_caller]
    pub fn finish_lines(&mut self, command: &str) -> Vec<String> {
        match self.serial().finish(command, LIMIT) {
            Ok(lines) => lines,
            Err(silence) => self.silence(&format!("waiting for the end of `{command}`"), &silence),
        }
    }

    /// Waits for the end of a `-J` command that was sent; its one line of JSON.
    #[track_caller]
    pub fn finish<T: DeserializeOwned>(&mut self, command: &str) -> T {
        let lines = match self.serial().finish(command, LIMIT) {
            Ok(lines) => lines,
            Err(silence) => self.silence(&format!("waiting for the end of `{command}`"), &silence),
        };
        let mut values = lines.iter().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
        let (Some(line), None) = (values.next(), values.next()) else {
            panic!("`{command}` answered not one line of JSON but {lines:?}");
        };
        serde_json::from_str(line).unwrap_or_else(|error| panic!("`{command}` answered {line}: {error}"))
    }

    /// `resources -J`.
    #[track_caller]
    pub fn resources(&mut self) -> Vec<Resource> {
        self.json("resources -J")
    }

    /// `sections -J` of one resource.
    #[track_caller]
    pub fn sections(&mut self, resource: u64) -> Vec<Section> {
        self.json(&format!("sections {resource} -J"))
    }

    /// `meminfo -J`.
    #[track_caller]
    pub fn meminfo(&mut self) -> Meminfo {
        self.json("meminfo -J")
    }

    /// `page PFN -J`.
    #[track_caller]
    pub fn page(&mut self, pfn: u64) -> Page {
        self.json(&format!("page {pfn:#x} -J"))
    }

    /// `alloc ... -J`.
    #[track_caller]
    pub fn alloc(&mut self, what: &str) -> Alloc {
        self.json(&format!("alloc {what} -J"))
    }

    /// `verify -J`.
    #[track_caller]
    pub fn verify(&mut self) -> Verify {
        self.json("verify -J")
    }

    /// Types an HMP line that has to go well.
    #[track_caller]
    pub fn monitor_line(&mut self, line: &str) {
        let answer = self.monitor().human(line);
        assert!(answer.trim().is_empty(), "(qemu) {line}\n{answer}");
    }

    /// Plugs a DIMM by the two lines of the README, and waits for what the guest answers.
    #[track_caller]
    pub fn plug(&mut self, dimm: Dimm) -> Ost {
        let Dimm { number, size, node } = dimm;
        self.monitor_line(&format!("object_add memory-backend-ram,id=ram{number},size={size}"));
        self.monitor_line(&format!("device_add pc-dimm,id=dimm{number},memdev=ram{number},node={node}"));
        match self.monitor().wait_ost(LIMIT) {
            Some(ost) => ost,
            None => self.fail(&format!("no _OST for dimm{number}")),
        }
    }

    /// Plugs a DIMM that has to come online; its resource. It takes nothing of what was there.
    #[track_caller]
    pub fn plug_online(&mut self, dimm: Dimm) -> Resource {
        let before = self.resources();
        let ost = self.plug(dimm);
        assert_eq!(ost, Ost { device: format!("dimm{}", dimm.number), source: 1, status: 0 });
        let mut new: Vec<_> = self.resources();
        new.retain(|resource| before.iter().all(|old| old.id != resource.id));
        let [resource] = &new[..] else { panic!("one new resource, not {new:?}") };
        assert_eq!(resource.state, "online");
        assert_eq!(resource.node, u64::from(dimm.node));
        let add = &resource.add;
        assert_eq!((add.existing_pages_used, add.existing_heap_bytes_used), (0, 0), "{resource:?}");
        resource.clone()
    }

    /// Waits until QEMU has ended; its exit status.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        let end = Instant::now() + LIMIT;
        loop {
            match self.child.try_wait().expect("QEMU can be waited for") {
                Some(status) => {
                    self.serial().hear_the_rest(LIMIT);
                    return code(status);
                }
                None if Instant::now() > end => self.fail("QEMU does not end"),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Types `poweroff` and waits for the end; QEMU's exit status.
    #[track_caller]
    pub fn power_off(mut self) -> i32 {
        self.send(b"poweroff\n");
        self.wait_exit()
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("QEMU was ended by a signal: {status}"))
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only where QEMU has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let errors = fs::read_to_string(self.directory.path().join("qemu.log")).unwrap_or_default();
            let (line, log) = (self.line.join(" "), self.log());
            eprintln!("--- command: {line}\n--- QEMU said: {errors}\n--- serial line:\n{log}\n--- end");
        }
    }
}
