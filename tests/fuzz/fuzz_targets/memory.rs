//! The memory core in use, on the simulated machine: what is done, and in which order, the bytes say. `carapace_mm::sim::model`
//! compares after each operation; a panic is a find.
//!
//! ```text
//!  byte 0: leaves of 1 GiB or not        then 4 bytes an operation: which | number and kind | amount (16 bits)
//! ```
#![no_main]

use carapace_mm::Mobility;
use carapace_mm::addr::{NodeId, Order};
use carapace_mm::fault_injection::Step;
use carapace_mm::info::{Policy, Zone};
use carapace_mm::machine::Support;
use carapace_mm::sim::model::{DIMMS, HandleUse, Model, NODES, Op, request};
use carapace_mm::vmalloc::{Request, Shape};
use libfuzzer_sys::fuzz_target;

/// Operations of one run: more only take longer.
const MOST: usize = 64;

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let mut model = Model::small(if first & 1 == 0 { Support::No } else { Support::Yes });
    for word in rest.chunks_exact(4).take(MOST) {
        model.run(&operation(word[0], word[1], u16::from_le_bytes([word[2], word[3]])));
    }
    model.finish();
});

fn operation(which: u8, how: u8, amount: u16) -> Op {
    let number = usize::from(how) % DIMMS;
    let pages = u64::from(amount);
    match which % 30 {
        0..=2 => Op::Plug(number),
        3 | 4 => Op::Remove(number),
        5 => Op::Offline(number, pages % 3),
        6..=8 => Op::Steps(how, 1 + pages % 9000),
        9 => Op::Abort,
        10 => Op::Online(
            number,
            [None, Some(Zone::Any), Some(Zone::Movable), Some(Zone::Kernel)][pages as usize % 4],
        ),
        11 => Op::Policy(Policy::ALL[usize::from(how) % Policy::ALL.len()]),
        12 => Op::Inject(Step::ALL[usize::from(how) % Step::ALL.len()]),
        13 => Op::SurpriseRemove(number),
        14..=16 => Op::Allocate(any_request(how, pages)),
        17 => Op::BeginAllocate(any_request(how, pages)),
        18 => Op::Grow(1 + pages % 9000),
        19 => Op::CancelGrowing,
        20 => Op::Free(usize::from(how)),
        21 => Op::AllocateBlock(Order(how % 17), mobility(amount), node(how)),
        22 => Op::FreeBlock(usize::from(how)),
        23 => Op::OfflineFrames(number, pages * 3, 1 + u64::from(how) * 200),
        24 => Op::Stale(HandleUse::ALL[usize::from(how) % HandleUse::ALL.len()]),
        25 => Op::Finish,
        26 => [Op::FinishGrowing, Op::ExhaustBoot][usize::from(how) % 2],
        27 => Op::PlugPieces(1 + pages * 5),
        28 => Op::UnplugPieces(1 + pages * 5),
        _ => Op::Verify,
    }
}

/// One in eight is pinned.
fn mobility(bits: u16) -> Mobility {
    if bits & 7 == 7 { Mobility::Pinned } else { Mobility::Movable }
}

/// Any node in half of all cases.
fn node(how: u8) -> Option<NodeId> {
    match how >> 4 & 3 {
        0 | 1 => None,
        which => Some(NODES[usize::from(which) - 2]),
    }
}

fn any_request(how: u8, pages: u64) -> Request {
    let shape = if how & 8 == 0 { Shape::Scattered } else { Shape::Contiguous };
    request(1 + pages % 20_000, node(how), mobility(how.into()), shape)
}
