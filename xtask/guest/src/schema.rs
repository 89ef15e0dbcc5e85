//! What `-J` commands answer, as far as tests rely on it: field names and units of the interface.

use serde::{Deserialize, Serialize};

/// Bytes of a frame.
pub const PAGE: u64 = 4096;
/// Frames of a section.
pub const SECTION_PAGES: u64 = 32768;

/// An object of `resources -J`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Resource {
    pub id: u64,
    pub device: String,
    pub base: u64,
    pub size: u64,
    pub node: u64,
    pub zone: String,
    pub state: String,
    pub memmap_start_pfn: u64,
    pub memmap_pages: u64,
    pub usable_start_pfn: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub largest_free_pages: u64,
    pub removable: bool,
    pub pinned_pfn: Option<u64>,
    pub pinned_by: Option<String>,
    pub add: Add,
}

/// What adding a resource cost. Kept as it is by `cargo xtask bench`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Add {
    pub aml_us: u64,
    pub map_us: u64,
    pub online_us: u64,
    pub answer_ns: u64,
    pub aml_ns: u64,
    pub check_ns: u64,
    pub map_ns: u64,
    pub online_ns: u64,
    pub existing_pages_used: u64,
    pub existing_heap_bytes_used: u64,
    pub entries_written: u64,
    pub tables: u64,
    pub descriptors_written: u64,
}

/// An object of `sections -J`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Section {
    pub section: u64,
    pub start_pfn: u64,
    pub pages: u64,
    pub present_pages: u64,
    pub memmap_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub node: u64,
    pub state: String,
    pub resource: u64,
}

/// `meminfo -J`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Meminfo {
    pub total_pages: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
    pub offline_pages: u64,
    pub memmap_pages: u64,
    pub page_table_pages: u64,
    pub heap_bytes: u64,
    pub heap_used: u64,
    pub nodes: Vec<Node>,
}

/// A node of `meminfo -J`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Node {
    pub node: u64,
    pub usable_pages: u64,
    pub free_pages: u64,
}

/// An object of `buddyinfo -J`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Buddyinfo {
    pub resource: u64,
    pub node: u64,
    pub zone: String,
    pub free: Vec<u64>,
}

/// An object of `map -J`.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Extent {
    pub start_pfn: u64,
    pub pages: u64,
    pub node: u64,
    pub resource: u64,
    pub kind: String,
}

/// `page PFN -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Page {
    pub pfn: u64,
    pub phys: u64,
    pub section: u64,
    pub descriptor: u64,
    pub state: String,
    pub order: Option<u64>,
    pub head_pfn: Option<u64>,
    pub resource: Option<u64>,
}

/// `alloc -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Alloc {
    pub id: u64,
    pub pages: u64,
}

/// `verify -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Verify {
    pub ok: bool,
    pub pages: u64,
}

/// `check -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Check {
    pub ok: bool,
    pub checked: u64,
    pub errors: Vec<serde_json::Value>,
}

/// `uptime -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Uptime {
    pub uptime_us: u64,
}

/// `offline -J` and `online -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Moved {
    pub pages: u64,
    /// Nothing for `online`.
    #[serde(default)]
    pub migrated_pages: u64,
}

/// An object of `fail -J`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Fail {
    pub of: String,
    pub step: String,
    pub times: u64,
}

/// An error's text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the interface")]
pub struct Refusal {
    pub error: String,
}
