//! The machine against a device that follows the standard, and against one that lies.

use super::*;
use crate::sim::{BASE, BLOCK, Core, blocks};
use proptest::prelude::*;
use std::collections::BTreeSet;

const BLOCKS: u64 = 256;

/// A device of the standard, which can be made to refuse.
#[derive(Default)]
struct Device {
    plugged: BTreeSet<u64>,
    requested: u64,
    requests: u64,
}

impl Device {
    fn config(&self) -> Config {
        Config {
            block: BLOCK,
            node: 0,
            base: BASE,
            region: BLOCKS * BLOCK,
            usable: BLOCKS * BLOCK,
            plugged: self.plugged.len() as u64 * BLOCK,
            requested: self.requested,
        }
    }

    fn serve(&mut self, request: Request) -> Response {
        self.requests += 1;
        match request {
            Request::Plug(run) => {
                if blocks(run).any(|block| self.plugged.contains(&block)) {
                    return Response::Error;
                }
                if self.plugged.len() as u64 * BLOCK + run.bytes > self.requested {
                    return Response::Nack;
                }
                self.plugged.extend(blocks(run));
            }
            Request::Unplug(run) => {
                if !blocks(run).all(|block| self.plugged.contains(&block)) {
                    return Response::Error;
                }
                blocks(run).for_each(|block| assert!(self.plugged.remove(&block)));
            }
            Request::UnplugAll => self.plugged.clear(),
        }
        Response::Ack
    }
}

/// Runs until the machine waits. `answer` may replace the device's response, after (`true`) or instead of serving.
fn settle(
    machine: &mut Machine<&'static str>,
    core: &mut Core,
    device: &mut Device,
    now: &mut u64,
    mut answer: impl FnMut(Request) -> Option<(Response, bool)>,
) -> Action {
    let mut response = None;
    for _ in 0..10_000 {
        match machine.next(core, &device.config(), response.take(), *now) {
            Action::Send(request) => {
                response = Some(match answer(request) {
                    Some((lie, true)) => {
                        device.serve(request);
                        lie
                    }
                    Some((lie, false)) => lie,
                    None => device.serve(request),
                });
            }
            Action::Evacuate(_) => machine.evacuated(core, &device.config(), Evacuated::None, *now),
            action => return action,
        }
    }
    panic!("it never rests: {machine:?}")
}

/// Proves that the requested size is reached up and down with no request too many, that what is in use stays, and that
/// it goes once memory changed. Fails when the machine repeats refused requests or forgets to look again.
#[test]
fn sizes_are_reached() {
    let (mut machine, mut core, mut now) = (Machine::new(BLOCK, BLOCK), Core::default(), 0);
    let mut device = Device { requested: 200 * BLOCK, ..Device::default() };
    device.plugged.insert(BASE / BLOCK + 3);
    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
    assert_eq!(
        (device.requests, core.plugged.len()),
        (1 + 4, 200),
        "UNPLUG_ALL, then four runs of 64 blocks"
    );
    assert_eq!(core.plugged, device.plugged);
    core.used.insert(BASE / BLOCK + 7);
    device.requested = 0;
    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
    assert_eq!((core.plugged.len(), machine.trouble()), (1, Some(&Trouble::InUse)));
    let before = device.requests;
    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
    assert_eq!(device.requests, before);
    core.used.clear();
    core.version += 1;
    assert!(matches!(settle(&mut machine, &mut core, &mut device, &mut now, |_| None), Action::WaitUntil(_)));
    now += RETRY_PAUSE;
    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
    assert_eq!((core.plugged.len(), device.plugged.len(), machine.trouble()), (0, 0, None));
}

