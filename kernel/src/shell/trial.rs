//! Commands that set what becomes of new memory, or make things go wrong to see that they go right:
//! `policy`, `fail`, `stress`, `poison`, `misuse`.

use super::console::Out;
use super::{Failure, Outcome};
use crate::memory::misuse::Misuse;
use crate::memory::{ballast, core, heap};
use ::core::fmt::Write;
use carapace_cli::args::Invocation;
use carapace_cli::commands::{MISUSES, POLICIES, STEPS};
use carapace_cli::human::Size;
use carapace_cli::number;
use carapace_cli::report::{self, Format};
use carapace_cli::rows::{FailRow, MisuseRow, PoisonRow, PolicyRow, StressRow, Word};
use carapace_mm::fault_injection::Step;
use carapace_mm::info::Policy;
use carapace_mm::poison::Mode;

// The words that completion offers are the memory core's.
const _: () = {
    assert!(POLICIES.len() == Policy::ALL.len() && STEPS.len() == Step::ALL.len());
    let mut place = 0;
    while place < POLICIES.len() {
        assert!(same(POLICIES[place], Policy::ALL[place].name()));
        place += 1;
    }
    let mut place = 0;
    while place < STEPS.len() {
        assert!(same(STEPS[place], Step::ALL[place].name()));
        place += 1;
    }
    assert!(MISUSES.len() == Misuse::ALL.len());
    let mut place = 0;
    while place < MISUSES.len() {
        assert!(same(MISUSES[place], Misuse::ALL[place].name()));
        place += 1;
    }
};

/// Whether two words are the same, for proofs at compile time.
pub const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// `policy [online|offline|movable|kernel] [-J]`
pub fn policy(invocation: &Invocation<'_>) -> Outcome {
    if let Some(name) = invocation.operand(0) {
        let unknown =
            || Failure::of(format_args!("there is no policy '{name}': online, offline, movable or kernel"));
        core().set_policy(Policy::named(name).ok_or_else(unknown)?);
    }
    let policy = core().policy();
    let means = match policy {
        Policy::Offline => "is added offline: none of its frames can be allocated",
        Policy::Online(carapace_mm::info::Zone::Any) => "goes online for every kind of allocation",
        Policy::Online(carapace_mm::info::Zone::Movable) => "goes online for movable allocations only",
        Policy::Online(carapace_mm::info::Zone::Kernel) => "goes online for the kernel's own allocations too",
    };
    match invocation.format() {
        Format::Json => report::object(&mut Out, &PolicyRow { policy: policy.name() })?,
        Format::Table => writeln!(Out, "{policy}: memory that is plugged {means}")?,
    }
    Ok(())
}

/// `fail [STEP [N]] [-J]`
pub fn fail(invocation: &Invocation<'_>) -> Outcome {
    let mut only = None;
    if let Some(name) = invocation.operand(0) {
        let unknown =
            || Failure::of(format_args!("there is no step '{name}' that can fail (fail alone lists them)"));
        let step = Step::named(name).ok_or_else(unknown)?;
        let times = number::integer(invocation.operand(1).unwrap_or("1"), "a number of times");
        let times = u32::try_from(times.map_err(Failure::of)?);
        core().inject(step, times.map_err(|_| Failure::of("at most 4294967295 times"))?);
        only = Some(step);
    }
    let row = |step: Step| {
        let (of, times) = (Word::of(&step.operation()), core().injections_left(step));
        FailRow { of, step: step.name(), times }
    };
    match (only, invocation.format()) {
        (Some(step), Format::Json) => report::object(&mut Out, &row(step))?,
        (Some(step), Format::Table) => {
            let FailRow { of, step, times } = row(step);
            match times {
                0 => writeln!(Out, "no {of} is made to fail at {step}")?,
                1 => writeln!(Out, "the next {of} fails at {step}")?,
                _ => writeln!(Out, "the next {times} of {of} fail at {step}")?,
            }
        }
        (None, format) => {
            let mut rows =
                |tell: &mut dyn FnMut(&FailRow)| Step::ALL.iter().for_each(|&step| tell(&row(step)));
            report::list(&mut Out, format, &mut rows)?;
        }
    }
    Ok(())
}

/// `stress heap|off [-J]`
pub fn stress(invocation: &Invocation<'_>) -> Outcome {
    let (held, freed) = match invocation.operand(0) {
        Some("heap") => (ballast::fill(), 0),
        Some("off") => (0, ballast::drop_all()),
        other => {
            let other = other.unwrap_or_default();
            return Err(Failure::of(format_args!("'{other}' is nothing to stress: heap, or off to end it")));
        }
    };
    let heap::HeapStats { left, reserve_bytes, .. } = heap::stats();
    match invocation.format() {
        Format::Json => {
            report::object(&mut Out, &StressRow { held_bytes: held, left_bytes: left, reserve_bytes })?;
        }
        Format::Table => {
            match held {
                0 => write!(Out, "{} given back", Size(freed))?,
                held => write!(Out, "{} held until 'stress off'", Size(held))?,
            }
            writeln!(Out, "; {} left, and {} of reserve for hotplug", Size(left), Size(reserve_bytes))?;
        }
    }
    Ok(())
}

/// `poison [on|off] [-J]`
pub fn poison(invocation: &Invocation<'_>) -> Outcome {
    match invocation.operand(0) {
        None => {}
        Some("on") => core().set_poison(Mode::On),
        Some("off") => core().set_poison(Mode::Off),
        Some(other) => return Err(Failure::of(format_args!("'{other}' is neither on nor off"))),
    }
    let info = core().poison_info();
    let row = PoisonRow {
        on: info.mode == Mode::On,
        watched_pages: info.watched_pages,
        damaged_pages: info.damaged_pages,
    };
    match invocation.format() {
        Format::Json => report::object(&mut Out, &row)?,
        Format::Table => {
            let on = if row.on { "on" } else { "off" };
            let (watched, damaged) = (row.watched_pages, row.damaged_pages);
            writeln!(Out, "{on}; {watched} freed pages are watched, {damaged} were found written to")?;
        }
    }
    Ok(())
}

/// `misuse WHAT [-J]`
pub fn misuse(invocation: &Invocation<'_>) -> Outcome {
    let name = invocation.operand(0).unwrap_or_default();
    let misuse = Misuse::named(name).ok_or_else(|| {
        let usage = invocation.command.usage;
        Failure::of(format_args!("there is no misuse '{name}'; usage: {usage}"))
    })?;
    let pfn = misuse.commit().map_err(Failure::of)?.0;
    match invocation.format() {
        Format::Json => report::object(&mut Out, &MisuseRow { pfn })?,
        Format::Table => writeln!(Out, "frame {pfn:#x} was written to while it was free")?,
    }
    Ok(())
}
