//! Statistics for fatal reports, available while locks are held.

use super::*;
use crate::try_stats::TryStats;
use std::string::{String, ToString};
use std::vec;

fn held(memory: &Memory<SimMachine>) -> Vec<String> {
    let mut held = Vec::new();
    memory.held_locks(&mut |lock| held.push(lock.to_string()));
    held
}

/// Proves that `try_stats` returns the totals of `totals`, cached frames included, and that no lock is reported as held
/// when none is. Fails when a frame is counted twice or not at all.
#[test]
fn try_stats_matches_totals_without_locks() {
    let memory = booted(Support::Yes);
    plug(&memory, 0x100000, 256 * MIB, 1);
    let got: Vec<_> = (0..10).map(|_| memory.allocate_block(Order(0), None, Mobility::Movable)).collect();
    assert!(got.iter().all(Option::is_some));
    let stats = memory.try_stats();
    // After `try_stats`, because `totals` drains the cache.
    let totals = memory.totals();
    assert_eq!(
        stats,
        TryStats {
            resources: Some(totals.resources),
            total_pages: Some(totals.total_pages),
            usable_pages: Some(totals.usable_pages),
            free_pages: totals.free_pages,
        }
    );
    assert_eq!(held(&memory), Vec::<String>::new());
}

/// Proves that with any lock of the core held `try_stats` returns, leaves out exactly the data behind that lock, and that
/// the lock is reported. Fails (or hangs) when `try_stats` waits for a lock.
#[test]
fn try_stats_waits_for_no_lock() {
    let memory = booted(Support::Yes);
    let all = memory.try_stats();
    {
        let _hotplug = memory.hotplug.lock();
        let _tables = memory.tables.lock();
        assert_eq!(
            (memory.try_stats(), held(&memory)),
            (all, vec!["hotplug".into(), "page tables".to_string()])
        );
    }
    {
        let _index = memory.index.write();
        let nothing = TryStats { resources: None, total_pages: None, usable_pages: None, ..all };
        assert_eq!((memory.try_stats(), held(&memory)), (nothing, vec!["index".to_string()]));
        let _region = memory.slots[0].region.lock();
        assert_eq!(held(&memory), ["index", "region"]);
    }
    let (stats, names) =
        memory.hold_region(ResourceId(0), || (memory.try_stats(), held(&memory))).expect("boot memory");
    assert_eq!(stats, TryStats { usable_pages: None, ..all });
    assert_eq!(names, ["region of resource 0"]);
    assert_eq!((memory.try_stats(), held(&memory)), (all, vec![]));
}
