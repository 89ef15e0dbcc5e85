//! Numbered slots in pieces of a fixed size: growing allocates one piece and moves nothing.
//!
//! Invariant: no allocation is larger than a piece (and the list of pieces, 24 bytes each), so the arena grows in a
//! fragmented heap, and never holds old and new storage at once as a growing `Vec` does. Neighbours: `namespace` stores
//! its nodes here, `heap` its data.
use alloc::vec::Vec;

use crate::code::to_usize;

/// Slots of one piece.
const PIECE: usize = 64;

#[derive(Debug)]
pub(crate) struct Arena<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    fn len(&self) -> usize {
        let last = self.pieces.last().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1).saturating_mul(PIECE).saturating_add(last)
    }

    /// Appends a slot; its number, or `None` if the numbers are exhausted.
    pub(crate) fn push(&mut self, slot: T) -> Option<u32> {
        let index = u32::try_from(self.len()).ok()?;
        match self.pieces.last_mut().filter(|piece| piece.len() < PIECE) {
            Some(piece) => piece.push(slot),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(slot);
                self.pieces.push(piece);
            }
        }
        Some(index)
    }

    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = to_usize(index);
        self.pieces.get(index / PIECE)?.get(index % PIECE)
    }

    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = to_usize(index);
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pieces.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that slots keep their numbers and addresses over the border of a piece. Fails when a piece is taken for
    /// full too early or too late.
    #[test]
    fn slots_keep_their_numbers() {
        let mut arena = Arena::new();
        let count = u32::try_from(2 * PIECE).unwrap_or_default() + 1;
        for number in 0..count {
            assert_eq!(arena.push(number), Some(number));
        }
        let first = core::ptr::from_ref(arena.get(0).unwrap_or(&1));
        assert_eq!(arena.push(count), Some(count));
        assert!(core::ptr::eq(first, arena.get(0).unwrap_or(&1)));
        assert!((0..=count).all(|number| arena.get(number) == Some(&number)));
        assert_eq!(arena.get(count + 1), None);
        assert!(arena.iter().copied().eq(0..=count));
    }
}
