//! `cargo xtask demo`: plays the example without input.
//!
//! It types commands at the shell, and the example's two lines at QEMU's monitor through QMP. It checks the shell's
//! output by the answers on the second serial line, which it does not show.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use guest::discovery;
use guest::launch::{Qemu, exit_code};
use guest::qemu::SerialPort;
use guest::qmp::{Monitor, Ost};
use guest::rpc::Client;
use guest::schema::{Check, Meminfo, PAGE, Resource, Verify};
use guest::serial::Serial as Line;
use guest::size::ByteSize;
use serde::de::DeserializeOwned;

use crate::cli::{DemoArgs, RunArgs};
use crate::run;
use crate::setup::Installing;
use crate::terminal;
use crate::workspace::Workspace;

/// How long anything may take on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(120);
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
        virtio_mem: Vec::new(),
        balloon: false,
        hmat: Vec::new(),
        accel: args.accel,
        serial: SerialPort::Stdio,
        qmp: Some(qmp.clone()),
        image: None,
        gdb: None,
        fast: false,
        no_build: false,
        dry_run: false,
        qemu_args: Vec::new(),
    };
    let mut guest = run::prepare(workspace, &run_args, installing)?;
    guest.colours = terminal::colours();
    let remote = sockets.path().join("remote");
    guest.remote = Some(remote.clone());
    let line = guest.command()?;
    let (qemu, line) = run::on_pipes(&line, run::show)?;
    let mut shell = Shell { qemu, line };

    shell.line.wait_prompt(TIMEOUT).context("while the kernel boots")?;
    let mut answers = Answers(Client::connect(&remote, Some(TIMEOUT))?);
    shell.type_line("meminfo")?;
    let before = answers.free_pages()?;

    let mut monitor = Monitor::new(discovery::connect(&qmp)?)?;
    for line in [OBJECT_ADD, DEVICE_ADD] {
        interject(&format!("(qemu) {line}"));
        let answer = monitor.human(line)?;
        ensure!(answer.trim().is_empty(), "QEMU refuses `{line}`: {}", answer.trim());
    }
    let ost = monitor.wait_ost(TIMEOUT).context("the kernel did not answer the DIMM by _OST")?;
    let Ost { source, status, .. } = ost;
    ensure!((source, status) == (1, 0), "the kernel answered the DIMM by _OST({source}, {status})");
    interject(&format!("(QMP) ACPI_DEVICE_OST: source {source}, status {status}"));

    let resources: Vec<Resource> = answers.to("resources")?;
    let dimm = check_resource(&resources)?;
    let after = answers.free_pages()?;
    ensure!(
        after == before + dimm.usable_pages,
        "{before} frames were free before the DIMM, {after} after it"
    );

    let page = |pfn| format!("page {pfn}");
    for line in [
        "resources",
        "sections",
        "buddyinfo",
        &page(dimm.memmap_start_pfn),
        &page(dimm.usable_start_pfn),
        "map",
    ] {
        shell.type_line(line)?;
    }
    shell.type_line("alloc 200M --node 1")?;
    shell.type_line("verify")?;
    ensure!(answers.to::<Verify>("verify")?.ok, "verify found a page that is not as it was filled");
    shell.type_line("map")?;
    shell.type_line("free all")?;
    shell.type_line("check")?;
    let check: Check = answers.to("check")?;
    ensure!(check.ok, "check found {:?}", check.errors);
    let end = answers.free_pages()?;
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

/// The DIMM's row among the resources: first its memmap, then one run of usable frames.
fn check_resource(resources: &[Resource]) -> Result<&Resource> {
    let row = resources.iter().find(|row| row.base == BASE).context("no resource at 4 GiB")?;
    let first = BASE / PAGE;
    for (field, found, expected) in [
        ("size", row.size, LENGTH),
        ("node", row.node.into(), 1),
        ("memmap_start_pfn", row.memmap_start_pfn, first),
        ("memmap_pages", row.memmap_pages, 1024),
        ("usable_start_pfn", row.usable_start_pfn, first + 1024),
        ("usable_pages", row.usable_pages, 64512),
        ("free_pages", row.free_pages, 64512),
    ] {
        ensure!(found == expected, "the DIMM's {field} is {found}, not {expected}");
    }
    ensure!(row.state == "online", "the DIMM's state is {}", row.state);
    Ok(row)
}

/// The guest's shell. Its output is printed.
struct Shell {
    qemu: Qemu,
    line: Line,
}

impl Shell {
    /// Types a command and shows everything up to the next prompt.
    fn type_line(&mut self, line: &str) -> Result<()> {
        let said = self.line.command(line, TIMEOUT).with_context(|| format!("after `{line}`"))?;
        let refused = said.iter().find(|answer| answer.starts_with("error:"));
        ensure!(refused.is_none(), "`{line}` gave {}", refused.map_or("", String::as_str));
        Ok(())
    }

    /// Powers off and waits for QEMU's exit status.
    fn power_off(mut self) -> Result<u8> {
        self.line.send(b"poweroff\n")?;
        self.line.hear_the_rest(TIMEOUT).context("poweroff did not end QEMU")?;
        Ok(exit_code(self.qemu.wait()?))
    }
}

/// The second serial line.
struct Answers(Client);

impl Answers {
    /// The answer to a command, in JSON.
    fn to<T: DeserializeOwned>(&mut self, command: &str) -> Result<T> {
        let answer = self.0.ask(command)?;
        let answer = answer.map_err(|why| anyhow!("the kernel refuses `{command}`: {why}"))?;
        serde_json::from_value(answer).with_context(|| format!("the answer to `{command}`"))
    }

    fn free_pages(&mut self) -> Result<u64> {
        Ok(self.to::<Meminfo>("meminfo")?.free_pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guest::schema::Add;
    use serde_json::json;

    /// Each figure of the example is looked at: one that is off by one is an error that names it.
    #[test]
    fn every_figure_is_checked() {
        let good = json!({"id": 1, "device": "\\_SB.MHPC.MP00", "base": BASE, "size": LENGTH, "node": 1,
            "zone": "any", "state": "online", "memmap_start_pfn": 0x10_0000, "memmap_pages": 1024,
            "usable_start_pfn": 0x10_0400, "usable_pages": 64512, "free_pages": 64512, "largest_free_pages": 32768,
            "offline_pages": 0, "movable_pages": 0, "pinned_pages": 0, "removable": true, "pinned_pfn": null,
            "pinned_by": null, "add": Add::default()});
        let read = |row: &serde_json::Value| serde_json::from_value::<Resource>(row.clone()).expect("a row");
        assert!(check_resource(&[Resource { base: 0, ..read(&good) }, read(&good)]).is_ok());
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
            let error = check_resource(&[read(&row)]).expect_err(field).to_string();
            assert!(error.contains(field), "{error}");
        }
        assert!(check_resource(&[]).is_err());
    }
}
