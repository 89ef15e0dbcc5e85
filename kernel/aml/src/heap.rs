//! The heap of strings, buffers and packages: numbered slots, limited in bytes, freed by mark and sweep.
//!
//! Values refer to slots by number. That implements AML's call by reference and references into objects without
//! pointers; dropping one object never drops another, so no structure of packages can exhaust the native stack.
//! Invariant: all bytes are charged against the limit before they are allocated. Neighbours: `model` has the types,
//! [`Heap::collect`] frees unreachable slots between two statements or evaluations.
use alloc::vec::Vec;

use crate::arena::Arena;
use crate::error::{Error, ErrorKind};
use crate::model::{Data, DataId, Ref, Val};

impl Data {
    /// The bytes that count against the limit.
    fn bytes(&self) -> usize {
        let payload = match self {
            Self::String(bytes) | Self::Buffer(bytes) => bytes.len(),
            Self::Package(elements) => elements.len().saturating_mul(size_of::<Val>()),
        };
        payload.saturating_add(SLOT_BYTES)
    }
}

/// The cost of a slot beside its payload, and what an allocator rounds the payload up by.
const SLOT_BYTES: usize = size_of::<Slot>() + 16;

/// The end of the list of empty slots.
const NO_SLOT: u32 = u32::MAX;

/// The bytes after which a collection is due, of all that may be allocated.
const fn part(room: usize) -> usize {
    room / 16
}

#[derive(Debug)]
struct Slot {
    object: Option<Data>,
    /// The heap's clock when it was filled: younger data have larger numbers. In an empty slot, the next empty one.
    born: u32,
    mark: Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Clear,
    Reached,
}

/// All objects.
#[derive(Debug)]
pub(crate) struct Heap {
    slots: Arena<Slot>,
    /// The first empty slot, or [`NO_SLOT`].
    free: u32,
    bytes: usize,
    limit: usize,
    /// Bytes that could be allocated when the limit was set: a collection is due after a part of them.
    room: usize,
    /// At least 1, so that no frame is as old as the start.
    clock: u32,
    /// Bytes that were allocated and that no collection has examined, for the frame that began first of those that run: what a
    /// collection of a later frame spared may be garbage for an earlier one.
    fresh: usize,
    /// A collection is due when `fresh` is more: for the running frame, [`Heap::room`]'s part above what it began with.
    due: usize,
}

/// What a frame must restore when it ends, and what its collections leave to earlier frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    /// [`Heap::fresh`] when the frame began.
    fresh: usize,
    /// [`Heap::due`] of the frame that called.
    due: usize,
}

