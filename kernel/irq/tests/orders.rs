//! The orders in which the main program and its interrupt handlers can meet, by the model checker loom.
//!
//! ```text
//!  main program (a thread)                handlers (threads)
//!  Cpu::off: from here on none begins     begins when interrupts are on and no other runs; they are off meanwhile
//!  Cpu::on, Cpu::sleep: one may begin     ends: interrupts are on again
//! ```
//!
//! A handler that has begun ends before the main program gets on: that looks whether one runs wherever it switches
//! interrupts, and at [`point`]s in between. A main program that sleeps when no handler is left to wake it is a
//! deadlock, which loom reports.

use carapace_irq::{Cpu, IrqMutex, Wake};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread::{self, ThreadId};

/// The one CPU.
#[derive(Default)]
struct State {
    off: bool,
    /// Whose handler runs.
    handler: Option<ThreadId>,
    served: u32,
}

impl State {
    fn is_handler(&self) -> bool {
        self.handler == Some(thread::current().id())
    }
}

loom::lazy_static! {
    static ref STATE: Mutex<State> = Mutex::new(State::default());
    static ref CHANGED: Condvar = Condvar::new();
}

/// Waits until `ready`. A main program that is interrupted comes here as well.
fn when(ready: impl Fn(&State) -> bool) -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap();
    while !ready(&state) {
        state = CHANGED.wait(state).unwrap();
    }
    state
}

/// The state, when no handler runs but the one that asks.
fn in_turn() -> MutexGuard<'static, State> {
    when(|state| state.handler.is_none() || state.is_handler())
}

/// A place in the main program where a handler may come between.
fn point() {
    drop(in_turn());
}

/// The CPU as the main program and handlers see it: for these, interrupts are off until they end.
struct Simulated;

impl Cpu for Simulated {
    fn are_on() -> bool {
        let state = in_turn();
        !state.off && !state.is_handler()
    }

    fn off() {
        let mut state = in_turn();
        if !state.is_handler() {
            state.off = true;
        }
    }

    fn on() {
        let mut state = in_turn();
        assert!(!state.is_handler(), "a handler is not interrupted");
        state.off = false;
        drop(state);
        CHANGED.notify_all();
        point();
    }

    fn sleep() {
        let mut state = in_turn();
        state.off = false;
        let before = state.served;
        drop(state);
        CHANGED.notify_all();
        drop(when(|state| state.handler.is_none() && state.served > before));
    }
}

/// An interrupt: its handler runs when it may, and to its end.
fn interrupt(handler: impl FnOnce()) {
    let mut state = when(|state| !state.off && state.handler.is_none());
    state.handler = Some(thread::current().id());
    drop(state);
    handler();
    let mut state = STATE.lock().unwrap();
    state.handler = None;
    state.served += 1;
    drop(state);
    CHANGED.notify_all();
}

/// Runs `program` in every order with at most three switches that nobody waits for: what loom's authors found to be
/// enough for nearly every fault, in a second instead of hours.
fn every_order(program: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(program);
}

/// Proves that the main loop sees what the handler of each of two interrupts noted, whenever they come: it never sleeps with something
/// to do. Fails (with a deadlock) when the flag is looked at before interrupts are off, or cleared after the work.
#[test]
fn no_wake_up_is_slept_through() {
    every_order(|| {
        let shared = Arc::new((Wake::new(), IrqMutex::<u32, Simulated>::new(0)));
        let device = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for _ in 0..2 {
                    interrupt(|| {
                        *shared.1.try_lock().expect("it would wait for ever") += 1;
                        shared.0.wake();
                    });
                }
            })
        };
        let (wake, noted) = &*shared;
        let mut done = 0;
        while done < 2 {
            while wake.take() {
                point();
                done += core::mem::take(&mut *noted.lock());
                point();
            }
            if done < 2 {
                wake.sleep_unless_awake::<Simulated>(|| {});
            }
        }
        device.join().unwrap();
    });
}

/// Proves that what is to be done before sleeping is done then, with interrupts off, and only where it comes to sleeping;
/// and that interrupts are on afterwards in any case. Fails when the alarm is set too late to wake anybody.
#[test]
fn the_alarm_is_set_before_sleeping() {
    every_order(|| {
        let wake = Wake::new();
        Simulated::off();
        wake.sleep_unless_awake::<Simulated>(|| panic!("it is awake"));
        assert!(Simulated::are_on());
        assert!(wake.take());
        let alarm = Arc::new(IrqMutex::<Option<thread::JoinHandle<()>>, Simulated>::new(None));
        wake.sleep_unless_awake::<Simulated>(|| {
            assert!(!Simulated::are_on());
            // The only interrupt there is: without it the sleep has no end.
            *alarm.lock() = Some(thread::spawn(|| interrupt(|| {})));
        });
        assert!(Simulated::are_on());
        let rung = alarm.lock().take();
        rung.expect("it came to sleeping").join().unwrap();
    });
}

/// Proves that a handler finds no lock taken, wherever it comes, also of two locks that are held one in the other, and
/// that interrupts are on again when the last is free, and no sooner. Fails when a lock is taken before interrupts are
/// off, or they are on again before it is free.
#[test]
fn no_handler_meets_a_taken_lock() {
    every_order(|| {
        let shared = Arc::new((IrqMutex::<u32, Simulated>::new(0), IrqMutex::<u32, Simulated>::new(0)));
        let handler = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                interrupt(|| {
                    let (first, second) = (shared.0.try_lock(), shared.1.try_lock());
                    let (Some(mut first), Some(mut second)) = (first, second) else {
                        panic!("it would wait for ever")
                    };
                    assert_eq!(*first, *second, "the main program is half way");
                    *first += 10;
                    *second += 10;
                });
            })
        };
        {
            let mut first = shared.0.lock();
            point();
            *first += 1;
            {
                let mut second = shared.1.lock();
                point();
                *second += 1;
            }
            assert!(!Simulated::are_on(), "the outer lock is still held");
            assert!(shared.0.try_lock().is_none());
            assert!(!Simulated::are_on(), "a lock that was not had changes nothing");
            point();
        }
        point();
        handler.join().unwrap();
        assert!(Simulated::are_on());
        let held = shared.0.lock();
        Simulated::on();
        assert!(shared.0.try_lock().is_none());
        assert!(Simulated::are_on(), "as it was, not as the lock wants it");
        drop(held);
        assert_eq!((*shared.0.lock(), *shared.1.lock()), (11, 11));
    });
}
