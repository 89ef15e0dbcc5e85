//! `cargo xtask run`: everything that is needed is there and built, then QEMU has the terminal.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest::discovery::Listening;
use guest::launch::{self, Qemu, exit_code};
use guest::qemu::{Accelerator, LOCALHOST, Machine, Output, SerialPort, Setup, Shape, Start, utf8};
use guest::relay;
use guest::serial::{PROMPT, Serial as Line, Silence};

use crate::accel;
use crate::build::{self, BOOT, KERNEL, Profile};
use crate::cli::{AccelChoice, RunArgs};
use crate::console;
use crate::image;
use crate::setup::{self, Installing, Need};
use crate::terminal;
use crate::workspace::Workspace;

/// Boots the guest; the result is QEMU's exit status.
pub fn run(workspace: &Workspace, args: &RunArgs, installing: Installing) -> Result<u8> {
    let mut guest = prepare(workspace, args, installing)?;
    if args.dry_run {
        println!("{}", serde_json::to_string(&guest.command()?)?);
        return Ok(0);
    }
    let listening = Listening::new()?;
    guest.qmp.extend([listening.qmp(), listening.desk()]);
    guest.remote = Some(listening.line());
    relay::start(&listening)?;
    let by_hand = args.serial == SerialPort::Stdio && io::stdin().is_terminal();
    guest.host =
        terminal::host(if by_hand && io::stdout().is_terminal() { Output::Terminal } else { Output::Pipe });
    if args.serial == SerialPort::Stdio {
        guest.colours = terminal::colours();
    }
    match &args.serial {
        SerialPort::Stdio if by_hand => {
            guest.monitor = Some(listening.monitor());
            explain(args);
            console::attach(&guest.command()?, &listening.monitor())
        }
        SerialPort::Stdio => from_pipe(&guest.command()?),
        SerialPort::Unix(path) => {
            eprintln!("the serial port is {}; the guest starts when it is connected", path.display());
            let line = guest.command()?;
            let status = launch::command(&line).stdin(Stdio::null()).status();
            Ok(exit_code(status.with_context(|| format!("cannot start {}", line[0]))?))
        }
    }
}

/// Sees to the tools, builds, chooses the accelerator.
pub fn prepare(workspace: &Workspace, args: &RunArgs, installing: Installing) -> Result<Setup> {
    let shape = Shape {
        machine: args.machine,
        memory: args.memory,
        slots: args.slots,
        max_memory: args.max_memory,
        nodes: args.nodes,
        cpus: args.cpus,
        cpu: args.cpu.clone(),
        virtio_mem: args.virtio_mem.clone(),
        balloon: args.balloon,
        hmat: args.hmat.clone(),
    };
    shape.check()?;
    let absolute = |path: &std::path::PathBuf| std::path::absolute(path).context("an empty path");
    let serial = match &args.serial {
        SerialPort::Stdio => SerialPort::Stdio,
        SerialPort::Unix(path) => SerialPort::Unix(absolute(path)?),
    };
    let qmp = args.qmp.as_ref().map(absolute).transpose()?;

    let Built { boot, kernel } = if args.no_build {
        setup::ensure(workspace, &[Need::Qemu], installing)?;
        last_build(workspace, args)?
    } else {
        setup::ensure(workspace, &[Need::Qemu, Need::BareMetal], installing)?;
        build(workspace, args)?
    };
    let qemu = setup::qemu()?;
    let accelerator = match args.accel {
        AccelChoice::Tcg => Accelerator::Tcg,
        // Breakpoints then need no memory that is mapped, so that they can be set before there is any.
        AccelChoice::Auto if args.gdb.is_some() => Accelerator::Tcg,
        AccelChoice::Kvm => Accelerator::Kvm,
        AccelChoice::Auto => {
            let verdict = accel::choose(workspace, &qemu.path, &qemu.version, &shape, &boot)?;
            eprintln!("accelerator: {} ({})", verdict.accelerator.name(), verdict.reason);
            verdict.accelerator
        }
    };
    let start = match args.image {
        None => Start::Shim { boot, kernel: Some(kernel) },
        Some(firmware) => image::disk(workspace, firmware, installing)?,
    };
    Ok(Setup {
        serial: Some(serial),
        qmp: qmp.into_iter().collect(),
        gdb: args.gdb,
        more: args.qemu_args.clone(),
        ..Setup::new(qemu.path, shape, accelerator, start)
    })
}

/// The files that a guest boots.
struct Built {
    boot: PathBuf,
    kernel: PathBuf,
}

fn profile(args: &RunArgs) -> Profile {
    if args.fast { Profile::Fast } else { Profile::Release }
}

/// Builds what has changed.
fn build(workspace: &Workspace, args: &RunArgs) -> Result<Built> {
    let toolchain = setup::bare_metal_toolchain(workspace)?;
    let profile = profile(args);
    let mut kernel = profile.binary(workspace, KERNEL);
    if let Some(port) = args.gdb {
        kernel = build::with_debug_information(workspace, &toolchain)?;
        eprintln!("{}", gdb_advice(&kernel, port)?);
    }
    build::bare_metal(workspace, &toolchain, profile)?;
    Ok(Built { boot: profile.binary(workspace, BOOT), kernel })
}

/// What an earlier build has made.
fn last_build(workspace: &Workspace, args: &RunArgs) -> Result<Built> {
    let [boot, kernel] = [BOOT, KERNEL].map(|name| profile(args).binary(workspace, name));
    for file in [&boot, &kernel] {
        ensure!(file.exists(), "{} was never built; run without --no-build", file.display());
    }
    Ok(Built { boot, kernel })
}

