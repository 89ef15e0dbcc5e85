//! What is set rather than looked at, and what makes things go wrong on purpose: `policy`, `offline`, `online`,
//! `fail`, `stress`.

use super::Word;
use crate::output::{Column, Row, left, right};
use core::fmt::Display;
use serde::Serialize;

/// The answer of `policy`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PolicyRow {
    /// What becomes of memory that is plugged.
    pub policy: &'static str,
}

/// The answer of `offline`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfflineRow {
    /// Frames that were online and are not any more.
    pub pages: u64,
    /// Frames whose content went elsewhere for that.
    pub migrated_pages: u64,
}

/// The answer of `online`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OnlineRow {
    /// Frames that were offline and are not any more.
    pub pages: u64,
}

/// A step of an add or a removal that can be made to fail: a row of `fail`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FailRow {
    /// What the step is a part of.
    pub of: Word,
    /// Its name.
    pub step: &'static str,
    /// How many times it is still to fail.
    pub times: u32,
}

impl Row for FailRow {
    const COLUMNS: &'static [Column] = &[left("OF"), left("STEP"), right("FAILS")];

    fn cells(&self, cell: &mut dyn FnMut(&dyn Display)) {
        cell(&self.of);
        cell(&self.step);
        cell(&self.times);
    }
}

/// The answer of `poison`.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the words are the interface")]
pub struct PoisonRow {
    pub on: bool,
    pub watched_pages: u64,
    pub damaged_pages: u64,
}

/// The answer of `misuse`, where the misuse is one that nobody can refuse.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "the words are the interface")]
pub struct MisuseRow {
    pub pfn: u64,
}

/// The answer of `stress`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StressRow {
    /// Bytes of the heap that `stress` holds.
    pub held_bytes: u64,
    /// Bytes that are left to everybody; the reserve is not.
    pub left_bytes: u64,
    /// Bytes of the reserve, which only hotplug may use.
    pub reserve_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{Format, list, object};
    use serde_json::{Value, json};
    use std::string::String;

    // fail: what is armed, in both forms.
    #[test]
    fn fail() {
        let row = |step, times| FailRow { of: Word::of(&"add"), step, times };
        let mut rows =
            |tell: &mut dyn FnMut(&FailRow)| [row("check", 0), row("direct-map", 2)].iter().for_each(tell);
        let mut out = String::new();
        list(&mut out, Format::Table, &mut rows).unwrap();
        assert_eq!(out, "OF   STEP        FAILS\nadd  check           0\nadd  direct-map      2\n");
        out.clear();
        list(&mut out, Format::Json, &mut rows).unwrap();
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value[1], json!({"of": "add", "step": "direct-map", "times": 2}));
    }

    // policy -J and stress -J: one line of JSON with these names.
    #[test]
    fn json_names() {
        let mut out = String::new();
        object(&mut out, &PolicyRow { policy: "movable" }).unwrap();
        assert_eq!(out, "{\"policy\":\"movable\"}\n");
        out.clear();
        object(&mut out, &OfflineRow { pages: 7, migrated_pages: 3 }).unwrap();
        object(&mut out, &OnlineRow { pages: 7 }).unwrap();
        assert_eq!(out, "{\"pages\":7,\"migrated_pages\":3}\n{\"pages\":7}\n");
        out.clear();
        object(&mut out, &StressRow { held_bytes: 5, left_bytes: 4, reserve_bytes: 3 }).unwrap();
        assert_eq!(out, "{\"held_bytes\":5,\"left_bytes\":4,\"reserve_bytes\":3}\n");
    }
}
