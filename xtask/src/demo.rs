//! `cargo xtask demo`: the example with nobody at the keyboard.
//!
//! The shell is spoken to over the serial line, QEMU's monitor over QMP, where the example's two lines are given
//! as they stand. What the shell shows is checked by its `-J` answers, which are asked for without being shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::boot::json_of;
use guest::discovery;
use guest::launch::{Qemu, exit_code};
use guest::qmp::{Monitor, Ost};
use guest::serial::Serial as Line;
use guest::size::ByteSize;
use serde_json::Value;

use crate::cli::{DemoArgs, RunArgs, Serial};
use crate::run;
use crate::setup::Installing;
use crate::terminal::Colours;
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
    let mut shell = Shell::start(&line)?;

    shell.line.wait_prompt(PATIENCE).context("while the kernel boots")?;
    shell.type_line("meminfo")?;
    let before = free_pages(&shell.ask("meminfo -J")?)?;

    let mut monitor = Monitor::new(discovery::connect(&qmp)?)?;
    for line in [OBJECT_ADD, DEVICE_ADD] {
        interject(&format!("(qemu) {line}"));
        let answer = monitor.human(line)?;
        ensure!(answer.trim().is_empty(), "QEMU refuses `{line}`: {}", answer.trim());
    }
    let ost = monitor.wait_ost(PATIENCE).context("the kernel did not answer the DIMM by _OST")?;
    let Ost { source, status, .. } = ost;
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

/// The guest's shell. What it says is printed unless it is hidden.
struct Shell {
    qemu: Qemu,
    line: Line,
    hidden: Arc<AtomicBool>,
}

impl Shell {
    fn start(command: &[String]) -> Result<Self> {
        let hidden = Arc::new(AtomicBool::new(false));
        let (qemu, line) = run::on_pipes(command, {
            let hidden = Arc::clone(&hidden);
            move |bytes| {
                if !hidden.load(Ordering::Acquire) {
                    run::show(bytes);
                }
            }
        })?;
        Ok(Self { qemu, line, hidden })
    }

    /// Types a command and shows everything up to the next prompt.
    fn type_line(&mut self, line: &str) -> Result<()> {
        let said = self.line.command(line, PATIENCE).with_context(|| format!("after `{line}`"))?;
        let refused = said.iter().find(|answer| answer.starts_with("error:"));
        ensure!(refused.is_none(), "`{line}` gave {}", refused.map_or("", String::as_str));
        Ok(())
    }

    /// The JSON a command answers, without showing it.
    fn ask(&mut self, line: &str) -> Result<Value> {
        self.hidden.store(true, Ordering::Release);
        let said = self.line.command(line, PATIENCE);
        self.hidden.store(false, Ordering::Release);
        json_of(line, &said.with_context(|| format!("after `{line}`"))?)
    }

    /// Powers off and waits for QEMU's exit status.
    fn power_off(mut self) -> Result<u8> {
        self.line.send(b"poweroff\n")?;
        self.line.hear_the_rest(PATIENCE).context("poweroff did not end QEMU")?;
        Ok(exit_code(self.qemu.wait()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
