//! Points at which another CPU may run, for host tests that run several CPUs on one thread, in turn.
//!
//! ```text
//!  a test      schedule_by(hook)
//!  Mutex, RwLock      step: the lock may be taken by another CPU first      wait: it is held
//!  the memory core    spin: wait                                            its simulated machine: step
//! ```
//!
//! Only in debug builds with feature `std`; elsewhere [`spin()`] is a spin-loop hint, and the rest is nothing.
//!
//! Neighbours: `mutex`, `rwlock`; the memory core's tests have the scheduler.

#[cfg(all(feature = "std", debug_assertions))]
pub use scheduled::{Point, is_scheduled, schedule_by, spin, step, until};
#[cfg(not(all(feature = "std", debug_assertions)))]
pub use unscheduled::{spin, step, until};

#[cfg(all(feature = "std", debug_assertions))]
mod scheduled {
    use core::cell::Cell;

    /// Why the hook is called.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Point {
        /// Another CPU may run now.
        Step,
        /// This CPU waits for another one.
        Wait,
    }

    std::thread_local! {
        static HOOK: Cell<Option<fn(Point)>> = const { Cell::new(None) };
    }

    /// Calls `hook` at each point on this thread from now on. `None` ends that.
    pub fn schedule_by(hook: Option<fn(Point)>) {
        HOOK.set(hook);
    }

    /// Whether this thread has a hook.
    pub fn is_scheduled() -> bool {
        HOOK.get().is_some()
    }

    fn call(point: Point) -> bool {
        let hook = HOOK.try_with(Cell::get).ok().flatten();
        // Not while a failed test unwinds.
        hook.filter(|_| !std::thread::panicking()).inspect(|hook| hook(point)).is_some()
    }

    /// Another CPU may run now.
    pub fn step() {
        call(Point::Step);
    }

    /// Waits a moment for another CPU.
    pub fn spin() {
        if !call(Point::Wait) {
            core::hint::spin_loop();
        }
    }

    /// Lets other CPUs run until `is_free`, if this thread has a hook. Then nothing comes between that and what follows.
    pub fn until(is_free: impl Fn() -> bool) {
        if call(Point::Step) {
            while !is_free() && call(Point::Wait) {}
        }
    }
}

#[cfg(not(all(feature = "std", debug_assertions)))]
mod unscheduled {
    /// Nothing.
    #[inline(always)]
    pub fn step() {}

    /// Waits a moment for another CPU.
    #[inline(always)]
    pub fn spin() {
        core::hint::spin_loop();
    }

    /// Nothing.
    #[inline(always)]
    pub fn until(_is_free: impl Fn() -> bool) {}
}
