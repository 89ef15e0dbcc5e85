//! Every interleaving of the main program and its interrupt handlers, by the model checker loom.
//!
//! ```text
//!  main program (a thread)                handlers (threads)
//!  Cpu::off: from here on none begins     begins when interrupts are on and no other runs; they are off meanwhile
//!  Cpu::on, Cpu::sleep: one may begin     ends: interrupts are on again
//! ```
//!
//! A handler runs to completion before the main program continues: the main program waits for it wherever it switches
//! interrupts, and at [`point`]s in between. If the main program sleeps when no handler is left to wake it, loom
//! reports a deadlock.

use carapace_irq::{Cpu, IrqMutex, WakeFlag};
use carapace_lock::Rank;
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread::{self, ThreadId};

/// The one CPU.
#[derive(Default)]
struct State {
    off: bool,
    /// The thread whose handler runs.
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

/// Waits until `ready`. An interrupted main program waits here, too.
fn when(ready: impl Fn(&State) -> bool) -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap();
    while !ready(&state) {
        state = CHANGED.wait(state).unwrap();
    }
    state
}

/// The state, once no handler runs other than the caller.
fn in_turn() -> MutexGuard<'static, State> {
    when(|state| state.handler.is_none() || state.is_handler())
}

/// A point in the main program where a handler may run.
fn point() {
    drop(in_turn());
}

/// The CPU as the main program and the handlers see it: in a handler interrupts are off.
struct Simulated;

impl Cpu for Simulated {
    // loom runs its threads in turn on one.
    const CHECKS_LOCK_ORDER: bool = false;

    fn number() -> usize {
        0
    }

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

/// An interrupt: its handler runs when interrupts are on and no other handler runs, and to completion.
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

/// Runs `program` in every interleaving with at most three preemptions: according to loom's authors that finds nearly
/// every fault, and it takes a second instead of hours.
fn every_interleaving(program: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(program);
}

/// Proves that the main loop sees what the handlers of two interrupts recorded, whenever they arrive: it never sleeps
/// with work to do. Fails (with a deadlock) when the flag is read before interrupts are off, or cleared after the work.
#[test]
fn no_wake_up_is_lost() {
    every_interleaving(|| {
        let shared = Arc::new((WakeFlag::new(), IrqMutex::<u32, Simulated>::new(Rank::Log, 0)));
        let device = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for _ in 0..2 {
                    interrupt(|| {
                        *shared.1.try_lock().expect("a deadlock") += 1;
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

/// Proves that `before` runs with interrupts off, and only if the CPU goes to sleep, and that interrupts are on
/// afterwards in any case. Fails when the alarm is set too late to end the sleep.
#[test]
fn the_alarm_is_set_before_sleeping() {
    every_interleaving(|| {
        let wake = WakeFlag::new();
        Simulated::off();
        wake.sleep_unless_awake::<Simulated>(|| panic!("it is awake"));
        assert!(Simulated::are_on());
        assert!(wake.take());
        let alarm = Arc::new(IrqMutex::<Option<thread::JoinHandle<()>>, Simulated>::new(Rank::Log, None));
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

/// Proves that a handler never finds a lock held, wherever it interrupts, also with two nested locks, and that
/// interrupts are on again once the last lock is released, and no sooner. Fails when a lock is taken before interrupts
/// are off, or interrupts are on before it is released.
#[test]
fn no_handler_finds_a_held_lock() {
    every_interleaving(|| {
        let shared = Arc::new((
            IrqMutex::<u32, Simulated>::new(Rank::SerialLine, 0),
            IrqMutex::<u32, Simulated>::new(Rank::SerialOutput, 0),
        ));
        let handler = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                interrupt(|| {
                    let (first, second) = (shared.0.try_lock(), shared.1.try_lock());
                    let (Some(mut first), Some(mut second)) = (first, second) else { panic!("a deadlock") };
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
        assert!(Simulated::are_on(), "the interrupt flag was not restored");
        drop(held);
        assert_eq!((*shared.0.lock(), *shared.1.lock()), (11, 11));
    });
}
