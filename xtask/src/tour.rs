//! `cargo xtask tour`: what memory hotplug is about, step by step in a real guest, with a sentence before each step and a
//! key to go on. Without a terminal, or with `--auto`, no key is needed.
//!
//! It types into the guest's shell; `plug` and `unplug` there are carried out as in `cargo xtask run`. A step that does
//! not end as it should is an error that names it. Neighbours: `demo` plays the proposal's example alone, with its figures.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Parser;
use guest::discovery::Listening;
use guest::launch::exit_code;
use guest::relay;
use guest::rpc::Client;
use guest::schema::Resource;
use guest::serial::Serial as Line;
use guest::size::ByteSize;
use guest::virtio_mem;

use crate::cli::{Cli, RunArgs, Task, TourArgs};
use crate::run;
use crate::setup::Installing;
use crate::terminal;
use crate::workspace::Workspace;

/// How long anything may take on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What is done in a step.
#[derive(Clone, Copy)]
enum Do {
    /// Type this, with `MEMMAP` and `USABLE` for the first frames of those of the newest DIMM.
    Type(&'static str),
    /// Type this, which the kernel refuses.
    Refused(&'static str),
    /// Have the kernel reach this size with the virtio-mem device.
    Size(ByteSize),
}
use Do::{Refused, Size, Type};

/// The sentence of each step, and what is done.
const STEPS: [(&str, &[Do]); 8] = [
    (
        "Plug: a DIMM of 256 MiB comes into node 1, which has no memory yet. The log has the time of each part.",
        &[Type("plug 256M --node 1"), Type("resources")],
    ),
    (
        "Page: its first 1024 frames are its own memmap, a descriptor of 64 bytes for each frame. The rest is one run.",
        &[Type("page MEMMAP"), Type("page USABLE"), Type("buddyinfo")],
    ),
    (
        "Fill: 200 MiB of it are allocated and filled with a pattern, which `verify` knows. In the map they are `u`.",
        &[Type("alloc 200M --node 1"), Type("verify"), Type("map")],
    ),
    (
        "Remove while full: the content migrates to other memory and still matches. Then the DIMM is gone.",
        &[Type("unplug d0"), Type("verify"), Type("resources"), Type("free all")],
    ),
    (
        "Refuse: a pinned frame cannot move. The kernel keeps the DIMM, and names the frame and its owner.",
        &[
            Type("plug 256M --node 1"),
            Type("alloc 4K --node 1 --pinned"),
            Refused("unplug d0"),
            Type("free all"),
            Type("unplug d0"),
        ],
    ),
    (
        "virtio-mem: a device of 16 GiB gives memory by pieces of 2 MiB. The host asks for 1 GiB, then for none.",
        &[Size(ByteSize::GIB), Type("virtio"), Type("meminfo"), Size(ByteSize::MIB.times(0)), Type("virtio")],
    ),
    (
        "4 TiB: more than this host has, and online in milliseconds, for nothing is written but its first pages. \
         1 TiB of it is allocated as one run of frames, not touched.",
        &[
            Type("plug 4T"),
            Type("alloc 1T --contiguous --no-fill"),
            Type("resources"),
            Type("free all"),
            Type("unplug d0"),
        ],
    ),
    ("Check: every invariant of the memory core holds after all that.", &[Type("check")]),
];

/// Plays the tour; an error names the first step that did not end as it should.
pub fn tour(workspace: &Workspace, args: &TourArgs, installing: Installing) -> Result<()> {
    let by_hand = !args.auto && io::stdin().is_terminal() && io::stdout().is_terminal();
    let run_args = run_args(args)?;
    let mut guest = run::prepare(workspace, &run_args, installing)?;
    let listening = Listening::new()?;
    guest.colours = terminal::colours();
    guest.qmp.extend([listening.qmp(), listening.desk()]);
    guest.remote = Some(listening.line());
    relay::start(&listening)?;
    let (mut qemu, mut line) = run::on_pipes(&guest.command()?, run::show)?;
    line.wait_prompt(TIMEOUT).context("while the kernel boots")?;
    let mut kernel = Client::connect(&listening.remote(), Some(TIMEOUT))?;

    for (number, (sentence, actions)) in (1..).zip(STEPS) {
        if !announce(number, sentence, by_hand)? {
            break;
        }
        for action in actions {
            let what = match action {
                Type(text) | Refused(text) => *text,
                Size(_) => "the size of the virtio-mem device",
            };
            act(*action, &mut line, &mut kernel, &listening)
                .with_context(|| format!("step {number}, {what}"))?;
        }
    }
    line.send(b"poweroff\n")?;
    line.hear_the_rest(TIMEOUT).map_err(|_| anyhow!("poweroff did not end QEMU"))?;
    let code = exit_code(qemu.wait()?);
    ensure!(code == 0, "QEMU ended with status {code} after poweroff");
    eprintln!("\nThat was the tour. `cargo xtask run` gives you the same guest to play with.");
    Ok(())
}

fn run_args(args: &TourArgs) -> Result<RunArgs> {
    let words = ["cargo xtask", "run", "--virtio-mem", "16G,node=1", "--machine", args.machine.name()];
    match Cli::try_parse_from(words)?.command {
        Some(Task::Run(run)) => Ok(RunArgs { accel: args.accel, ..run }),
        _ => Err(anyhow!("the guest's options are wrong")),
    }
}

/// Prints the sentence of a step, and waits for Enter; `false` if the user has seen enough.
fn announce(number: usize, sentence: &str, by_hand: bool) -> Result<bool> {
    let mut text = format!("\n\n{}\n", wrapped(&format!("== {number} of {}: {sentence}", STEPS.len())));
    if by_hand {
        text += "   [Enter goes on, q ends] ";
    }
    run::show(text.as_bytes());
    if !by_hand {
        run::show(b"carapace> ");
        return Ok(true);
    }
    let mut key = String::new();
    let count = io::stdin().read_line(&mut key)?;
    if count == 0 || key.trim() == "q" {
        return Ok(false);
    }
    run::show(b"carapace> ");
    io::stdout().flush()?;
    Ok(true)
}

/// The text in lines that fit 80 columns, broken between words.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        if width > 0 {
            let breaks = width + 1 + word.len() > 79;
            lines.push(if breaks { '\n' } else { ' ' });
            width = if breaks { 0 } else { width + 1 };
        }
        lines += word;
        width += word.len();
    }
    lines
}

