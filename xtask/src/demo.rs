//! `cargo xtask demo`: the example with nobody at the keyboard.
//!
//! The shell is spoken to over the serial line, QEMU's monitor over QMP, where the example's two lines are given
//! as they stand. What the shell shows is checked by its `-J` answers, which are asked for without being shown.

use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use qapi::qmp;
use serde_json::Value;

use crate::child;
use crate::child::Colours;
use crate::cli::{DemoArgs, RunArgs, Serial};
use crate::console::{Console, Event, PromptWatch};
use crate::run;
use crate::setup::Installing;
use crate::size::ByteSize;
use crate::workspace::Workspace;

/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the defaults put the first DIMM.
const BASE: u64 = 4 << 30;
/// The DIMM of the example.
const LENGTH: u64 = 256 << 20;
/// The two lines of the example.
const OBJECT_ADD: &str = "object_add memory-backend-ram,id=ram0,size=256M";
const DEVICE_ADD: &str = "device_add pc-dimm,id=dimm0,memdev=ram0,node=1";

/// Plays the example; an error names the first thing that was not as it should be.
pub fn demo(workspace: &Workspace, args: &DemoArgs, installing: Installing) -> Result<()> {
    let sockets = tempfile::tempdir().context("cannot make a directory for the QMP socket")?;
    let qmp = sockets.path().join("qmp");
    let run_args = RunArgs {
        memory: ByteSize::MIB.times(512),
        slots: 32,
        max_memory: ByteSize::GIB.times(256),
        nodes: 2,
        cpus: 1,
        machine: args.machine,
        cpu: None,
        accel: args.accel,
        serial: Serial::Stdio,
        qmp: Some(qmp.clone()),
        image: None,
        gdb: None,
        dry_run: false,
        qemu_args: Vec::new(),
    };
    let mut guest = run::prepare(workspace, &run_args, installing)?;
    guest.colours = Colours::wanted();
    let line = guest.command()?;
    let (events, incoming) = mpsc::channel();
    let console = Console::start(&line, events)?;
    let mut shell = Shell { console, incoming, watch: PromptWatch::default() };

    shell.until_prompt("", Output::Shown).context("while the kernel boots")?;
    shell.type_line("meminfo")?;
    let before = free_pages(&shell.ask("meminfo -J")?)?;

    let socket = UnixStream::connect(&qmp).context("cannot connect to QEMU's QMP socket")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut monitor = qapi::Qmp::from_stream(&socket);
    monitor.handshake().context("QMP's greeting")?;
    for line in [OBJECT_ADD, DEVICE_ADD] {
        interject(&format!("(qemu) {line}"));
        let command_line = line.to_owned();
        let answer = monitor.execute(&qmp::human_monitor_command { command_line, cpu_index: None })?;
        ensure!(answer.trim().is_empty(), "QEMU refuses `{line}`: {}", answer.trim());
    }
    let deadline = Instant::now() + PATIENCE;
    let (source, status) = loop {
        shell.show_what_came();
        monitor.nop().context("while waiting for ACPI_DEVICE_OST")?;
        let ours = monitor.events().find_map(|event| match event {
            qmp::Event::ACPI_DEVICE_OST { data, .. } => Some((data.info.source, data.info.status)),
            _ => None,
        });
        match ours {
            Some(answer) => break answer,
            None if Instant::now() > deadline => bail!("the kernel did not answer the DIMM by _OST"),
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    ensure!((source, status) == (1, 0), "the kernel answered the DIMM by _OST({source}, {status})");
    interject(&format!("(QMP) ACPI_DEVICE_OST: source {source}, status {status}"));

    let resources = shell.ask("resources -J")?;
    let dimm = check_resource(&resources)?;
    let after = free_pages(&shell.ask("meminfo -J")?)?;
    ensure!(
        after == before + dimm.usable_pages,
        "{before} frames were free before the DIMM, {after} after it"
    );

    let page = |pfn| format!("page {pfn}");
    for line in
        ["resources", "sections", "buddyinfo", &page(dimm.memmap_start), &page(dimm.usable_start), "map"]
    {
        shell.type_line(line)?;
    }
    shell.type_line("alloc 200M --node 1")?;
    shell.type_line("verify")?;
    ensure!(shell.ask("verify -J")?["ok"] == true, "verify found a page that is not as it was filled");
    shell.type_line("map")?;
    shell.type_line("free all")?;
    shell.type_line("check")?;
    let check = shell.ask("check -J")?;
    ensure!(check["ok"] == true, "check found {}", check["errors"]);
    let end = free_pages(&shell.ask("meminfo -J")?)?;
    ensure!(end == after, "{after} frames were free before alloc, {end} after free");

    let code = shell.power_off()?;
    ensure!(code == 0, "QEMU ended with status {code} after poweroff");
    eprintln!("\ndemo: everything was as it should be");
    Ok(())
}

/// Prints a line between two of the guest's, whose prompt stands there before and after.
fn interject(line: &str) {
    run::show(format!("\n{line}\ncarapace> ").as_bytes());
}

/// Where the DIMM's frames are.
#[derive(Debug, PartialEq, Eq)]
struct Dimm {
    memmap_start: u64,
    usable_start: u64,
    usable_pages: u64,
}

/// The DIMM's row among the resources: first its memmap, then one run of usable frames.
fn check_resource(resources: &Value) -> Result<Dimm> {
    let rows = resources.as_array().context("resources -J is an array")?;
    let row = rows.iter().find(|row| row["base"] == BASE).context("no resource at 4 GiB")?;
    let first = BASE / 4096;
    for (field, expected) in [
        ("size", LENGTH),
        ("node", 1),
        ("memmap_start_pfn", first),
        ("memmap_pages", 1024),
        ("usable_start_pfn", first + 1024),
        ("usable_pages", 64512),
        ("free_pages", 64512),
    ] {
        ensure!(row[field] == expected, "the DIMM's {field} is {}, not {expected}", row[field]);
    }
    ensure!(row["state"] == "online", "the DIMM's state is {}", row["state"]);
    Ok(Dimm { memmap_start: first, usable_start: first + 1024, usable_pages: 64512 })
}

fn free_pages(meminfo: &Value) -> Result<u64> {
    meminfo["free_pages"].as_u64().context("meminfo -J has no free_pages")
}

/// Whether the guest's output is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Shown,
    Hidden,
}

/// The guest's shell.
struct Shell {
    console: Console,
    incoming: Receiver<Event>,
    watch: PromptWatch,
}

impl Shell {
    /// Types a command and shows all that comes until the next prompt.
    fn type_line(&mut self, line: &str) -> Result<()> {
        self.console.send(format!("{line}\n").as_bytes())?;
        let said = self.until_prompt(line, Output::Shown).with_context(|| format!("after `{line}`"))?;
        let refused = said.lines().find(|answer| answer.starts_with("error:"));
        ensure!(refused.is_none(), "`{line}` gave {}", refused.unwrap_or_default());
        Ok(())
    }

    /// The JSON a command answers, without showing it.
    fn ask(&mut self, line: &str) -> Result<Value> {
        self.console.send(format!("{line}\n").as_bytes())?;
        let said = self.until_prompt(line, Output::Hidden).with_context(|| format!("after `{line}`"))?;
        json_in(&said).with_context(|| format!("`{line}` gave no JSON but: {said}"))
    }

    /// Everything until the guest waits at the prompt that follows the command `line`.
    fn until_prompt(&mut self, line: &str, output: Output) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut said = Vec::new();
        loop {
            match self.incoming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Output(bytes)) => {
                    if output == Output::Shown {
                        run::show(&bytes);
                    }
                    let at_prompt = self.watch.feed(&bytes);
                    said.extend(bytes);
                    let text = String::from_utf8_lossy(&said);
                    if at_prompt && has_run(&text, line) {
                        return Ok(text.into_owned());
                    }
                }
                Ok(_) | Err(RecvTimeoutError::Disconnected) => {
                    bail!("QEMU ended with status {}", child::exit_code(self.console.wait()?))
                }
                Err(RecvTimeoutError::Timeout) => bail!("no prompt in {} s", PATIENCE.as_secs()),
            }
        }
    }

    /// Shows what the guest says of its own accord.
    fn show_what_came(&mut self) {
        while let Ok(Event::Output(bytes)) = self.incoming.try_recv() {
            run::show(&bytes);
            self.watch.feed(&bytes);
        }
    }

    /// Powers off and waits for QEMU's exit status.
    fn power_off(mut self) -> Result<u8> {
        self.console.send(b"poweroff\n")?;
        loop {
            match self.incoming.recv_timeout(PATIENCE) {
                Ok(Event::Output(bytes)) => run::show(&bytes),
                Ok(_) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("poweroff did not end QEMU"),
            }
        }
        Ok(child::exit_code(self.console.wait()?))
    }
}

