//! The words of groups that frame caches change without the region's lock: every interleaving and every order of memory, by
//! loom.
//!
//! ```text
//!  a region of 64 frames, or of 64 times 128      watched: a group's words, and the descriptor of the first frame
//!  everything else                                words that only one CPU at a time uses
//! ```

use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::collections::BTreeMap;
use std::sync::Mutex as HostMutex;

use loom::sync::Arc;
use loom::thread;

use super::super::*;
use crate::addr::{PhysAddr, VirtAddr};
use crate::address_space::{descriptor, direct};
use crate::frame_cache::{FrameCache, SizeClass};
use crate::info::ResourceId;
use crate::machine::CpuNr;
use crate::sync::tests::{Watched, every_interleaving};

/// A region whose blocks lie in a group of level 0, and one of level 1.
const SMALL: PfnRange = PfnRange::new(Pfn(128), Pfn(192));
const LARGE: PfnRange = PfnRange::new(Pfn(1 << 14), Pfn(3 << 13));
const HEADER: VirtAddr = direct(PhysAddr(0));

/// A machine of words, some of which loom watches.
struct Words {
    watched: Box<[(VirtAddr, Watched)]>,
    rest: HostMutex<BTreeMap<u64, u64>>,
}

impl Words {
    fn watched(&self, at: VirtAddr) -> Option<&Watched> {
        self.watched.iter().find(|(address, _)| *address == at).map(|(_, word)| word)
    }

    fn change(&self, at: VirtAddr, change: impl Fn(u64) -> u64) -> u64 {
        let mut rest = self.rest.lock().unwrap();
        let word = rest.entry(at.0).or_insert(0);
        core::mem::replace(word, change(*word))
    }
}

#[expect(unsafe_code, reason = "an implementation of the trait: no unsafe block")]
// SAFETY: its words are in collections of the host, found by checked look-ups, so no address can harm anything.
unsafe impl Machine for Words {
    fn load(&self, at: VirtAddr) -> u64 {
        self.watched(at).map_or_else(|| self.change(at, |word| word), |word| word.load(Ordering::Acquire))
    }

    fn store(&self, at: VirtAddr, value: u64) {
        match self.watched(at) {
            Some(word) => word.store(value, Ordering::Release),
            None => drop(self.change(at, |_| value)),
        }
    }

    fn fetch_or(&self, at: VirtAddr, bits: u64) -> u64 {
        match self.watched(at) {
            Some(word) => word.fetch_or(bits, Ordering::SeqCst),
            None => self.change(at, |word| word | bits),
        }
    }

    fn fetch_xor(&self, at: VirtAddr, bits: u64) -> u64 {
        match self.watched(at) {
            Some(word) => word.fetch_xor(bits, Ordering::SeqCst),
            None => self.change(at, |word| word ^ bits),
        }
    }

    fn fetch_and(&self, at: VirtAddr, bits: u64) -> u64 {
        match self.watched(at) {
            Some(word) => word.fetch_and(bits, Ordering::SeqCst),
            None => self.change(at, |word| word & bits),
        }
    }

    fn flush(&self, _pages: &[VirtAddr]) {}

    fn flush_all(&self) {}

    fn flush_local(&self, _at: VirtAddr) {}

    fn fence_all(&self) {}

    fn fence_light(&self) {}

    fn cpu(&self) -> CpuNr {
        CpuNr::FIRST
    }
}

/// The region.
struct Region {
    usable: PfnRange,
    words: Words,
    summary: Summary,
    cache: Box<FrameCache>,
}

impl Region {
    /// All frames are free.
    fn new(usable: PfnRange) -> Region {
        let metadata = MetadataLayout::of(usable, HEADER);
        let group = Group::of(usable.start, level_of(max_order(usable)));
        let (pair, page) = (metadata.pair(group, 0), descriptor(usable.start));
        // The last one: the movable bits, above level 0.
        let watched = [pair, pair.offset(8), page, page.offset(8), metadata.group(group).offset(40)];
        let watched = watched.map(|at| (at, Watched::new(0)));
        let words = Words { watched: Box::new(watched), rest: HostMutex::default() };
        // Built on a larger stack than those of loom's threads.
        let cache = std::thread::spawn(|| Box::new(FrameCache::new())).join().expect("it only builds");
        let region = Region { usable, words, summary: Summary::new(), cache };
        region.buddy().init();
        region
    }

    fn buddy(&self) -> Buddy<'_, Words> {
        Buddy {
            machine: &self.words,
            metadata: MetadataLayout::of(self.usable, HEADER),
            usable: self.usable,
            max: max_order(self.usable),
            slot: SlotNr(0),
            summary: &self.summary,
            isolated: PfnRange::default(),
        }
    }

    /// The order of the blocks: one that a cache keeps.
    fn order(&self) -> Order {
        if self.usable == SMALL { Order(0) } else { Order(9) }
    }

    fn claim(&self, head: Pfn) -> bool {
        let level = self.buddy().metadata.level(level_of(self.order()));
        claim(&self.words, level, head, self.order())
    }

    fn allocate(&self) -> Pfn {
        self.buddy().allocate(self.order(), BlockState::Movable, 0).expect("a block is free")
    }

    fn state(&self, pfn: Pfn) -> Option<BlockState> {
        self.buddy().find(pfn).map(|found| found.tag.state)
    }
}

