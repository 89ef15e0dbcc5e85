//! A guest for tests: each failure ends the test, and a failing test prints the guest's output.

mod watchdog;

use crate::schema::{Alloc, Meminfo, Page, Resource, Section, Verify};
pub use guest::Machine;
use guest::boot::json_of;
pub use guest::boot::{Dimm, LIMIT};
use guest::qmp::{Monitor, Ost};
use guest::serial::{Reading, Serial, Silence};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;

/// How a guest is to look; [`Plan::boot`] starts it.
#[derive(Clone, Debug)]
pub struct Plan(guest::Plan);

impl Plan {
    /// The guest that `cargo xtask run` starts by default, on this machine type, emulated, with one CPU.
    pub fn new(machine: Machine) -> Plan {
        Plan(guest::Plan::new(machine))
    }

    /// Adds an option of `cargo xtask run`.
    pub fn option(self, name: &str, value: &str) -> Plan {
        Plan(self.0.option(name, value))
    }

    /// Adds arguments of QEMU.
    pub fn qemu(self, arguments: &[&str]) -> Plan {
        Plan(self.0.qemu(arguments))
    }

    /// Adds a second serial port.
    pub fn second_port(self) -> Plan {
        Plan(self.0.second_port())
    }

    /// Puts a file into the guest's own directory; the name by which arguments of QEMU call it.
    pub fn file(&mut self, name: &'static str, bytes: Vec<u8>) -> String {
        self.0.file(name, bytes)
    }

    /// Gives the boot shim no kernel.
    pub fn without_kernel(self) -> Plan {
        Plan(self.0.without_kernel())
    }

    /// Gives the boot shim this file as its kernel.
    pub fn kernel(self, file: &Path) -> Plan {
        Plan(self.0.kernel(file))
    }