/// Whether the echo of a whole command is there. A prompt without it is the one before the command, shown again
/// after a line of the kernel's log.
fn has_run(said: &str, line: &str) -> bool {
    said.contains(&format!("{line}\r\n"))
}

/// The first line that is JSON.
fn json_in(said: &str) -> Option<Value> {
    let candidates = said.lines().map(str::trim).filter(|line| line.starts_with(['{', '[']));
    candidates.filter_map(|line| serde_json::from_str(line).ok()).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The answer is found among the echo, log lines in brackets and the prompt.
    #[test]
    fn json_is_found() {
        let said = "meminfo -J\r\n[    0.1] INFO something\r\n{\"free_pages\": 7}\r\ncarapace> ";
        assert_eq!(json_in(said), Some(json!({"free_pages": 7})));
        assert_eq!(json_in("error: no\r\ncarapace> "), None);
    }

    /// A prompt that a log line pushed down is not taken for the one after the command.
    #[test]
    fn pushed_down_prompt() {
        let before = "mem\r\x1b[K[ 0.1] INFO online\r\ncarapace> mem";
        assert!(!has_run(before, "meminfo"));
        assert!(has_run(&format!("{before}info\r\nMEMORY ..."), "meminfo"));
    }

    /// Each figure of the example is looked at: one that is off by one is an error that names it.
    #[test]
    fn every_figure_is_checked() {
        let good = json!({"base": BASE, "size": LENGTH, "node": 1, "memmap_start_pfn": 0x10_0000,
            "memmap_pages": 1024, "usable_start_pfn": 0x10_0400, "usable_pages": 64512, "free_pages": 64512,
            "state": "online"});
        assert!(check_resource(&json!([{"base": 0}, good])).is_ok());
        for (field, wrong) in [
            ("size", json!(1)),
            ("node", json!(0)),
            ("memmap_pages", json!(1023)),
            ("usable_start_pfn", json!(0)),
            ("free_pages", json!(64511)),
            ("state", json!("offline")),
        ] {
            let mut row = good.clone();
            row[field] = wrong;
            let error = check_resource(&json!([row])).expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
        assert!(check_resource(&json!([])).is_err());
    }
}