/// Runs `prepare`, then `one` and `other` on a CPU each, then `check` with what they returned.
fn on_two_cpus<A: 'static>(
    usable: PfnRange,
    prepare: fn(&Region) -> Pfn,
    one: fn(&Region, Pfn) -> A,
    other: fn(&Region, Pfn) -> A,
    check: fn(&Region, Pfn, A, A),
) {
    every_interleaving(move || {
        let region = Arc::new(Region::new(usable));
        let frame = prepare(&region);
        let second = {
            let region = region.clone();
            thread::spawn(move || other(&region, frame))
        };
        let first = one(&region, frame);
        check(&region, frame, first, second.join().unwrap());
    });
}

/// Proves that no bit of a word is lost when a cache claims a block while the holder of the lock allocates and frees another
/// one of the same word. Fails when either changes the word by a load and a store.
#[test]
fn a_claim_and_the_holder_of_the_lock_keep_each_others_bits() {
    for usable in [SMALL, LARGE] {
        on_two_cpus(
            usable,
            Region::allocate,
            |region, block| region.claim(block),
            |region, _| {
                let other = region.allocate();
                region.buddy().free(other).is_ok()
            },
            |region, block, claimed, freed| {
                assert!(claimed && freed);
                assert_eq!(region.state(block), Some(BlockState::Cached));
                let next = block.offset(region.order().pages());
                assert_eq!(region.state(next), Some(BlockState::Free));
            },
        );
    }
}

/// Proves the same for a cache that gives a frame while the holder of the lock frees another one.
#[test]
fn a_pop_and_the_holder_of_the_lock_keep_each_others_bits() {
    on_two_cpus(
        SMALL,
        |region| {
            let other = region.allocate();
            assert!(region.cache.refilled(ResourceId(1), &region.buddy(), SizeClass::Single));
            other
        },
        |region, _| region.cache.popped(&region.words, SizeClass::Single),
        |region, other| region.buddy().free(other).ok().map(|_| other),
        |region, other, popped, freed| {
            assert_eq!(freed, Some(other));
            assert_eq!(region.state(other), Some(BlockState::Free));
            assert_eq!(popped.and_then(|popped| region.state(popped)), Some(BlockState::Movable));
        },
    );
}

/// Proves that of two CPUs that free a block one succeeds: both without the lock, and one with it. Fails when a claim is
/// a look and a change, or a free under the lock claims nothing.
#[test]
fn one_of_two_claims_succeeds() {
    let claim = |region: &Region, block: Pfn| region.claim(block);
    for usable in [SMALL, LARGE] {
        on_two_cpus(usable, Region::allocate, claim, claim, |_, _, one, other| assert!(one != other));
        on_two_cpus(
            usable,
            Region::allocate,
            claim,
            |region, block| region.buddy().free(block).is_ok(),
            |region, block, claimed, freed| {
                assert!(claimed != freed);
                let state = if claimed { BlockState::Cached } else { BlockState::Free };
                assert_eq!(region.state(block), Some(state));
            },
        );
    }
}

/// Proves that a block which is freed never looks like an open group to a CPU without the lock, which would read words
/// that were never written. Fails when a child gets its first bit before it loses its second one.
#[test]
fn a_block_that_is_freed_is_no_open_group() {
    on_two_cpus(
        LARGE,
        Region::allocate,
        |region, block| region.buddy().free(block).is_ok(),
        |region, block| {
            let buddy = region.buddy();
            level_of_block(|level| buddy.metadata.level(level), &region.words, buddy.top(), block) == 1
        },
        |_, _, freed, whole| assert!(freed && whole),
    );
}

/// Proves that a CPU which sees that a frame is in use sees the descriptor that its allocation wrote: by the frame cache,
/// and not what the frame's last user left. Fails when the bit is changed before the descriptor is written.
#[test]
fn a_frame_in_use_has_its_descriptor() {
    on_two_cpus(
        SMALL,
        |region| {
            assert!(region.cache.refilled(ResourceId(1), &region.buddy(), SizeClass::Single));
            // As if the frame had been used with an rmap and freed into the cache.
            let buddy = region.buddy();
            buddy.set_rmap(SMALL.start, Order(0), BlockState::Movable, 0xdead_beef_f000);
            SMALL.start
        },
        |region, frame| {
            assert_eq!(region.cache.popped(&region.words, SizeClass::Single), Some(frame));
            true
        },
        |region, frame| {
            let state = region.state(frame);
            let seen = state == Some(BlockState::Movable);
            assert!(seen || state == Some(BlockState::Cached), "{state:?}");
            assert!(!seen || region.buddy().page(frame).rmap() == 0);
            seen
        },
        |region, frame, _, _| assert_eq!(region.state(frame), Some(BlockState::Movable)),
    );
}
