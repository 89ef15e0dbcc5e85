//! Page tables while pages migrate: where the copy reads, and when split leaves are flushed.

use super::*;

/// Proves that frames whose direct-map addresses share a translation's place with their targets are copied from the
/// window, where they do not, and read what the frames hold, also where another batch was before; that all others, and
/// those that the window does not have pages for, are copied from the direct map. Fails when an entry maps another
/// frame, stays after the copy, or is not flushed.
#[test]
fn the_copy_window_maps_what_shares_a_place() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 16384));
    let place = |at: VirtAddr| (at.0 >> 12) % 64;
    let moves =
        [(0, 1024, 512), (512, 2048 + 1, 3), (520, 2048 + 8, 1), (521, 2048 + 9, 1), (1024, 4096, 2048)];
    for round in [0, 3, 64] {
        let (mut last, mut flush) = (LastTable::default(), FlushBatch::new());
        let sources: Vec<_> = moves
            .iter()
            .map(|&(old, new, pages)| {
                let [old, new] = [old, new].map(|frame| DIMM.offset(round + frame));
                tables.copy_source(&sim, old, new, pages, &mut last, &mut flush)
            })
            .collect();
        flush.run(&sim);
        for (&(old, new, pages), source) in moves.iter().zip(&sources) {
            let [old, new] = [old, new].map(|frame| direct(DIMM.offset(round + frame).start()));
            for page in (0..pages).step_by(7) {
                let (old, source) = (old.offset(page << 12), source.offset(page << 12));
                sim.store(old, page + round + 1);
                assert_eq!(sim.load(source), page + round + 1);
                assert!(source == old || place(source) != place(new.offset(page << 12)));
            }
        }
        let in_window: Vec<_> = sources.iter().map(|at| FIXMAP.contains(*at)).collect();
        assert_eq!(in_window, [true, false, true, true, false], "the last one finds the window full");
        tables.clear_window(&sim);
        assert!(fixmap_is_empty(&sim));
    }
}

/// Proves that a move is copied from the direct map when a table of the window is missing in its middle, and that the
/// entries written before are cleared. Fails when they stay, and read what the frames hold later.
#[test]
fn a_missing_table_leaves_no_entry_in_the_copy_window() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 4096));
    let second = FIXMAP.start.offset(2 * LeafSize::M2.bytes());
    let directory = tables.linked_table(&sim, second, Level::Pd).unwrap();
    sim.store(walk::entry_addr(directory, Level::Pd, second), entry::Entry::ABSENT.0);
    let (mut last, mut flush) = (LastTable::default(), FlushBatch::new());
    // 520 pages cross the border of the window's tables.
    let source = tables.copy_source(&sim, DIMM, DIMM.offset(1024), 520, &mut last, &mut flush);
    assert_eq!(source, direct(DIMM.start()));
    tables.clear_window(&sim);
    assert!(fixmap_is_empty(&sim));
}

/// Proves that a split is flushed with the batch that it belongs to, in one request for many leaves, and that every
/// address reads as before. Fails when a CPU may go on for ever with a large leaf and its parts at a time.
#[test]
fn split_leaves_are_flushed_together() {
    let (sim, mut tables) = machine(Support::No);
    plug(&sim, &mut tables, PfnRange::of(DIMM, 8192));
    let mut pool = Pool::limited(DIMM.offset(7000), 64);
    tables.map(&sim, &Mapping::data(ALLOC.start, DIMM.start(), 4 * 512), &mut pool).unwrap();
    let pages = (0..4 * 512).step_by(100).map(|page| ALLOC.start.offset(page * 4096));
    pages.clone().for_each(|at| sim.store(at, at.0));
    let before = sim.counts();
    let mut flush = FlushBatch::new();
    let all = PageMove { at: ALLOC.start, old: DIMM, new: DIMM.offset(4096 + 1), pages: 4 * 512 };
    let mut new_tables = NewTables { frames: &mut pool, report: &mut |_, _, _| {}, flush: &mut flush };
    tables.split(&sim, &all, &mut new_tables).unwrap();
    assert_eq!(sim.counts().requests, before.requests);
    flush.run(&sim);
    assert_eq!((sim.counts().requests - before.requests, sim.counts().flushes - before.flushes), (1, 4));
    pages.for_each(|at| assert_eq!(sim.load(at), at.0));
}
