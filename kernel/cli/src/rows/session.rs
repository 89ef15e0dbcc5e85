//! The shell itself: `history`.

use serde::Serialize;

/// A line of `history`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct HistoryRow<'a> {
    /// Its number, for `!N`.
    pub number: u64,
    /// What was typed.
    pub line: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::editor::LINE_MAX;
    use crate::output::object;
    use serde_json::{Value, json};
    use std::string::String;

    // The longest line fits, with every byte of it escaped.
    #[test]
    fn json_names() {
        let mut out = String::new();
        let line = "\"".repeat(LINE_MAX);
        object(&mut out, &HistoryRow { number: u64::MAX, line: &line }).unwrap();
        let value: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value, json!({"number": u64::MAX, "line": line}));
    }
}
