//! The driver of virtio-mem against a device that lies: queue, bytes and machine together, and the queue of reports.
//!
//! ```text
//!  each byte   one step: serve the request in flight as the standard wants, with a wrong response, with garbage in the used
//!              ring or not at all; another requested size; memory used or freed; time; a refusal of the memory core
//!  at the end  the device behaves: whatever it did not lie about is plugged in both, or in none
//! ```
#![no_main]

use carapace_virtio::machine::{Action, Evacuated, Machine, Memory};
use carapace_virtio::mem::{Config, REQUEST_BYTES, Response, Run};
use carapace_virtio::queue::{AVAILABLE, Page, Queue, USED};
use carapace_virtio::reporting::{self, ReportQueue};
use carapace_virtio::sim::{BASE, BLOCK, Core, blocks};
use carapace_virtio::{mem, pci};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

const BLOCKS: u64 = 128;
/// Where in the page the request and the response lie.
const REQUEST: u16 = 1024;
const RESPONSE: u16 = 1088;

/// The page that driver and device share.
struct Bytes([u8; 4096]);

impl Page for Bytes {
    fn read(&self, at: u16) -> u8 {
        self.0[usize::from(at)]
    }
    fn read_u16(&self, at: u16) -> u16 {
        u16::from_le_bytes([self.0[usize::from(at)], self.0[usize::from(at) + 1]])
    }
    fn write(&mut self, at: u16, value: u8) {
        self.0[usize::from(at)] = value;
    }
    fn write_u16(&mut self, at: u16, value: u16) {
        self.0[usize::from(at)..][..2].copy_from_slice(&value.to_le_bytes());
    }
}

/// The device.
#[derive(Default)]
struct Device {
    plugged: BTreeSet<u64>,
    requested: u64,
    /// Requests that it has seen in the available ring.
    seen: u16,
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

    /// The request in the queue, if there is one that was not used.
    fn pending(&self, page: &Bytes) -> Option<[u8; REQUEST_BYTES]> {
        (page.read_u16(AVAILABLE + 2) != self.seen).then(|| {
            let at = usize::from(REQUEST);
            page.0[at..at + REQUEST_BYTES].try_into().expect("so many bytes")
        })
    }

    /// Does what a request wants, as the standard says; the type of the response.
    fn serve(&mut self, request: &[u8; REQUEST_BYTES]) -> u16 {
        let kind = u16::from_le_bytes([request[0], request[1]]);
        let base = u64::from_le_bytes(request[8..16].try_into().expect("eight bytes"));
        let count = u64::from(u16::from_le_bytes([request[16], request[17]]));
        let run = Run { base, bytes: count * BLOCK };
        let inside = kind == 2 || base >= BASE && base + run.bytes <= BASE + BLOCKS * BLOCK && count > 0;
        assert!(inside && base.is_multiple_of(BLOCK), "a request that the device must not get: {run:?}");
        match kind {
            0 if blocks(run).any(|block| self.plugged.contains(&block)) => 3,
            0 if (self.plugged.len() as u64 + count) * BLOCK > self.requested => 1,
            0 => {
                self.plugged.extend(blocks(run));
                0
            }
            1 if !blocks(run).all(|block| self.plugged.contains(&block)) => 3,
            1 => {
                blocks(run).for_each(|block| assert!(self.plugged.remove(&block)));
                0
            }
            2 => {
                self.plugged.clear();
                0
            }
            kind => panic!("request of type {kind}"),
        }
    }

    /// Puts a response into the used ring.
    fn answer(&mut self, page: &mut Bytes, kind: u16, id: u8, length: u8, skip: u16) {
        let turn = page.read_u16(USED + 2);
        let slot = usize::from(USED + 4 + (turn % 4) * 8);
        page.0[slot..slot + 8].copy_from_slice(&[id, 0, 0, 0, length, 0, 0, 0]);
        page.write_u16(RESPONSE, kind);
        page.write_u16(USED + 2, turn.wrapping_add(1).wrapping_add(skip));
        self.seen = page.read_u16(AVAILABLE + 2);
    }
}

/// Everything together.
struct World {
    machine: Machine<&'static str>,
    queue: Queue,
    page: Bytes,
    core: Core,
    device: Device,
    now: u64,
}

