//! What the frames of a node's zone are, as Linux's `/proc/pagetypeinfo` has it: blocks by order and type, and blocks
//! of 2 MiB by the worst that is in them.

use super::{PAGE, Word};
use crate::human::ShortSize;
use crate::report::{Column, Row, left, right};
use core::fmt::Display;
use serde::Serialize;

/// Order of the blocks that are counted whole: 2 MiB, a large leaf.
pub const PAGE_BLOCK_ORDER: u32 = 9;

/// What a block is, the one last that matters most to a block of 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// Free.
    Free,
    /// In use, and can be migrated.
    Movable,
    /// Offline.
    Offline,
    /// Pinned: by an allocation, since boot, or as memmap.
    Pinned,
}

/// How many blocks there are of each type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the types' names")]
pub struct ByType {
    pub free: u64,
    pub movable: u64,
    pub pinned: u64,
    pub offline: u64,
}

impl ByType {
    /// Counts blocks.
    pub fn add(&mut self, kind: Type, blocks: u64) {
        let count = match kind {
            Type::Free => &mut self.free,
            Type::Movable => &mut self.movable,
            Type::Pinned => &mut self.pinned,
            Type::Offline => &mut self.offline,
        };
        *count = count.saturating_add(blocks);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == ByType::default()
    }
}

/// Blocks of one order in a node's zone: a row of `pagetypeinfo`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the words are the interface")]
pub struct PageTypeRow {
    pub node: u32,
    pub zone: Word,
    pub order: u8,
    pub free: u64,
    pub movable: u64,
    pub pinned: u64,
    pub offline: u64,
}

impl PageTypeRow {
    /// A row of these blocks.
    pub fn of(node: u32, zone: Word, order: u8, blocks: &ByType) -> PageTypeRow {
        let ByType { free, movable, pinned, offline } = *blocks;
        PageTypeRow { node, zone, order, free, movable, pinned, offline }
    }
}

impl Row for PageTypeRow {
    const COLUMNS: &'static [Column] = &[
        right("NODE"),
        left("ZONE"),
        right("ORDER"),
        right("SIZE"),
        right("FREE"),
        right("MOVABLE"),
        right("PINNED"),
        right("OFFLINE"),
    ];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.node);
        cell(&self.zone);
        cell(&self.order);
        cell(&ShortSize(PAGE << self.order.min(51)));
        [self.free, self.movable, self.pinned, self.offline].iter().for_each(|count| cell(count));
    }
}

/// Blocks of 2 MiB of a node's zone, by the worst that is in them.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the words are the interface")]
pub struct PageBlocksRow {
    pub node: u32,
    pub zone: Word,
    pub free: u64,
    pub movable: u64,
    pub pinned: u64,
    pub offline: u64,
}

impl PageBlocksRow {
    /// A row of these blocks.
    pub fn of(node: u32, zone: Word, blocks: &ByType) -> PageBlocksRow {
        let ByType { free, movable, pinned, offline } = *blocks;
        PageBlocksRow { node, zone, free, movable, pinned, offline }
    }
}

impl Row for PageBlocksRow {
    const COLUMNS: &'static [Column] = &[
        right("NODE"),
        left("ZONE"),
        right("2M BLOCKS"),
        right("FREE"),
        right("MOVABLE"),
        right("PINNED"),
        right("OFFLINE"),
    ];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.node);
        cell(&self.zone);
        cell(
            &self.free.saturating_add(self.movable).saturating_add(self.pinned).saturating_add(self.offline),
        );
        [self.free, self.movable, self.pinned, self.offline].iter().for_each(|count| cell(count));
    }
}

/// Counts blocks of 2 MiB from extents that come in ascending order.
#[derive(Clone, Copy, Debug, Default)]
pub struct PageBlocks {
    done: ByType,
    /// The block that the last extent ends in, and the worst in it so far.
    open: Option<(u64, Type)>,
}

impl PageBlocks {
    /// Takes in the frames from `start` up to `end`.
    pub fn extent(&mut self, start: u64, end: u64, kind: Type) {
        if end <= start {
            return;
        }
        let (first, last) = (start >> PAGE_BLOCK_ORDER, (end - 1) >> PAGE_BLOCK_ORDER);
        match &mut self.open {
            Some((block, worst)) if *block == first => *worst = kind.max(*worst),
            _ => {
                self.close();
                self.open = Some((first, kind));
            }
        }
        if last > first {
            self.close();
            self.done.add(kind, last - first - 1);
            self.open = Some((last, kind));
        }
    }

    fn close(&mut self) {
        if let Some((_, worst)) = self.open.take() {
            self.done.add(worst, 1);
        }
    }

    /// How many there are.
    pub fn sums(mut self) -> ByType {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        // Against a look at each frame: a block is what the worst of its frames is.
        #[test]
        fn blocks_of_frames(extents in prop::collection::vec((0u64..300, 1u64..2000, 0usize..4), 0..12)) {
            const TYPES: [Type; 4] = [Type::Free, Type::Movable, Type::Offline, Type::Pinned];
            let (mut blocks, mut frames) = (PageBlocks::default(), BTreeMap::new());
            let mut at = 0;
            for (gap, pages, kind) in extents {
                let start = at + gap;
                at = start + pages;
                blocks.extent(start, at, TYPES[kind]);
                for pfn in start..at {
                    let worst = frames.entry(pfn >> PAGE_BLOCK_ORDER).or_insert(TYPES[kind]);
                    *worst = TYPES[kind].max(*worst);
                }
            }
            let mut expected = ByType::default();
            frames.values().for_each(|&kind| expected.add(kind, 1));
            prop_assert_eq!(blocks.sums(), expected);
        }
    }
}
