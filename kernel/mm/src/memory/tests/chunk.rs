//! Tests of memory that a device plugs piece by piece: grown and shrunk at random, with content, with a failure at every
//! step. The simulation panics when the core touches an unplugged piece, or a translation of one is left.

use std::vec::Vec;

use super::*;
use crate::chunk::ChunkDevice;
use crate::descriptor::Mobility;
use crate::fault_injection::Step;
use crate::hot_remove::Target;
use crate::info::{PageState, ResourceId};
use crate::vmalloc::{Progress, Shape, VmallocArena};

const PIECE: u64 = 512;

/// A device and what it has plugged.
struct Vmem {
    device: ChunkDevice,
    plugged: Vec<PfnRange>,
}

impl Vmem {
    fn new(start: u64, pages: u64, unit: u64) -> Vmem {
        let device =
            ChunkDevice::new(DeviceId(900), NodeId(7), start << 12, pages << 12, unit << 12).unwrap();
        Vmem { device, plugged: Vec::new() }
    }

    fn pages(&self) -> u64 {
        self.plugged.iter().map(|run| run.pages()).sum()
    }

    fn insert(&mut self, memory: &Memory<SimMachine>, run: PfnRange) {
        memory.machine().plug(run);
        self.plugged.push(run);
    }

    fn remove(&mut self, memory: &Memory<SimMachine>, run: PfnRange) {
        memory.machine().unplug(run);
        let rest = |have: PfnRange| {
            let (before, behind) = (have.end.min(run.start), have.start.max(run.end));
            [PfnRange::new(have.start, before.max(have.start)), PfnRange::new(behind.min(have.end), have.end)]
        };
        self.plugged =
            self.plugged.iter().flat_map(|&have| rest(have)).filter(|part| !part.is_empty()).collect();
    }

    /// Grows by at most `want` frames. Returns the number of runs.
    fn grow(&mut self, memory: &Memory<SimMachine>, mut want: u64) -> u64 {
        let mut runs = 0;
        while let Some(run) = memory.next_to_plug(&self.device, want, self.device.range().end) {
            self.insert(memory, run);
            let plugged = memory.plug(&self.device, run, &|| 0).unwrap();
            assert_eq!(plugged.stats.existing_pages_used, 0);
            want -= run.pages();
            runs += 1;
        }
        self.assert_same(memory);
        runs
    }

    /// Unplugs at most `want` unused frames. Returns the number of runs.
    fn shrink(&mut self, memory: &Memory<SimMachine>, want: u64) -> u64 {
        let gone = memory.unplug_unused(&self.device, want);
        gone.runs.iter().for_each(|&run| self.remove(memory, run));
        self.assert_same(memory);
        gone.runs.len() as u64
    }

    /// The memory core has exactly what is plugged.
    fn assert_same(&self, memory: &Memory<SimMachine>) {
        assert_eq!(memory.chunk_totals(&self.device).plugged, self.pages());
        assert_invariants(memory);
    }
}

/// The sections', blocks' and totals' figures of a resource agree with each other.
fn assert_consistent(memory: &Memory<SimMachine>, id: ResourceId) {
    let info = memory.resource(id).unwrap();
    let plugged = info.range.pages() - info.unplugged_pages;
    assert_eq!(info.memmap_pages + info.usable_pages, plugged);
    let mut sums = [0; 3];
    memory.sections(info.range, &mut |row| {
        if row.resource == id {
            sums[0] += row.present_pages;
            sums[1] += row.memmap_pages;
            sums[2] += row.free_pages;
        }
    });
    assert_eq!(sums, [plugged, info.memmap_pages, info.free_pages]);
    let (mut at, mut unplugged) = (info.range.start, 0);
    memory.blocks(id, &mut |block| {
        assert_eq!(block.range.start, at);
        unplugged += if block.state == PageState::Unplugged { block.range.pages() } else { 0 };
        assert_eq!(memory.page(at).state, block.state, "{at:?}");
        at = block.range.end;
    });
    assert_eq!((at, unplugged), (info.range.end, info.unplugged_pages));
}

