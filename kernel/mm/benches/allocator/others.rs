//! The other allocators: a well-known buddy allocator, and a free list that neither splits nor merges.

use buddy_system_allocator::FrameAllocator;
use carapace_lock::{Mutex, Rank};

use crate::Frames;
use crate::machine::PAGES;

/// `buddy_system_allocator` without a lock.
pub struct SystemBuddy(FrameAllocator<33>);

impl SystemBuddy {
    pub fn new() -> SystemBuddy {
        let mut frames = FrameAllocator::new();
        frames.add_frame(0, PAGES as usize);
        SystemBuddy(frames)
    }
}

impl Frames for SystemBuddy {
    #[inline]
    fn allocate(&mut self, order: u8) -> Option<u64> {
        self.0.alloc(1 << order).map(|frame| frame as u64)
    }

    #[inline]
    fn free(&mut self, frame: u64, order: u8) {
        self.0.dealloc(frame as usize, 1 << order);
    }
}

/// An allocator behind a spinning lock, the kind that ours uses for a region.
#[derive(Debug)]
pub struct Locked<F>(Mutex<F>);

impl<F> Locked<F> {
    pub fn new(frames: F) -> Locked<F> {
        Locked(Mutex::new(Rank::Region, frames))
    }
}

impl<F: Frames> Frames for &Locked<F> {
    #[inline]
    fn allocate(&mut self, order: u8) -> Option<u64> {
        self.0.lock().allocate(order)
    }

    #[inline]
    fn free(&mut self, frame: u64, order: u8) {
        self.0.lock().free(frame, order);
    }
}

const FREE: u64 = 0xf1ee;
const USED: u64 = 0x05ed;
const END: u64 = u64::MAX;

/// A descriptor of the list, 64 bytes like ours.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Descriptor {
    state: u64,
    next: u64,
}

/// A LIFO free list of blocks of one order, linked through their descriptors. It checks a state word, as any allocator
/// that detects a double free must.
pub struct List {
    descriptors: Vec<Descriptor>,
    first: u64,
}

impl List {
    pub fn new(order: u8) -> List {
        let mut list =
            List { descriptors: vec![Descriptor { state: USED, next: END }; PAGES as usize], first: END };
        (0..PAGES >> order).rev().for_each(|block| list.free(block << order, order));
        list
    }
}

impl Frames for List {
    #[inline]
    fn allocate(&mut self, _order: u8) -> Option<u64> {
        let frame = self.first;
        let descriptor = self.descriptors.get_mut(frame as usize)?;
        assert_eq!(descriptor.state, FREE);
        descriptor.state = USED;
        self.first = descriptor.next;
        Some(frame)
    }

    #[inline]
    fn free(&mut self, frame: u64, _order: u8) {
        let descriptor = &mut self.descriptors[frame as usize];
        assert_eq!(descriptor.state, USED);
        *descriptor = Descriptor { state: FREE, next: self.first };
        self.first = frame;
    }
}
