//! `cpus`: the processors, what each does, its frame cache, and its requests to the others.

use super::Outcome;
use super::console::Out;
use crate::cpus;
use crate::memory::core;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Columns, left, right};
use carapace_mm::addr::PAGE_SIZE;
use carapace_schema::{Cpu, Word};

/// `cpus`.
pub static COMMAND: Command = Command {
    name: "cpus",
    summary: "processors, their nodes, frame caches and TLB shootdowns",
    flags: &[JSON],
    example: "cpus",
    effect: Effect::Reads,
    ..Command::NEW
};

static CPUS: Columns<Cpu> = Columns::new(&[
    right("CPU", |row, cell| cell(&row.cpu)),
    right("APIC ID", |row, cell| cell(&row.apic_id)),
    right("NODE", |row, cell| cell(&row.node)),
    left("STATE", |row, cell| cell(&row.state)),
    right("ALLOCATIONS", |row, cell| cell(&row.allocations)),
    right("FREES", |row, cell| cell(&row.frees)),
    right("CACHED", |row, cell| cell(&Size(row.cached_pages * PAGE_SIZE))),
    right("SENT", |row, cell| cell(&row.shootdowns_sent)),
    right("RECEIVED", |row, cell| cell(&row.shootdowns_received)),
]);

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let mut rows = |each: &mut dyn FnMut(&Cpu)| {
        for cpu in cpus::all() {
            let stats = core().cpu_stats(cpu.number);
            each(&Cpu {
                cpu: cpu.number.index() as u32,
                apic_id: cpu.apic_id.0,
                node: cpu.node.0,
                state: Word::of(&cpu.state),
                allocations: stats.allocations,
                frees: stats.frees,
                cached_pages: stats.cached_pages,
                shootdowns_sent: cpu.sent,
                shootdowns_received: cpu.received,
            });
        }
    };
    Ok(output::list(&mut Out, invocation.format(), &CPUS, &mut rows)?)
}