    /// The file that is the kernel of a guest of this plan.
    #[track_caller]
    pub fn kernel_file(&self) -> String {
        self.0.kernel_file().unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Starts the guest, and does not wait for its prompt.
    #[track_caller]
    pub fn start(&self) -> Guest {
        Guest(self.0.start().unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Starts the guest without its first serial port: nothing is heard of it there.
    #[track_caller]
    pub fn start_without_first_port(&self) -> Guest {
        let started = self.0.start_changed(|line| {
            line.iter_mut().filter(|word| *word == "chardev:console").for_each(|word| *word = "none".into());
            Ok(())
        });
        Guest(started.unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// Starts the guest and waits for its first prompt.
    #[track_caller]
    pub fn boot(&self) -> Guest {
        let mut guest = self.start();
        guest.wait_prompt();
        guest
    }
}

/// A running guest. Dropping it ends QEMU, and prints the serial log if the test is failing.
#[derive(Debug)]
pub struct Guest(guest::Guest);

impl Guest {
    fn serial(&mut self) -> &mut Serial {
        self.0.serial()
    }

    /// What a step of the harness made of the guest, or the end of the test.
    #[track_caller]
    pub(crate) fn expect<T>(result: anyhow::Result<T>) -> T {
        result.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// The harness's own guest.
    pub(crate) fn inner(&mut self) -> &mut guest::Guest {
        &mut self.0
    }

    /// QEMU's process.
    pub fn process(&self) -> u32 {
        self.0.process()
    }

    /// Bytes of QEMU's memory that the host has given pages for.
    #[track_caller]
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process())).expect("QEMU runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its size");
        let kilobytes = line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
        kilobytes.expect("a number") << 10
    }

    /// QEMU's monitor.
    #[track_caller]
    pub fn monitor(&mut self) -> &mut Monitor {
        self.0.monitor().expect("QEMU ended before its monitor answered")
    }

    /// Types a line at QEMU's human monitor; its answer.
    #[track_caller]
    pub fn human(&mut self, line: &str) -> String {
        Guest::expect(self.monitor().human(line))
    }

    /// A connection to the second serial port.
    #[track_caller]
    pub fn second_line(&self) -> crate::remote::Remote {
        crate::remote::Remote::new(Guest::expect(self.0.second_line()))
    }

    /// A directory of the guest's own, for files that go with it.
    pub fn directory(&self) -> &Path {
        self.0.directory()
    }

    /// Everything the guest has said. Log lines that go on in the next one are joined.
    pub fn log(&self) -> String {
        joined(&self.0.log())
    }

    /// Waits for a prompt that has not been seen yet.
    #[track_caller]
    pub fn wait_prompt(&mut self) {
        let waited = self.serial().wait_prompt(LIMIT);
        self.heard("the prompt", waited);
    }

    /// The value of `waited`; an error ends the test with the guest's state.
    #[track_caller]
    fn heard<T>(&mut self, what: &str, waited: Result<T, Silence>) -> T {
        match waited {
            Ok(heard) => heard,
            Err(silence) => self.silence(&format!("waiting for {what}"), silence),
        }
    }

    /// From here on only what comes now counts as a prompt: for a guest that is about to restart.
    pub fn skip_to_now(&mut self) {
        self.serial().skip_to_now();
    }

    /// Resets the machine and waits until it has started again. Output from before the reset is skipped, prompts too.
    #[track_caller]
    pub fn reset(&mut self) {
        Guest::expect(self.0.reset());
    }

    /// Stops or goes on reading the serial line.
    pub fn set_reading(&mut self, reading: Reading) {
        self.serial().set_reading(reading);
    }

    /// Waits until the guest has said `text`.
    #[track_caller]
    pub fn wait_text(&mut self, text: &str) {
        let waited = self.serial().wait(0, LIMIT, |all| all.contains(text).then_some(()));
        self.heard(&format!("`{text}`"), waited);
    }

    /// Sends bytes on the serial line as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.serial().send(bytes).expect("the guest reads its serial line");
    }

    /// Types a command; the lines it answers.
    #[track_caller]
    pub fn sh(&mut self, command: &str) -> Vec<String> {
        let waited = self.0.sh(command);
        self.heard(&format!("the end of `{command}`"), waited)
    }

    /// Types a `-J` command; its one line of JSON. Log lines beside it are not looked at.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&mut self, command: &str) -> T {
        self.send(format!("{command}\n").as_bytes());
        self.finish(command)
    }

    /// Stops the command that runs, and waits for a new prompt.
    #[track_caller]
    pub fn interrupt(&mut self) {
        self.send(b"\x03");
        self.wait_text("error: stopped by Ctrl-C");
        self.skip_to_now();
        self.send(b"\n");
        self.wait_prompt();
    }

    /// Waits for the end of a command that was sent; the lines it answers.
    #[track_caller]
    pub fn finish_lines(&mut self, command: &str) -> Vec<String> {
        let waited = self.serial().finish(command, LIMIT);
        self.heard(&format!("the end of `{command}`"), waited)
    }

    /// Waits for the end of a `-J` command that was sent; its one line of JSON.
    #[track_caller]
    pub fn finish<T: DeserializeOwned>(&mut self, command: &str) -> T {
        let lines = self.finish_lines(command);
        Guest::expect(json_of(command, &lines))
    }

    /// `resources -J`.
    #[track_caller]
    pub fn resources(&mut self) -> Vec<Resource> {
        self.json("resources -J")
    }

    /// `sections -J` of one resource.
    #[track_caller]
    pub fn sections(&mut self, resource: u32) -> Vec<Section> {
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
        Guest::expect(self.0.monitor_line(line));
    }

    /// Plugs a DIMM by the two lines of the README, and waits for the guest's answer.
    #[track_caller]
    pub fn plug(&mut self, dimm: Dimm) -> Ost {
        Guest::expect(self.0.plug(dimm))
    }

    /// Plugs a DIMM that has to come online without using existing memory; returns its resource.
    #[track_caller]
    pub fn plug_online(&mut self, dimm: Dimm) -> Resource {
        let resource = Guest::expect(self.0.plug_online(dimm));
        let add = &resource.add;
        assert_eq!((add.existing_pages_used, add.existing_heap_bytes_used), (0, 0), "{resource:?}");
        resource
    }

    /// Waits until QEMU has ended; its exit status.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        code(Guest::expect(self.0.wait_exit()))
    }

    /// Types `poweroff` and waits for the end; QEMU's exit status.
    #[track_caller]
    pub fn power_off(mut self) -> i32 {
        self.send(b"poweroff\n");
        self.wait_exit()
    }
}

/// Joins log lines that go on in the next one.
pub fn joined(text: &str) -> String {
    let mut joined = String::new();
    for line in text.split_inclusive('\n') {
        match continuation(line) {
            Some(rest) if !joined.is_empty() => {
                joined.truncate(joined.trim_end().len());
                joined += " ";
                joined += rest;
            }
            _ => joined += line,
        }
    }
    joined
}

/// The text of a log line that continues the one before. A prompt may stand there that it has erased.
fn continuation(line: &str) -> Option<&str> {
    let (_, text) = line.rsplit("\x1b[K").next()?.strip_prefix('[')?.split_once("] ")?;
    text.get("INFO  ".len()..)?.strip_prefix("  ")
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("QEMU was ended by a signal: {status}"))
}

impl Drop for Guest {
    fn drop(&mut self) {
        if thread::panicking() {
            let (line, errors, log) = (self.0.command().join(" "), self.0.messages_of_qemu(), self.log());
            eprintln!("--- command: {line}\n--- QEMU said: {errors}\n--- serial line:\n{log}\n--- end");
        }
    }
}