fn act(action: Do, line: &mut Line, kernel: &mut Client, listening: &Listening) -> Result<()> {
    match action {
        Type(text) | Refused(text) => {
            let said = line.command(&with_frames(text, kernel)?, TIMEOUT)?;
            let refusal = said.iter().find(|answer| answer.starts_with("error:"));
            match (action, refusal) {
                (Refused(_), None) => Err(anyhow!("it was not refused")),
                (Type(_), Some(why)) => Err(anyhow!("{why}")),
                _ => Ok(()),
            }
        }
        Size(size) => {
            run::show(format!("\n(host) cargo xtask mem set {size}\ncarapace> ").as_bytes());
            let mut monitor = virtio_mem::connect(Some(&listening.qmp()))?;
            monitor.request_size("vm0", size.bytes())?;
            let device = monitor.wait_size("vm0", TIMEOUT)?;
            ensure!(device.plugged == size.bytes(), "{} are plugged, not {size}", device.plugged());
            Ok(())
        }
    }
}

/// The line with the frames of the newest DIMM in place of their names.
fn with_frames(text: &str, kernel: &mut Client) -> Result<String> {
    if !text.contains("MEMMAP") && !text.contains("USABLE") {
        return Ok(text.to_owned());
    }
    let answer = kernel.ask("resources")?.map_err(|why| anyhow!("resources: {why}"))?;
    let resources: Vec<Resource> = serde_json::from_value(answer)?;
    let newest = resources.last().context("there is no resource")?;
    let frame = |pfn: u64| format!("{pfn:#x}");
    Ok(text
        .replace("MEMMAP", &frame(newest.memmap_start_pfn))
        .replace("USABLE", &frame(newest.usable_start_pfn)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that each step's sentence fits a terminal of 80 columns and keeps its words.
    #[test]
    fn sentences_fit() {
        for (sentence, _) in STEPS {
            let lines = wrapped(sentence);
            assert!(lines.lines().all(|line| line.len() < 80), "{lines}");
            assert_eq!(lines.replace('\n', " "), sentence);
        }
    }
}
