//! Faults, looked for and provoked: `check`, `poison`, `fail`, `stress`, `misuse`.

use crate::{Text, Word, is_streamed};
use serde::{Deserialize, Serialize};

/// The answer of `check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOf<Errors> {
    pub ok: bool,
    pub checked: u64,
    /// How many things are broken; `errors` has the first of them.
    pub broken: u64,
    #[serde(skip_serializing_if = "is_streamed")]
    pub errors: Errors,
}

/// `check` with its errors.
#[cfg(feature = "alloc")]
pub type Check = CheckOf<alloc::vec::Vec<Finding>>;

/// Something broken, in words.
pub type Finding = Text<200>;

/// A row of `fail`: a step of an add or a removal that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fail {
    /// "add" or "remove".
    pub of: Word,
    pub step: Text<24>,
    /// How many times it is still to fail.
    pub times: u32,
}

/// The answer of `poison`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poison {
    pub on: bool,
    pub watched_pages: u64,
    pub damaged_pages: u64,
}

/// The answer of `misuse`, of a misuse that nothing can refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misuse {
    pub pfn: u64,
}

/// The answer of `stress heap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StressHeap {
    /// Bytes of the heap that `stress heap` holds.
    pub held_bytes: u64,
    /// Bytes that are left to all; the reserve is not among them.
    pub left_bytes: u64,
    /// Bytes of the reserve, which only hotplug may use.
    pub reserve_bytes: u64,
}

/// The answer of `stress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stress {
    /// How many CPUs take part.
    pub cpus: u32,
    /// Blocks and mapped allocations that were made, and those that were verified and freed.
    pub operations: u64,
    /// Pages whose contents were not as written.
    pub bad_pages: u64,
    /// The mean time of an operation on one CPU.
    pub ns_per_operation: u64,
    /// Pages whose memory was surprise-removed.
    pub lost_pages: u64,
    /// Whether it goes on.
    pub running: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn line(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    // Proves the names and their order on the wire.
    #[test]
    fn names() {
        let step = Text::of(&"unmap-direct-map");
        let fail = Fail { of: Word::of(&"remove"), step, times: 2 };
        assert_eq!(line(fail), r#"{"of":"remove","step":"unmap-direct-map","times":2}"#);
        let stress = StressHeap { held_bytes: 5, left_bytes: 4, reserve_bytes: 3 };
        assert_eq!(line(stress), r#"{"held_bytes":5,"left_bytes":4,"reserve_bytes":3}"#);
        let policy = crate::Policy { policy: Word::of(&"movable"), nodes: Word::of(&"fastest") };
        assert_eq!(line(policy), r#"{"policy":"movable","nodes":"fastest"}"#);
        let offline = crate::Offline { pages: 7, migrated_pages: 3 };
        assert_eq!(line(offline), r#"{"pages":7,"migrated_pages":3}"#);
        assert_eq!(line(crate::Online { pages: 7 }), r#"{"pages":7}"#);
    }
}
