//! The log ring against a plain list.

use std::collections::VecDeque;
use std::fmt::Write;

use carapace_irq::log_ring::{Cursor, LINE, Line, LogRing};
use proptest::prelude::*;

fn line(text: &str) -> Line {
    let mut line = Line::new();
    line.write_str(text).unwrap();
    line.finish();
    line
}

fn number_of(line: &Line) -> Option<u64> {
    line.as_str().split_once(' ')?.0.parse().ok()
}

/// Proves that logged text becomes one line without control characters, and that a line which is too long is truncated
/// between characters and ends in an ellipsis, also when it is written in pieces. Fails when firmware's text could move
/// the terminal's cursor.
#[test]
fn a_line_is_one_line() {
    assert_eq!(line("\x1b[2Jone\r\ntwo\u{9b}3").as_str(), " [2Jone  two 3");
    let fits = "x".repeat(LINE - 3);
    assert_eq!(line(&fits).as_str(), fits);
    assert_eq!(line(&(fits.clone() + "y")).as_str(), fits.clone() + "...");
    let mut pieces = Line::new();
    for text in [&fits[1..], "é", "z"] {
        pieces.write_str(text).unwrap();
    }
    pieces.finish();
    pieces.finish();
    assert_eq!(pieces.as_str(), fits[1..].to_owned() + "...");
}

/// Proves that lines overwritten before they were printed are reported in their place, once, with their number, and that
/// lines overwritten after printing are not reported. Fails when a line is lost silently.
#[test]
fn unprinted_lines_that_were_dropped_are_reported() {
    let mut lines = LogRing::<1024>::new();
    assert!(!lines.has_unprinted() && lines.next_to_print().is_none());
    for number in 0..100 {
        lines.push(&line(&format!("{number:02} {}", "-".repeat(60))));
    }
    // Of 64 bytes each, 16 fit.
    assert_eq!(lines.dropped(), 84);
    let missing = lines.next_to_print().unwrap();
    assert_eq!(missing.as_str(), "(84 log lines dropped: the serial line was not read)");
    let printed: Vec<_> = std::iter::from_fn(|| lines.next_to_print()).map(|line| number_of(&line)).collect();
    assert_eq!(printed, (84..100).map(Some).collect::<Vec<_>>());
    assert!(!lines.has_unprinted());
    (0..16).for_each(|number| lines.push(&line(&format!("{number:02} {}", "-".repeat(60)))));
    assert_eq!(lines.dropped(), 100);
    assert_eq!(number_of(&lines.next_to_print().unwrap()), Some(0), "those that went had been printed");
}

proptest! {
    /// Proves for any lines that the ring holds the most recent ones that fit, whole and in order; that a reader which
    /// missed lines learns it, and only then; and that `tail` starts at the last few. Fails when an index wraps wrong.
    #[test]
    fn it_is_a_list(steps in prop::collection::vec((0usize..LINE, 0usize..4), 1..60), most in 0u64..5) {
        let (mut lines, mut list) = (LogRing::<1024>::new(), VecDeque::new());
        let (mut next, mut dropped) = (0u64, 0u64);
        let (mut place, mut seen) = (Cursor::default(), 0u64);
        for (length, reads) in steps {
            let text = format!("{next} {}", "x".repeat(length.min(LINE - 30)));
            lines.push(&line(&text));
            list.push_back(text);
            next += 1;
            while list.iter().map(|text: &String| text.len() + 1).sum::<usize>() > 1024 {
                list.pop_front();
                dropped += 1;
            }
            for _ in 0..reads {
                let Some((behind, line)) = lines.read(place) else { break };
                let number = number_of(&line).unwrap();
                prop_assert_eq!(place.misses(behind, &line), number > seen);
                prop_assert_eq!(line.as_str(), list[(number - dropped) as usize].as_str());
                (place, seen) = (behind, number + 1);
            }
            prop_assert_eq!(lines.dropped(), dropped);
            let (mut at, mut all) = (lines.tail(most), Vec::new());
            while let Some((behind, line)) = lines.read(at) {
                all.push(line.as_str().to_owned());
                at = behind;
            }
            prop_assert_eq!(at, lines.end());
            let skipped = list.len().saturating_sub(most as usize);
            prop_assert!(all.iter().eq(list.iter().skip(skipped)));
        }
    }
}
