//! A second CPU between any two steps of the first: a program that runs before each word that the core stores, each page
//! that it copies, and each flush.
//!
//! Everything runs in one thread, so that each run is the same. Neighbours: `SimMachine` calls `step` before it acts.
//! Other ways to have several CPUs are host threads ([`super::run_as`]), and a scheduler
//! ([`carapace_lock::schedule`]), to which a step is a point where another CPU may run.

use core::cell::{Cell, RefCell};
use std::rc::Rc;

use carapace_lock::schedule;

use super::run_as;
use crate::machine::CpuNr;

/// A program of another CPU.
type Program = (CpuNr, Rc<dyn Fn()>);

std::thread_local! {
    static OTHER: RefCell<Option<Program>> = const { RefCell::new(None) };
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, and `other` as CPU `cpu` between any two steps of it on this thread.
pub fn between_steps<T>(cpu: CpuNr, other: Rc<dyn Fn()>, work: impl FnOnce() -> T) -> T {
    OTHER.replace(Some((cpu, other)));
    let result = work();
    OTHER.replace(None);
    result
}

/// Runs the other CPU's program, unless it is what runs.
pub(super) fn step() {
    schedule::step();
    let Some((cpu, other)) = OTHER.with_borrow(Clone::clone) else { return };
    // Not while a failed test unwinds: a second panic would hide the first.
    if !std::thread::panicking() && !RUNS.replace(true) {
        run_as(cpu, || other());
        RUNS.set(false);
    }
}
