//! `stress`: all CPUs allocate, fill, verify and free memory at random; or the kernel's heap is full (`heap`).

mod heap;

use super::console::Out;
use super::words::fixed;
use super::{Failure, Outcome, input};
use crate::arch::time;
use crate::executor;
use crate::stress::{self, Done, Sizes};
use ::core::fmt::Write;
use ::core::time::Duration;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Flag, JSON, Operands, Place};
use carapace_cli::format_size::Pages;
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_mm::addr::Order;
use carapace_schema::Stress;

const CPUS: Flag = Flag::new("--cpus", "on so many CPUs, the first one last; else on all").value("N");
const SECONDS: Flag = Flag::new("--seconds", "stops after this time; else on 'stress stop'").value("S");
const SIZE: Flag = Flag::new("--size", "blocks of this order; else of mixed orders").value("ORDER");

/// `stress`.
pub static COMMAND: Command = Command {
    name: "stress",
    summary: "all CPUs allocate, fill, verify and free memory, until stopped",
    operands: Operands::optional("[stop|status|heap|off]"),
    operand_help: &[
        ("stop", "Stops it and shows what was done."),
        ("status", "Shows what has been done so far. Without an operand: starts it, or shows this."),
        ("heap", "Fills the kernel heap up to its reserve instead."),
        ("off", "Frees the heap again."),
    ],
    words: |place, word| match place {
        Place::Operand(_) => fixed(&["stop", "status", "heap", "off"], word),
        Place::Value(_) => {}
    },
    flags: &[CPUS, SECONDS, SIZE, JSON],
    example: "stress --seconds 10",
    ..Command::NEW
};

/// The largest order: 4 MiB.
const LARGEST: u8 = 10;

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let flags = [CPUS, SECONDS, SIZE];
    match invocation.operand(0) {
        None => start(invocation).await,
        Some(word @ ("stop" | "status" | "heap" | "off")) => {
            if let Some(flag) = flags.iter().find(|flag| invocation.has(flag)) {
                return Err(Failure::of(format_args!("{} belongs to stress without '{word}'", flag.long)));
            }
            match word {
                "heap" => return heap::run(invocation.format(), heap::Fill::On),
                "off" => return heap::run(invocation.format(), heap::Fill::Off),
                _ => {}
            }
            if !stress::is_running() {
                return Err(Failure::of("stress is not running ('stress' starts it)"));
            }
            let done = if word == "stop" { stress::stop().await } else { stress::done() };
            show(invocation.format(), &done)
        }
        Some(other) => Err(Failure::of(format_args!("'{other}' is none of stop, status, heap and off"))),
    }
}

async fn start(invocation: &Invocation<'_>) -> Outcome {
    let most = stress::most_cpus();
    let number = |flag: &Flag, what| {
        let number = invocation.value(flag).map(|text| parse::integer(text, what));
        number.transpose().map_err(Failure::of)
    };
    let cpus = match number(&CPUS, "a number of CPUs")? {
        None => most,
        Some(cpus) => match u32::try_from(cpus) {
            Ok(cpus) if (1..=most).contains(&cpus) => cpus,
            _ if most == 1 => return Err(Failure::of("1 CPU runs, so --cpus can only be 1")),
            _ => return Err(Failure::of(format_args!("{most} CPUs run, so --cpus must be 1 to {most}"))),
        },
    };
    let sizes = match number(&SIZE, "an order")? {
        None => Sizes::Mixed,
        Some(order) => match u8::try_from(order) {
            Ok(order @ 0..=LARGEST) => Sizes::Exactly(Order(order)),
            _ => return Err(Failure::of(format_args!("--size must be an order from 0 to {LARGEST}"))),
        },
    };
    let seconds = number(&SECONDS, "a number of seconds")?;
    if stress::is_running() {
        let done = stress::done();
        return match [CPUS, SECONDS, SIZE].iter().any(|flag| invocation.has(flag)) {
            false => show(invocation.format(), &done),
            true => Err(Failure::of(format_args!(
                "stress is running already, on {} ('stress stop' ends it)",
                Cpus(done.cpus)
            ))),
        };
    }
    stress::start(cpus, sizes);
    let Some(seconds) = seconds else {
        return match invocation.format() {
            Format::Json => show(Format::Json, &stress::done()),
            Format::Table => Ok(writeln!(Out, "stress runs on {} until 'stress stop'", Cpus(cpus))?),
        };
    };
    let end = time::uptime().saturating_add(Duration::from_secs(seconds));
    let mut waited = Ok(());
    // The other line may stop it.
    while waited.is_ok() && time::uptime() < end && stress::is_running() {
        executor::wait_for_event_until(end).await;
        waited = input::step().await;
    }
    let done = stress::stop().await;
    show(invocation.format(), &done)?;
    waited
}

/// A number of CPUs.
struct Cpus(u32);

impl ::core::fmt::Display for Cpus {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        write!(f, "{} CPU{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

fn show(format: Format, done: &Done) -> Outcome {
    let work = done.time.as_nanos() as u64 * u64::from(done.cpus);
    let row = Stress {
        cpus: done.cpus,
        operations: done.operations,
        bad_pages: done.bad_pages,
        ns_per_operation: work.checked_div(done.operations).unwrap_or(0),
        lost_pages: done.lost_pages,
        running: stress::is_running(),
    };
    match format {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let (operations, ns) = (row.operations, row.ns_per_operation);
            write!(Out, "{}: {operations} operations of {ns} ns, ", Cpus(row.cpus))?;
            write!(Out, "{} bad", Pages(row.bad_pages))?;
            if row.lost_pages > 0 {
                write!(Out, ", {} lost by surprise removal", Pages(row.lost_pages))?;
            }
            writeln!(Out, "{}", if row.running { "; it goes on" } else { "" })?;
        }
    }
    if row.bad_pages > 0 && format == Format::Table {
        return Err(Failure::of("memory did not match the patterns written to it"));
    }
    Ok(())
}
