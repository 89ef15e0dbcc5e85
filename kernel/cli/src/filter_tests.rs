//! Filters against what the same filters of a real shell would do.

use super::*;
use crate::pipeline;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// What comes out of the filters of `line` for this text, written in these pieces.
fn through(line: &str, pieces: &[&str]) -> Result<String, FilterError> {
    let pipeline = pipeline::parse(line).unwrap();
    let mut chain = Chain::new();
    chain.start(&pipeline.filters);
    let mut out = String::new();
    pieces.iter().for_each(|piece| chain.write(piece, &mut out).unwrap());
    chain.finish(&mut out)?;
    assert!(chain.is_empty());
    Ok(out)
}

// Each filter and their combinations, as the programs of those names have it.
#[test]
fn as_in_a_real_shell() {
    let text = ["one\ntw", "o\nthree\n", "Two more\n\nlast"];
    for (filters, expected) in [
        ("grep t", "two\nthree\nlast\n"),
        ("grep -i t", "two\nthree\nTwo more\nlast\n"),
        ("grep -v t", "one\nTwo more\n\n"),
        ("grep -c t", "3\n"),
        ("grep '^$'", "\n"),
        ("head -2", "one\ntwo\n"),
        ("head -n 0", ""),
        ("head -n 99", "one\ntwo\nthree\nTwo more\n\nlast\n"),
        ("tail -n 2", "\nlast\n"),
        ("tail -0", ""),
        ("tail", "one\ntwo\nthree\nTwo more\n\nlast\n"),
        ("wc -l", "6\n"),
        ("head -n 3 | tail -n 2 | grep e | wc -l", "1\n"),
        ("tail -n 3 | head -n 1 | grep -i TWO", "Two more\n"),
        ("grep -c o | tail -n 1 | grep -v 4", "3\n"),
        ("wc -l | wc -l", "1\n"),
    ] {
        assert_eq!(through(&std::format!("meminfo | {filters}"), &text).unwrap(), expected, "{filters}");
    }
}

// What cannot be held is told, not left out: a line too long for grep, lines too long for tail; head and wc take it.
#[test]
fn long_lines() {
    let long = "é".repeat(LINE);
    let text = [long.as_str(), "\nx\n"];
    assert_eq!(through("meminfo | grep x", &text), Err(FilterError::LongLine));
    assert_eq!(through("meminfo | head -n 1", &text).unwrap(), std::format!("{long}\n"));
    assert_eq!(through("meminfo | wc -l", &text).unwrap(), "2\n");
    assert_eq!(through("meminfo | tail -n 2", &text).unwrap(), std::format!("{long}\nx\n"));
    let longer = "x".repeat(TAIL) + "\ny\nz\n";
    assert_eq!(through("meminfo | tail -n 3", &[&longer]), Err(FilterError::LongTail { lines: 3 }));
    // Once they are not among the last ones any more, they do not matter.
    assert_eq!(through("meminfo | tail -n 2", &[&longer]).unwrap(), "y\nz\n");
    let many = "a line\n".repeat(TAIL);
    assert_eq!(through("meminfo | tail -n 5", &[&many]).unwrap(), "a line\n".repeat(5));
    // Lines that fit one by one, and three of them not together: the last three are not to be had, the last two are.
    let lines = ["a", "b", "c", "d"].map(|sign| sign.repeat(TAIL / 3) + "\n");
    let all = lines.concat();
    assert_eq!(through("meminfo | tail -n 3", &[&all]), Err(FilterError::LongTail { lines: 3 }));
    assert_eq!(through("meminfo | tail -n 2", &[&all]).unwrap(), lines[2..].concat());
    assert!(FilterError::LongLine.to_string().contains("4096"));
}

// Nothing more is wanted as soon as what comes out cannot change.
#[test]
fn enough() {
    let mut chain = Chain::new();
    let wants = |line: &str, text: &str, chain: &mut Chain| {
        chain.start(&pipeline::parse(line).unwrap().filters);
        chain.write(text, &mut String::new()).unwrap();
        chain.wants_more()
    };
    assert!(wants("meminfo | head -n 2", "a\nb", &mut chain));
    assert!(!wants("meminfo | head -n 2", "a\nb\n", &mut chain));
    assert!(!wants("meminfo | grep a | head -n 1", "b\na\n", &mut chain));
    assert!(wants("meminfo | tail -n 1", "b\na\n", &mut chain));
    chain.start(&[]);
    assert!(chain.wants_more() && chain.is_empty());
}

proptest! {
    // However the text is cut into pieces, the answer is that for its lines.
    #[test]
    fn as_lines(
        text in "[ab\n]{0,60}",
        cuts in prop::collection::vec(0usize..60, 0..6),
        head in 0u64..6,
        tail in 0u64..6,
        order: bool,
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut < text.len()).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&text[from..cut]);
            from = cut;
        }
        pieces.push(&text[from..]);
        let filters = [std::format!("head -n {head}"), std::format!("tail -n {tail}")];
        let [first, second] = if order { [0, 1] } else { [1, 0] };
        let out = through(&std::format!("meminfo | grep a | {} | {}", filters[first], filters[second]), &pieces);
        let mut lines: Vec<&str> = text.lines().filter(|line| line.contains('a')).collect();
        for which in [first, second] {
            if which == 0 {
                lines.truncate(head as usize);
            } else {
                lines.drain(..lines.len() - lines.len().min(tail as usize));
            }
        }
        let expected: String = lines.iter().map(|line| std::format!("{line}\n")).collect();
        prop_assert_eq!(out.unwrap(), expected);
    }
}