/// Proves the figures: 1 GiB is one run with 1008 MiB of usable memory, 8 GiB unused leave in one run, and all
/// free frames, entries and tables are as before. Fails when a chunk needs existing memory or leaves something behind.
#[test]
fn whole_chunks_come_and_go() {
    for gib_leaves in [Support::No, Support::Yes] {
        let memory = booted(gib_leaves);
        let before = (memory.totals(), memory.machine().leaves(), memory.machine().tables());
        let mut vmem = Vmem::new(0x100000, 16 * GIB, PIECE);
        assert_eq!(vmem.grow(&memory, GIB), 1);
        let mut ids = Vec::new();
        memory.resources(&mut |info| ids.push(info.id));
        let id = *ids.last().unwrap();
        let info = memory.resource(id).unwrap();
        assert_eq!((info.usable_pages, info.memmap_pages, info.unplugged_pages), (1008 * MIB, 16 * MIB, 0));
        assert_consistent(&memory, id);
        let run = memory.allocate_run(1008 * MIB, None, Mobility::Movable).unwrap();
        assert_eq!(vmem.shrink(&memory, GIB), 0, "all of it is in use");
        memory.free_run(run).unwrap();
        assert_eq!(vmem.grow(&memory, 7 * GIB), 7);
        assert_eq!(vmem.shrink(&memory, 8 * GIB), 1);
        assert_eq!(vmem.pages(), 0);
        assert!((memory.totals(), memory.machine().leaves(), memory.machine().tables()) == before);
    }
}

/// Proves that memory grows by 2 MiB and by units of several pieces, from any start, beside a DIMM in the same section
/// and the same GiB, and shrinks to nothing by any step. Fails when a piece is used without its memmap, or a shared table
/// is lost.
#[test]
fn pieces_of_any_size_beside_dimms() {
    for (start, unit, step) in [
        (0x100000, PIECE, PIECE),
        (0x100000 + 130 * MIB, PIECE, 3 * PIECE),
        (0x100000 + 2 * MIB, PIECE, 100 * PIECE),
        (0x100000 + 1000 * MIB, PIECE, 7 * PIECE),
        (0x100000 + 128 * MIB, 2 * PIECE, 2 * PIECE),
        (0x100000 + 512 * MIB, 64 * PIECE, 64 * PIECE),
        (0x140000, GIB, GIB),
    ] {
        let memory = booted(Support::Yes);
        let dimm = |at: u64, pages: u64| plug(&memory, at, pages, 0);
        if start > 0x100000 {
            dimm(0x100000, start - 0x100000);
        }
        let pages = if unit == GIB { 2 * GIB } else { 1200 * MIB / unit * unit };
        dimm(start + pages, 6 * MIB);
        let before = (memory.totals(), memory.machine().leaves());
        let mut vmem = Vmem::new(start, pages, unit);
        // In large steps at last: each checks every invariant.
        let mut now = step;
        while vmem.pages() < pages {
            vmem.grow(&memory, now);
            now = if vmem.pages() > 20 * step { 50 * step } else { step };
        }
        while vmem.pages() > 0 {
            let left = vmem.pages();
            vmem.shrink(&memory, now);
            assert!(vmem.pages() < left, "{left} frames do not leave: {start:#x} {unit}");
            now = if vmem.pages() < 20 * step { step } else { 50 * step };
        }
        assert!((memory.totals(), memory.machine().leaves()) == before, "{start:#x} {unit}");
    }
}

/// Proves that a failure at each step of plugging and of removing a whole chunk changes nothing, and that the same then
/// succeeds. Fails when a step's undo is missing.
#[test]
fn every_step_fails_without_a_trace() {
    let memory = booted(Support::Yes);
    let mut vmem = Vmem::new(0x100000 + 130 * MIB, 2 * GIB, PIECE);
    plug(&memory, 0x100000, 130 * MIB, 0);
    for want in [GIB / 2, 4 * MIB, 200 * MIB, GIB] {
        let run = memory.next_to_plug(&vmem.device, want, vmem.device.range().end).unwrap();
        memory.machine().plug(run);
        for step in [Step::Check, Step::DirectMap, Step::Vmemmap, Step::Region, Step::Online] {
            let before = (memory.totals(), memory.machine().leaves(), memory.nodes.count());
            memory.inject(step, 1);
            assert_eq!(memory.plug(&vmem.device, run, &|| 0), Err(AddError::Injected { step }));
            assert!((memory.totals(), memory.machine().leaves(), memory.nodes.count()) == before, "{step}");
            vmem.assert_same(&memory);
        }
        memory.machine().unplug(run);
        vmem.grow(&memory, want);
    }
    for step in [Step::HandOver, Step::UnmapVmemmap, Step::UnmapDirectMap, Step::Remove] {
        let before = (memory.totals(), memory.machine().leaves());
        memory.inject(step, 1);
        let plugged = vmem.pages();
        let gone = memory.unplug_unused(&vmem.device, plugged);
        assert!(gone.gone.is_empty());
        // What could not leave as a whole leaves by pieces; put it back.
        for &run in &gone.runs {
            memory.plug(&vmem.device, run, &|| 0).unwrap();
        }
        assert_eq!(
            (memory.totals(), memory.machine().leaves()) == before,
            gone.runs.is_empty() || memory.totals() == before.0
        );
        vmem.assert_same(&memory);
    }
    // An injected failure of an add is not one of the rollback.
    memory.inject(Step::UnmapVmemmap, 1);
    memory.inject(Step::DirectMap, 1);
    let plugged = vmem.pages();
    let gone = memory.unplug_unused(&vmem.device, plugged);
    assert_eq!(memory.injections_left(Step::DirectMap), 1);
    memory.inject(Step::DirectMap, 0);
    for &run in &gone.runs {
        memory.plug(&vmem.device, run, &|| 0).unwrap();
    }
    vmem.assert_same(&memory);
    vmem.shrink(&memory, u64::MAX);
    assert_eq!(vmem.pages(), 0);
}

