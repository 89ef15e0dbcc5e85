//! Frames: `map` by runs that are alike, `page` one by one.

use crate::Word;
use serde::{Deserialize, Serialize};

/// What a frame is, in pictures of memory; the rarest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Free,
    /// Allocated.
    Used,
    /// Pinned since boot: firmware's tables, kernel image, boot page tables.
    Boot,
    /// The resource's own data.
    Memmap,
    Offline,
    /// Not plugged into a chunk of virtio-mem memory.
    Unplugged,
}

/// All kinds, in their order.
pub const KINDS: [Kind; 6] =
    [Kind::Free, Kind::Used, Kind::Boot, Kind::Memmap, Kind::Offline, Kind::Unplugged];

impl Kind {
    /// Its letter.
    pub const fn letter(self) -> char {
        match self {
            Kind::Free => '.',
            Kind::Used => 'u',
            Kind::Boot => 'B',
            Kind::Memmap => 'm',
            Kind::Offline => 'o',
            Kind::Unplugged => '_',
        }
    }

    /// Its word, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Free => "free",
            Kind::Used => "used",
            Kind::Boot => "boot",
            Kind::Memmap => "memmap",
            Kind::Offline => "offline",
            Kind::Unplugged => "unplugged",
        }
    }
}

/// A row of `map`: a run of frames of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    pub start_pfn: u64,
    pub pages: u64,
    pub node: u32,
    pub resource: u32,
    pub kind: Kind,
}

impl Extent {
    /// Appends `next` to this run if it follows it and is alike; else it is the next run.
    pub fn join(&mut self, next: &Extent) -> Joined {
        let follows = self.start_pfn.saturating_add(self.pages) == next.start_pfn;
        let alike = (self.node, self.resource, self.kind) == (next.node, next.resource, next.kind);
        if !(follows && alike) {
            return Joined::No;
        }
        self.pages += next.pages;
        Joined::Yes
    }
}

/// Whether two rows have become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    Yes,
    No,
}

/// The answer of `page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    pub pfn: u64,
    pub phys: u64,
    pub section: u64,
    /// Where its descriptor lies, virtually.
    pub descriptor: u64,
    /// "memmap", "free", "movable", "pinned", "offline", "unplugged" or "absent".
    pub state: Word,
    /// Of its block; `None` for memmap and absent frames, as `head_pfn` is.
    pub order: Option<u8>,
    pub head_pfn: Option<u64>,
    pub resource: Option<u32>,
    /// The allocation that holds it.
    pub allocation: Option<u64>,
    /// Where its block is mapped, if an allocation holds it.
    pub mapped_at: Option<u64>,
    /// Why it is pinned since boot.
    pub owner: Option<Word>,
    /// Its place in its section.
    pub section_offset: u64,
    /// Where its descriptor lies, physically; `None` where nothing is mapped there.
    pub descriptor_phys: Option<u64>,
    /// Frames of its block.
    pub block_pages: Option<u64>,
    /// For a frame of the memmap: the first frame whose descriptor lies in it.
    pub describes_pfn: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // Proves that blocks that follow each other and are alike become one run, and others do not; and the words of the
    // kinds.
    #[test]
    fn extents() {
        let block = |start_pfn, kind| Extent { start_pfn, pages: 4, node: 0, resource: 1, kind };
        let mut run = block(8, Kind::Free);
        assert_eq!(run.join(&block(12, Kind::Free)), Joined::Yes);
        assert_eq!((run.start_pfn, run.pages), (8, 8));
        assert_eq!(run.join(&block(16, Kind::Used)), Joined::No);
        assert_eq!(run.join(&block(20, Kind::Free)), Joined::No);
        assert_eq!(run.join(&Extent { resource: 2, ..block(16, Kind::Free) }), Joined::No);
        let value = serde_json::to_value(run).unwrap();
        assert_eq!(value, json!({"start_pfn": 8, "pages": 8, "node": 0, "resource": 1, "kind": "free"}));
        for kind in KINDS {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
