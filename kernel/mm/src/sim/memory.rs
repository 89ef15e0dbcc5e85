//! Simulated physical memory: the present ranges, their words, and which words were written.
//!
//! A frame takes host memory when it is first written. Until then its words are junk computed from the seed, so
//! no code can rely on zeroes. Neighbours: `tlb` walks the page tables in it.

use std::boxed::Box;
use std::vec::Vec;

use rustc_hash::FxHashMap;

use crate::addr::{PAGE_SHIFT, Pfn, PfnRange, PhysAddr};

const WORDS: usize = 512;

struct Frame {
    words: [u64; WORDS],
    /// One bit per word: set once written.
    written: [u64; WORDS / 64],
}

pub(super) struct Memory {
    seed: u64,
    present: Vec<PfnRange>,
    /// Holes in present memory: writes are dropped. Even frames read as all ones, as on an empty bus; odd ones as zeroes, as
    /// in QEMU.
    holes: Vec<PfnRange>,
    frames: FxHashMap<Pfn, Box<Frame>>,
    /// The range of the last access.
    recent: PfnRange,
}

impl Memory {
    pub(super) fn new(seed: u64) -> Memory {
        Memory {
            seed,
            present: Vec::new(),
            holes: Vec::new(),
            frames: FxHashMap::default(),
            recent: PfnRange::default(),
        }
    }

    pub(super) fn add(&mut self, range: PfnRange) {
        assert!(!self.present.iter().any(|other| other.overlaps(range)), "{range:?} is already present");
        self.present.push(range);
    }

    pub(super) fn make_hole(&mut self, range: PfnRange) {
        self.holes.push(range);
    }

    pub(super) fn fill_holes(&mut self) {
        self.holes.clear();
    }

    fn is_hole(&self, at: PhysAddr) -> bool {
        self.holes.iter().any(|range| range.contains(at.pfn()))
    }

    pub(super) fn remove(&mut self, range: PfnRange) {
        self.remove_keeping(range);
        self.junk(range);
    }

    /// Like `remove`, but the range has its contents when it comes back, marked as unwritten.
    pub(super) fn remove_keeping(&mut self, range: PfnRange) {
        let present: u64 = self.present.iter().map(|other| other.intersection(range).pages()).sum();
        assert_eq!(present, range.pages(), "{range:?} is not present as a whole");
        let rest = |other: PfnRange| {
            let (before, behind) = (other.end.min(range.start), other.start.max(range.end));
            [
                PfnRange::new(other.start, before.max(other.start)),
                PfnRange::new(behind.min(other.end), other.end),
            ]
        };
        self.present =
            self.present.iter().flat_map(|&other| rest(other)).filter(|part| !part.is_empty()).collect();
        self.recent = PfnRange::default();
        let frames = self.frames.iter_mut().filter(|(pfn, _)| range.contains(**pfn));
        frames.for_each(|(_, frame)| frame.written = [0; WORDS / 64]);
    }

    pub(super) fn junk(&mut self, range: PfnRange) {
        self.seed = mix(self.seed);
        self.frames.retain(|frame, _| !range.contains(*frame));
    }

    fn check_present(&mut self, at: PhysAddr) {
        let frame = at.pfn();
        if !self.recent.contains(frame) {
            let range = self.present.iter().find(|range| range.contains(frame));
            self.recent = *range.unwrap_or_else(|| panic!("no memory at physical {at}"));
        }
    }

    pub(super) fn load(&mut self, at: PhysAddr) -> u64 {
        if self.is_hole(at) {
            return if at.pfn().0.is_multiple_of(2) { !0 } else { 0 };
        }
        self.check_present(at);
        match self.frames.get(&at.pfn()) {
            Some(frame) => frame.words[word_of(at)],
            None => self.junk_word(at.pfn(), word_of(at)),
        }
    }

    pub(super) fn store(&mut self, at: PhysAddr, value: u64) {
        if self.is_hole(at) {
            return;
        }
        self.check_present(at);
        let (pfn, word) = (at.pfn(), word_of(at));
        if !self.frames.contains_key(&pfn) {
            let words = core::array::from_fn(|word| self.junk_word(pfn, word));
            self.frames.insert(pfn, Box::new(Frame { words, written: [0; WORDS / 64] }));
        }
        if let Some(frame) = self.frames.get_mut(&pfn) {
            frame.words[word] = value;
            frame.written[word / 64] |= 1 << (word % 64);
        }
    }

    /// Copies a frame. The copy of an unwritten frame is unwritten, with other junk.
    pub(super) fn copy(&mut self, from: Pfn, to: Pfn) {
        self.check_present(from.start());
        self.check_present(to.start());
        let words = self.frames.get(&from).map(|frame| frame.words);
        match words {
            Some(words) => {
                self.frames.insert(to, Box::new(Frame { words, written: [!0; WORDS / 64] }));
            }
            None => {
                self.frames.remove(&to);
            }
        }
    }

    pub(super) fn zero(&mut self, frame: Pfn) {
        (0..WORDS as u64).for_each(|word| self.store(PhysAddr(frame.start().0 + word * 8), 0));
    }

    pub(super) fn was_written(&self, at: PhysAddr) -> bool {
        let word = word_of(at);
        self.frames.get(&at.pfn()).is_some_and(|frame| frame.written[word / 64] >> (word % 64) & 1 == 1)
    }

    pub(super) fn written(&self) -> Vec<Pfn> {
        let mut frames: Vec<Pfn> = self.frames.keys().copied().collect();
        frames.sort_unstable();
        frames
    }

    /// The words of a written frame.
    pub(super) fn page(&self, frame: Pfn) -> &[u64; WORDS] {
        &self.frames[&frame].words
    }

    fn junk_word(&self, frame: Pfn, word: usize) -> u64 {
        mix(self.seed ^ mix(frame.start().0 + word as u64))
    }
}

fn word_of(at: PhysAddr) -> usize {
    (at.0 as usize & ((1 << PAGE_SHIFT) - 1)) / 8
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}