/// What to type for gdb. The path is quoted for a shell.
fn gdb_advice(kernel: &Path, port: u16) -> Result<String> {
    let path = utf8(kernel)?.replace('\'', r"'\''");
    Ok(format!(
        "\nThe guest waits for gdb. On another terminal:\n\n    \
         gdb -ex 'target remote {LOCALHOST}:{port}' '{path}'\n\n\
         and there, for instance, `break carapace::main`, `continue`, `backtrace`.\n"
    ))
}

/// Says how to plug. The last node is the one to plug into: node 0 has memory already.
fn explain(args: &RunArgs) {
    eprintln!(
        "\nThe shell comes up on this terminal; `help` lists its commands, `poweroff` leaves,\n\
         Ctrl-a x ends QEMU."
    );
    if args.slots == 0 || args.machine == Machine::Microvm {
        eprintln!("There are no DIMM slots (--slots). Ctrl-a c leads to QEMU's monitor and back.\n");
        return;
    }
    let node = args.nodes - 1;
    eprintln!(
        "`plug 256M --node {node}` plugs a DIMM, `dimms` lists them, `unplug d0` takes one out.\n\
         The same in QEMU's monitor (Ctrl-a c, and again for the shell):\n\n    \
         object_add memory-backend-ram,id=ram0,size=256M\n    \
         device_add pc-dimm,id=dimm0,memdev=ram0,node={node}\n    \
         device_del dimm0, and when it is gone object_del ram0\n\n\
         From another terminal: `cargo xtask watch`, `cargo xtask sh COMMAND`,\n\
         `cargo xtask dimm --help`.\n",
    );
}

/// Shell commands from standard input, one at each prompt; after the last one the guest powers off. When a command fails,
/// the exit status is 1, and the first such line is named.
fn from_pipe(line: &[String]) -> Result<u8> {
    let (mut qemu, mut serial) = on_pipes(line, show)?;
    let end = serial.end();
    let (failed, first_failure) = mpsc::channel();
    // A line is read only when the guest waits for one, so that the program which writes them sees each answer before
    // its next line. The thread ends with us: a guest that powers off is not kept by an input that stays open.
    thread::spawn(move || {
        let mut from = 0;
        let mut typed = String::new();
        for number in 0_u64.. {
            let Ok(answer) = at_prompt(&serial, from) else { return };
            if number > 0 && is_refusal(&answer) {
                // Nobody listens when the guest ended meanwhile.
                let _ = failed.send(format!("line {number} failed: {}", typed.trim()));
            }
            let mut line = Vec::new();
            let last = !matches!(io::stdin().lock().read_until(b'\n', &mut line), Ok(1..));
            let line = if last { b"poweroff\n".to_vec() } else { ended(line) };
            typed = String::from_utf8_lossy(&line).into_owned();
            from = serial.heard();
            if serial.send(&line).is_err() || last {
                return;
            }
        }
    });
    end.wait();
    let status = exit_code(qemu.wait()?);
    match first_failure.try_recv() {
        Ok(failure) if status == 0 => {
            eprintln!("{failure}");
            Ok(1)
        }
        _ => Ok(status),
    }
}

/// Whether what came after a line, its echo first, is a refusal by the kernel's shell or by QEMU's monitor.
fn is_refusal(answer: &str) -> bool {
    answer.lines().skip(1).any(|line| line.starts_with("error: ") || line.starts_with("Error: "))
}

/// The prompt of QEMU's monitor, which a script reaches by Ctrl-a c as a person does.
const MONITOR_PROMPT: &str = "(qemu) ";
/// A guest may run for as long as it likes.
const NO_LIMIT: Duration = Duration::from_secs(u32::MAX as u64);

/// Waits until the guest's output since byte `from` ends with a prompt; that output.
fn at_prompt(serial: &Line, from: usize) -> Result<String, Silence> {
    serial.wait(from, NO_LIMIT, |text| {
        (text.ends_with(PROMPT) || text.ends_with(MONITOR_PROMPT)).then(|| text.to_owned())
    })
}

/// QEMU with its serial line on pipes; `hear` gets its output.
pub fn on_pipes(line: &[String], hear: impl FnMut(&[u8]) + Send + 'static) -> Result<(Qemu, Line)> {
    let mut qemu = Qemu::start(line, Stdio::piped(), Stdio::piped(), Stdio::inherit())?;
    let (input, output) = qemu.pipes().context("QEMU is on pipes")?;
    Ok((qemu, Line::over(output, input, hear)))
}

/// A line with its end, which the last one of a file may lack.
fn ended(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() != Some(&b'\n') {
        line.push(b'\n');
    }
    line
}

/// Prints the guest's output, byte by byte and unchanged.
pub fn show(bytes: &[u8]) {
    let mut output = io::stdout().lock();
    // Without a reader the guest still runs to its end, and its exit status is ours.
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a refused line of a script is noticed, of the shell's and of the monitor's, and that a log line or a
    /// command's echo is none. Fails when a script's failure is lost.
    #[test]
    fn refusals_in_a_script() {
        assert!(is_refusal("free 9\r\nerror: there is no allocation 9\r\ncarapace> "));
        assert!(is_refusal("device_del x\r\nError: Device 'x' not found\r\n(qemu) "));
        assert!(!is_refusal("error: is typed\r\n[    1.0] ERROR refused\r\ncarapace> "));
    }

    /// The line for gdb can be pasted into a shell whatever the path.
    #[test]
    fn gdb_line() {
        let advice = gdb_advice(Path::new("/a b/it's/carapace.debug"), 77).expect("UTF-8");
        let line = r"    gdb -ex 'target remote 127.0.0.1:77' '/a b/it'\''s/carapace.debug'";
        assert!(advice.lines().any(|one| one == line), "{advice}");
    }
}