impl World {
    /// Calls the machine until it waits.
    fn turn(&mut self) {
        for _ in 0..1000 {
            let response = self.queue.take(&self.page);
            let config = self.device.config();
            match self.machine.next(&mut self.core, &config, response, self.now) {
                Action::Send(request) => {
                    self.queue.submit(&mut self.page, &request.encode(BLOCK));
                    return;
                }
                Action::Evacuate(_) => {
                    self.machine.evacuated(&self.core, &config, Evacuated::None, self.now);
                }
                Action::Wait | Action::WaitUntil(_) => return,
            }
        }
        panic!("it never waits: {:?}", self.machine);
    }

    fn step(&mut self, byte: u8) {
        let (what, argument) = (byte & 15, u64::from(byte >> 4));
        let pending = self.device.pending(&self.page);
        match (what, pending) {
            (0..=3, Some(request)) => {
                let kind = self.device.serve(&request);
                self.device.answer(&mut self.page, kind, 0, 10, 0);
            }
            // A refusal: the device has done nothing.
            (4..=6, Some(_)) => self.device.answer(&mut self.page, u16::from(what) - 3, 0, 10, 0),
            // Garbage, after the request was served or without.
            (7 | 8, Some(request)) => {
                if what == 7 {
                    self.device.serve(&request);
                }
                let (id, length) = [(0, 9), (1, 10), (0, 10), (255, 255)][argument as usize % 4];
                let kind = if (id, length) == (0, 10) { 4 + argument as u16 } else { 0 };
                self.device.answer(&mut self.page, kind, id, length, 0);
            }
            (9, _) => self.device.requested = argument * 9 * BLOCK,
            (10, _) => {
                let nth = self.core.plugged.iter().nth(argument as usize * 5).copied();
                self.core.used.extend(nth);
            }
            (11, _) => {
                self.core.used.clear();
                self.core.version += 1;
            }
            (12, _) => self.core.refuse = argument % 2 == 1,
            _ => self.now += 1 << (20 + argument),
        }
        self.turn();
    }
}

fuzz_target!(|input: &[u8]| {
    // Decoders of anything.
    if let Some(bytes) = input.first_chunk() {
        let config = Config::decode(bytes);
        if config.check().is_ok() {
            assert!(config.limit() <= config.base + config.region);
        }
    }
    if let Some(bytes) = input.first_chunk() {
        let _response: Response = Response::decode(bytes);
    }
    let _places = pci::find(&mut |at| {
        let word = input.get(usize::from(at)..).and_then(|rest| rest.first_chunk());
        word.map_or(0, |word| u32::from_le_bytes(*word))
    });
    let _most = mem::Request::most_bytes(u64::from(input.first().copied().unwrap_or(0)));
    // The queue of reports, with any used ring.
    let mut page = Bytes([0; 4096]);
    let mut reports = ReportQueue::new(&mut page, u16::from(input.first().copied().unwrap_or(0)));
    for pair in input.chunks_exact(2).take(64) {
        let _sent = reports.submit(&mut page, &[Run { base: 0, bytes: 1 + u64::from(pair[0]) }]);
        page.write_u16(reporting::USED + 4 + u16::from(pair[0] & 31) * 8, u16::from(pair[1] >> 4));
        page.write_u16(reporting::USED + 2, u16::from(pair[1] & 15));
        let _used = reports.take(&page);
    }
    // Queue and machine.
    let mut page = Bytes([0xee; 4096]);
    let queue = Queue::new(&mut page, 0x7000);
    let (machine, device) = (Machine::new(BLOCK, BLOCK), Device::default());
    let mut world = World { machine, queue, page, core: Core::default(), device, now: 0 };
    input.iter().for_each(|&byte| world.step(byte));
    // From now on the device behaves, and the host asks once more.
    world.core.refuse = false;
    for requested in [40, 41] {
        world.device.requested = requested * BLOCK;
        world.core.used.clear();
        for _ in 0..400 {
            world.core.version += 1;
            world.step(0xff);
            world.step(0);
        }
    }
    assert_eq!(world.core.plugged, world.device.plugged, "{:?}", world.machine);
    assert_eq!(world.core.plugged(), world.device.requested, "{:?}", world.machine);
});
