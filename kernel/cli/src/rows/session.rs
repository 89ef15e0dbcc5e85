//! What is told of the shell itself: `history`, `pager`, `time`.

use serde::Serialize;

/// A line of `history`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HistoryRow<'a> {
    /// Its number, for `!N`.
    pub number: u64,
    /// What was typed.
    pub line: &'a str,
}

/// The answer of `pager`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PagerRow {
    /// Rows of the terminal; null where output never stops.
    pub rows: Option<u16>,
}

/// What `time` tells.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TimeRow {
    /// Nanoseconds of the guest's clock.
    pub time_ns: u64,
    /// Ticks of the time stamp counter.
    pub tsc_ticks: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::editor::LINE_MAX;
    use crate::report::object;
    use serde_json::{Value, json};
    use std::string::String;

    // The names that programs rely on; the longest line fits, with every byte of it escaped.
    #[test]
    fn json_names() {
        let mut out = String::new();
        object(&mut out, &TimeRow { time_ns: 1, tsc_ticks: 2 }).unwrap();
        object(&mut out, &PagerRow { rows: None }).unwrap();
        assert_eq!(out, "{\"time_ns\":1,\"tsc_ticks\":2}\n{\"rows\":null}\n");
        out.clear();
        let line = "\"".repeat(LINE_MAX);
        object(&mut out, &HistoryRow { number: u64::MAX, line: &line }).unwrap();
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value, json!({"number": u64::MAX, "line": line}));
    }
}
