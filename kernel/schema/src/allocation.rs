//! Allocating, freeing, and setting memory online or offline: `alloc`, `free`, `verify`, `offline`, `online`, `policy`.

use crate::Word;
use serde::{Deserialize, Serialize};

/// The answer of `alloc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alloc {
    pub id: u64,
    pub pages: u64,
    /// Where it is mapped.
    pub address: u64,
}

/// The answer of `free`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Free {
    pub allocations: u64,
    pub pages: u64,
}

/// The answer of `verify`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    pub ok: bool,
    /// Pages compared.
    pub pages: u64,
    /// Pages that differ from their pattern.
    pub bad_pages: u64,
}

/// The answer of `memspeed`: nanoseconds for all pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memspeed {
    /// Pages filled, compared and copied.
    pub pages: u64,
    pub fill_ns: u64,
    pub verify_ns: u64,
    pub copy_ns: u64,
    /// The first copy into the target, just allocated: a host provides memory when it is first written.
    pub first_copy_ns: u64,
}

/// The answer of `offline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offline {
    /// Frames that were online and are not any more.
    pub pages: u64,
    /// Frames whose content was migrated.
    pub migrated_pages: u64,
}

/// The answer of `online`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Online {
    /// Frames that were offline and are not any more.
    pub pages: u64,
}

/// The answer of `policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What plugged memory becomes.
    pub policy: Word,
    /// Which node a movable allocation without a node prefers: "fastest" or "most-free".
    pub nodes: Word,
}
