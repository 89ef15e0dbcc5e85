//! A scheduler for CPUs that run in turn on one thread: a seed decides at each point (each access to the machine, each
//! lock, each wait) whether another one runs, so that a run can be repeated.
//!
//! ```text
//!  at random    another CPU runs with a probability that the seed decides; any one
//!  by priority  the CPU with the highest priority runs, until one of a few points at which its priority becomes the
//!               lowest, or until it waits (probabilistic concurrency testing: finds rare orders of a few steps)
//! ```
//!
//! An access is one step and is seen by all CPUs at once: for orders of memory there is loom. Shuttle would do the same,
//! but needs second versions of other crates, and its own threads and atomics in the core.

use core::cell::RefCell;
use std::any::Any;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex as HostMutex};
use std::vec::Vec;

use carapace_lock::exchange;
use carapace_lock::schedule::{Point, schedule_by};
use generator::Gn;

use super::threads::Random;
use crate::machine::CpuNr;
use crate::sim::run_as;

/// A CPU's stack, in words: 4 MiB.
const STACK: usize = 1 << 19;
/// So many waits in a row, without a step in between, are a deadlock.
const MAX_WAITS: u32 = 20_000;
/// So many steps have no end: a CPU tries again for ever.
const MAX_STEPS: u64 = 30_000_000;

/// How the next CPU is chosen.
#[derive(Debug)]
enum Choice {
    /// Another CPU runs after one of so many steps.
    Random { every: u64 },
    /// By priority; of the CPUs, and the points that change one.
    Priority { of: Vec<i64>, lowest: i64, changes: Vec<u64> },
}

#[derive(Debug)]
struct State {
    random: Random,
    choice: Choice,
    current: usize,
    alive: Vec<usize>,
    steps: u64,
    waits: u32,
}

std::thread_local! {
    static STATE: RefCell<Option<State>> = const { RefCell::new(None) };
}

/// Whether another CPU runs now.
fn is_turn_over(state: &mut State, point: Point) -> bool {
    state.steps += 1;
    assert!(state.steps < MAX_STEPS, "no end");
    state.waits = if point == Point::Wait { state.waits + 1 } else { 0 };
    assert!(state.waits < MAX_WAITS, "a deadlock: all CPUs wait");
    match &mut state.choice {
        Choice::Random { every } => point == Point::Wait || state.random.below(*every) == 0,
        Choice::Priority { of, lowest, changes } => {
            if point == Point::Wait || changes.last() == Some(&state.steps) {
                changes.pop_if(|change| *change == state.steps);
                *lowest -= 1;
                of[state.current] = *lowest;
                return true;
            }
            false
        }
    }
}

impl State {
    /// `steps` is how many there will be, about.
    fn new(seed: u64, cpus: usize, steps: u64) -> State {
        let mut random = Random::new(seed);
        let choice = match random.below(2) {
            0 => Choice::Random { every: [1, 3, 10, 50, 300][random.below(5) as usize] },
            _ => {
                let of = (0..cpus).map(|_| random.below(1 << 32) as i64).collect();
                let mut changes: Vec<u64> =
                    (0..random.below(30)).map(|_| 1 + random.below(steps.max(1))).collect();
                changes.sort_by_key(|change| core::cmp::Reverse(*change));
                changes.dedup();
                Choice::Priority { of, lowest: 0, changes }
            }
        };
        State { random, choice, current: 0, alive: (0..cpus).collect(), steps: 0, waits: 0 }
    }

    /// The CPU that runs next.
    fn next(&mut self) -> usize {
        let next = match &self.choice {
            Choice::Random { .. } => self.random.below(self.alive.len() as u64) as usize,
            Choice::Priority { of, .. } => {
                let best = (0..self.alive.len()).max_by_key(|&place| of[self.alive[place]]);
                best.expect("a CPU is left")
            }
        };
        self.current = self.alive[next];
        self.current
    }
}

#[expect(deprecated, reason = "the coroutine's scope is far up the stack")]
fn point(point: Point) {
    let over = STATE.with_borrow_mut(|state| state.as_mut().is_some_and(|state| is_turn_over(state, point)));
    if over {
        generator::yield_with(());
    }
}

/// What a CPU does.
pub(super) type Program<'a> = Box<dyn FnOnce() + Send + 'a>;

/// Runs a program on each CPU, from CPU 0 on, in an order that `seed` decides. Returns the number of steps.
///
/// # Panics
/// When a program does, and when all wait. The seed is printed.
pub(super) fn run(seed: u64, steps: u64, programs: Vec<Program<'_>>) -> u64 {
    let failed: Arc<HostMutex<Option<Box<dyn Any + Send>>>> = Arc::default();
    let count = programs.len();
    let mut cpus: Vec<_> = programs
        .into_iter()
        .map(|program| {
            let failed = failed.clone();
            let coroutine = Gn::<()>::new_opt(STACK, move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(program)) {
                    failed.lock().unwrap().get_or_insert(panic);
                }
            });
            (coroutine, 0)
        })
        .collect();
    STATE.set(Some(State::new(seed, count, steps)));
    schedule_by(Some(point));
    loop {
        let next = STATE.with_borrow_mut(|state| {
            state.as_mut().filter(|state| !state.alive.is_empty()).map(|state| (state.next(), state.steps))
        });
        let Some((cpu, _)) = next else { break };
        let (coroutine, held) = &mut cpus[cpu];
        let outside = exchange(*held);
        run_as(CpuNr::new(cpu).expect("few CPUs"), || coroutine.resume());
        *held = exchange(outside);
        if coroutine.is_done() {
            STATE.with_borrow_mut(|state| {
                state.as_mut().expect("it runs").alive.retain(|&other| other != cpu);
            });
        }
        if let Some(panic) = failed.lock().unwrap().take() {
            schedule_by(None);
            std::eprintln!("seed {seed}: CPU {cpu} failed; MM_SEED={seed} repeats it");
            // The others hold locks: they never end.
            core::mem::forget(cpus);
            resume_unwind(panic);
        }
    }
    schedule_by(None);
    STATE.take().map_or(0, |state| state.steps)
}