/// Proves for each response at each of the first requests, given before or after the device served it, that core and
/// device agree at rest on what is plugged, and that the size is reached once the device behaves and the host asks again.
/// Fails when a refused run is lost, or used although the device may not have it.
#[test]
fn every_response_at_every_request() {
    for lie in [Response::Ack, Response::Nack, Response::Busy, Response::Error, Response::Garbage] {
        for served in [false, true] {
            // An ACK for what was not done, or another answer than ACK for what was, is a device against the standard: only
            // garbage leaves the outcome open.
            if served != (lie == Response::Ack) && !(served && lie == Response::Garbage) {
                continue;
            }
            for at in 0..12 {
                let (mut machine, mut core, mut now) = (Machine::new(BLOCK, BLOCK), Core::default(), 0);
                let mut device = Device { requested: 200 * BLOCK, ..Device::default() };
                let mut count = 0;
                for requested in [200, 150, 0, 90] {
                    device.requested = requested * BLOCK;
                    settle(&mut machine, &mut core, &mut device, &mut now, |_| {
                        count += 1;
                        (count == at + 1).then_some((lie, served))
                    });
                    assert_eq!(core.plugged, device.plugged, "{lie:?} {served} {at}");
                    now += LONGEST_PAUSE;
                    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
                    assert_eq!(core.plugged, device.plugged, "{lie:?} {served} {at}");
                }
                device.requested = 91 * BLOCK;
                settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
                assert_eq!((core.plugged.len(), device.plugged.len()), (91, 91), "{lie:?} {served} {at}");
            }
        }
    }
}

/// Proves that a run that the core refuses is unplugged again, and plugged when the host asks next. Fails when the device
/// keeps memory that nobody uses.
#[test]
fn refused_memory_goes_back() {
    let (mut machine, mut core, mut now) = (Machine::new(BLOCK, BLOCK), Core::default(), 0);
    let mut device = Device { requested: 10 * BLOCK, ..Device::default() };
    core.refuse = true;
    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
    assert_eq!((device.plugged.len(), device.requests), (0, 2));
    assert_eq!(machine.trouble(), Some(&Trouble::Memory("refused")));
    core.refuse = false;
    device.requested = 11 * BLOCK;
    settle(&mut machine, &mut core, &mut device, &mut now, |_| None);
    assert_eq!((core.plugged.len(), machine.trouble()), (11, None));
}

proptest! {
    /// Proves that the machine rests against any answers, sizes and refusals, and never plugs a block twice. Fails when a
    /// sequence of answers makes it loop or panic.
    #[test]
    fn any_device(
        lies in proptest::collection::vec((0u8..12, any::<bool>()), 0..200),
        sizes in proptest::collection::vec((0u64..300, any::<bool>(), any::<u64>()), 1..20),
    ) {
        let (mut machine, mut core, mut now) = (Machine::new(BLOCK, BLOCK), Core::default(), 0);
        let mut device = Device::default();
        let mut lies = lies.into_iter();
        for (requested, refuse, time) in sizes {
            (device.requested, core.refuse) = (requested * BLOCK, refuse);
            now += time % (3 * LONGEST_PAUSE);
            core.version += time % 2;
            settle(&mut machine, &mut core, &mut device, &mut now, |_| {
                let (kind, served) = lies.next()?;
                let lie = match kind {
                    0 => Response::Ack,
                    1 => Response::Nack,
                    2 => Response::Busy,
                    3 => Response::Error,
                    4 => Response::Garbage,
                    _ => return None,
                };
                Some((lie, served))
            });
        }
    }
}

/// Proves that a refusal which comes after the host asked for another size does not hold up that one: a late NACK is about
/// the size before. Fails when the refusal is taken for an answer to the new size.
#[test]
fn a_late_refusal_is_about_the_size_before() {
    for late in [Response::Nack, Response::Error, Response::Busy] {
        let (mut machine, mut core) = (Machine::new(BLOCK, BLOCK), Core::default());
        let mut device = Device { requested: 8 * BLOCK, ..Device::default() };
        let action = machine.next(&mut core, &device.config(), None, 0);
        assert!(matches!(action, Action::Send(Request::Plug(_))), "{action:?}");
        device.requested = 2 * BLOCK;
        assert_eq!(machine.next(&mut core, &device.config(), None, 0), Action::Wait);
        let action = machine.next(&mut core, &device.config(), Some(late), 0);
        let Action::Send(request) = action else { panic!("{late:?}: {action:?}") };
        let response = device.serve(request);
        machine.next(&mut core, &device.config(), Some(response), 0);
        settle(&mut machine, &mut core, &mut device, &mut 0, |_| None);
        assert_eq!(core.plugged(), 2 * BLOCK, "{late:?}");
    }
}