/// Unplugs everything that can go, content moved away.
fn empty(vmem: &mut Vmem, memory: &Memory<SimMachine>, arena: &VmallocArena) {
    for _ in 0..64 {
        let left = vmem.pages();
        vmem.shrink(memory, left);
        let Some((_, part)) = memory.to_evacuate(&vmem.device, left, &|_| false) else { break };
        let Ok(mut offlining) = memory.begin_offline(Target::Frames(part), &|| 0) else { break };
        let mut result = Ok(Progress::More);
        while result == Ok(Progress::More) {
            result = memory.offline_step(arena, &mut offlining, 512, &|| 0);
        }
        if result.is_err() {
            break;
        }
        memory.finish_offline(arena, offlining).unwrap();
        vmem.shrink(memory, left);
        let _ = memory.online(Target::Frames(part), None);
    }
}

/// Proves that content migrates out of a chunk so that it can leave, byte for byte, and that a pinned block keeps only its
/// own unit and the memmap. Fails when an evacuation loses content or stops at the pinned block.
#[test]
fn content_migrates_and_pinned_blocks_stay() {
    let (memory, arena) = (booted(Support::Yes), VmallocArena::new());
    let mut vmem = Vmem::new(0x100000, 4 * GIB, PIECE);
    vmem.grow(&memory, 2 * GIB);
    let all: Vec<_> = [3u64, 513, 2000]
        .into_iter()
        .map(|pages| {
            super::migrate::allocate(&memory, &arena, pages, Some(7), Mobility::Movable, Shape::Scattered)
                .unwrap()
        })
        .collect();
    let pinned = memory.allocate_block(Order(0), Some(NodeId(7)), Mobility::Pinned).unwrap();
    empty(&mut vmem, &memory, &arena);
    for one in &all {
        assert!(arena.verify(&memory, one.id, 0, 520.min(one.pages)).is_ok());
    }
    vmem.assert_same(&memory);
    assert_eq!(vmem.pages(), 2 * PIECE, "the pinned frame's piece and its memmap");
    let named = memory.pinned_in_chunks(&vmem.device).map(|pinned| pinned.pfn);
    assert_eq!(named, Some(pinned.head));
    memory.free_block(pinned.head).unwrap();
    empty(&mut vmem, &memory, &arena);
    assert_eq!(vmem.pages(), 0);
}

/// Proves that the offline frames of a part are found before it is evacuated, joined and clipped to it, so that they can
/// be left offline afterwards; and that of more runs than the list holds the upper ones are kept, and the part begins
/// behind the others. Fails when a run is missing, or a part contains offline frames that the list does not.
#[test]
fn offline_frames_are_found_before_an_evacuation() {
    let (memory, arena) = (booted(Support::Yes), VmallocArena::new());
    let mut vmem = Vmem::new(0x100000, GIB, PIECE);
    vmem.grow(&memory, GIB);
    let offline = |run| super::offline::offline(&memory, &arena, Target::Frames(run)).unwrap();
    let at = |piece: u64, pages| PfnRange::of(Pfn(0x100000 + piece * PIECE), pages);
    for run in [at(100, PIECE), at(101, 3), at(200, 2 * PIECE)] {
        offline(run);
    }
    let part = PfnRange::new(at(90, 0).start, at(201, 0).start);
    let (whole, runs) = memory.offline_in(part);
    assert_eq!((whole, &runs[..]), (part, &[at(100, PIECE + 3), at(200, PIECE)][..]));

    for piece in 0..70 {
        offline(at(300 + 2 * piece, 1));
    }
    let part = PfnRange::new(at(300, 0).start, at(500, 0).start);
    let (upper, runs) = memory.offline_in(part);
    assert_eq!(upper, PfnRange::new(at(300 + 2 * 5, 1).end, part.end));
    assert_eq!(runs.as_slice(), (6..70).map(|piece| at(300 + 2 * piece, 1)).collect::<Vec<_>>());
    assert_invariants(&memory);
}
