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
    /// Bytes allocated since the last collection.
    fresh: usize,
}

impl Heap {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Arena::new(), free: NO_SLOT, bytes: 0, limit, room: limit, clock: 1, fresh: 0 }
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

    /// Whether enough has been allocated since the last collection to make another one worthwhile.
    pub(crate) fn wants_collection(&self) -> bool {
        self.fresh > self.room / 16
    }

    /// Frees all data younger than `since` that neither `roots` nor older data refer to.
    pub(crate) fn collect(&mut self, since: u32, roots: impl Iterator<Item = Val>) {
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
        for (slot, index) in self.slots.iter_mut().zip(0u32..) {
            if slot.mark == Mark::Clear
                && let Some(object) = slot.object.take()
            {
                self.bytes = self.bytes.saturating_sub(object.bytes());
                slot.born = self.free;
                self.free = index;
            } else if since == 0 && slot.object.is_some() {
                // No frame runs: nothing compares ages until the next one does, so the clock need never overflow.
                slot.born = 1;
            }
        }
        if since == 0 {
            self.clock = 1;
        }
        self.fresh = 0;
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
