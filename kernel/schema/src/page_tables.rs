//! Page tables: `ptwalk` to one address, `ptdump` over all.

use crate::{Text, Word, is_streamed};
use serde::{Deserialize, Serialize};

/// The answer of `ptwalk`; where nothing is mapped, `None` from `phys` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtwalkOf<Levels> {
    pub virt: u64,
    pub window: Option<Word>,
    pub phys: Option<u64>,
    pub leaf_bytes: Option<u64>,
    pub rights: Option<Text<24>>,
    pub caching: Option<Word>,
    #[serde(skip_serializing_if = "is_streamed")]
    pub levels: Levels,
}

/// `ptwalk` with the entries on the way.
#[cfg(feature = "alloc")]
pub type Ptwalk = PtwalkOf<alloc::vec::Vec<PtwalkLevel>>;

/// A step of `ptwalk`: the entry that the address selects in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtwalkLevel {
    /// The table's name: "PML4", "PDPT", "PD", "PT".
    pub level: Word,
    pub index: u64,
    /// Where the table lies.
    pub table: u64,
    pub entry: u64,
    /// "table", "leaf" or "absent".
    pub kind: Word,
    /// Where the next table lies, or the leaf's memory begins.
    pub leads_to: Option<u64>,
    /// The entry's bits in words.
    pub flags: Text<96>,
}

/// The answer of `ptdump`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtdumpOf<Windows> {
    pub writable_executable: u64,
    pub leaves: Leaves,
    #[serde(skip_serializing_if = "is_streamed")]
    pub windows: Windows,
}

/// `ptdump` with the parts of the address space.
#[cfg(feature = "alloc")]
pub type Ptdump = PtdumpOf<alloc::vec::Vec<PtdumpWindow>>;

/// A part of the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PtdumpWindow {
    pub window: Word,
    pub start: u64,
    pub leaves: Leaves,
    pub writable_executable: u64,
    pub executable: u64,
}

/// Leaves by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaves {
    #[serde(rename = "4k")]
    pub small: u64,
    #[serde(rename = "2m")]
    pub large: u64,
    #[serde(rename = "1g")]
    pub huge: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Streamed;
    use serde_json::json;

    // Proves that leaves have the interface's names, and that an address without a mapping has nulls.
    #[test]
    fn names() {
        let leaves = Leaves { small: 3, large: 2, huge: 1 };
        assert_eq!(serde_json::to_value(leaves).unwrap(), json!({"4k": 3, "2m": 2, "1g": 1}));
        let row = PtwalkOf {
            virt: 16,
            window: None,
            phys: None,
            leaf_bytes: None,
            rights: None,
            caching: None,
            levels: Streamed,
        };
        let expected =
            r#"{"virt":16,"window":null,"phys":null,"leaf_bytes":null,"rights":null,"caching":null}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), expected);
    }
}