impl Heap {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Arena::new(),
            free: NO_SLOT,
            bytes: 0,
            limit,
            room: limit,
            clock: 1,
            fresh: 0,
            due: part(limit),
        }
    }

    /// Charges bytes that are stored elsewhere (names, tables) against the limit.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), Error> {
        self.check(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    pub(crate) fn refund(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Checks that `bytes` more may be allocated. Call it before each allocation whose size the AML chooses.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), Error> {
        if self.bytes.saturating_add(bytes) > self.limit {
            return Err(ErrorKind::TooManyBytes.into());
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on `bytes` more than are held now may be allocated.
    pub(crate) fn limit_further(&mut self, bytes: usize) {
        self.limit = self.bytes.saturating_add(bytes);
        self.room = bytes;
        self.due = part(bytes);
    }

    /// A frame begins: it is due for a collection after as many bytes as any other.
    pub(crate) fn begin_frame(&mut self) -> Before {
        let before = Before { fresh: self.fresh, due: self.due };
        self.due = self.fresh.saturating_add(part(self.room));
        before
    }

    /// The frame ends: all that it allocated counts for its caller.
    pub(crate) fn end_frame(&mut self, before: Before) {
        self.due = before.due;
    }

    pub(crate) fn clock(&self) -> u32 {
        self.clock
    }

    pub(crate) fn add(&mut self, object: Data) -> Result<Val, Error> {
        let bytes = object.bytes();
        self.charge(bytes)?;
        self.fresh = self.fresh.saturating_add(bytes);
        self.clock = self.clock.saturating_add(1);
        let slot = Slot { object: Some(object), born: self.clock, mark: Mark::Clear };
        let index = self.free;
        if let Some(place) = self.slots.get_mut(index) {
            self.free = place.born;
            *place = slot;
            return Ok(Val::Data(DataId(index)));
        }
        let index = self.slots.push(slot).filter(|&index| index != NO_SLOT);
        Ok(Val::Data(DataId(index.ok_or(ErrorKind::TooManyBytes)?)))
    }

    pub(crate) fn get(&self, id: DataId) -> Result<&Data, Error> {
        let slot = self.slots.get(id.0);
        slot.and_then(|slot| slot.object.as_ref()).ok_or_else(|| ErrorKind::Dangling.into())
    }

    /// For changes in place; use [`Heap::replace`] for a change of size.
    pub(crate) fn get_mut(&mut self, id: DataId) -> Result<&mut Data, Error> {
        let slot = self.slots.get_mut(id.0);
        slot.and_then(|slot| slot.object.as_mut()).ok_or_else(|| ErrorKind::Dangling.into())
    }

    pub(crate) fn replace(&mut self, id: DataId, object: Data) -> Result<(), Error> {
        let old = self.get(id)?.bytes();
        let new = object.bytes();
        self.charge(new)?;
        self.refund(old);
        self.fresh = self.fresh.saturating_add(new);
        *self.get_mut(id)? = object;
        Ok(())
    }

    /// Whether the running frame, or no frame, has allocated enough to make a collection worthwhile.
    pub(crate) fn wants_collection(&self) -> bool {
        self.fresh > self.due
    }

    /// Frees all data that neither `roots` nor, with a frame that runs, data older than it refer to.
    // One function for all kinds of roots: an emulator translates each copy.
    #[inline(never)]
    pub(crate) fn collect(&mut self, frame: Option<(u32, Before)>, roots: &mut dyn Iterator<Item = Val>) {
        let since = frame.map_or(0, |(since, _)| since);
        let mut pending: Vec<Val> = Vec::new();
        for slot in self.slots.iter_mut() {
            slot.mark = Mark::Clear;
            if slot.born <= since && slot.object.is_some() {
                slot.mark = Mark::Reached;
                if let Some(Data::Package(elements)) = &slot.object {
                    pending.extend(elements.iter().copied());
                }
            }
        }
        self.mark(&mut pending);
        for root in roots {
            pending.push(root);
            self.mark(&mut pending);
        }
        let mut spared = 0usize;
        for (slot, index) in self.slots.iter_mut().zip(0u32..) {
            if slot.mark == Mark::Clear
                && let Some(object) = slot.object.take()
            {
                self.bytes = self.bytes.saturating_sub(object.bytes());
                slot.born = self.free;
                self.free = index;
            } else if let Some(object) = &slot.object {
                if frame.is_none() {
                    // Nothing compares ages until the next frame does, so the clock need never overflow.
                    slot.born = 1;
                } else if slot.born > since {
                    spared = spared.saturating_add(object.bytes());
                }
            }
        }
        if frame.is_none() {
            self.clock = 1;
        }
        self.fresh = frame.map_or(0, |(_, before)| before.fresh.saturating_add(spared));
        self.due = self.fresh.saturating_add(part(self.room));
    }

    fn mark(&mut self, pending: &mut Vec<Val>) {
        while let Some(value) = pending.pop() {
            let (Val::Data(id) | Val::Ref(Ref::Index(id, _))) = value else { continue };
            let Some(slot) = self.slots.get_mut(id.0) else { continue };
            if slot.mark == Mark::Clear {
                slot.mark = Mark::Reached;
                if let Some(Data::Package(elements)) = &slot.object {
                    pending.extend(elements.iter().copied());
                }
            }
        }
    }
}
