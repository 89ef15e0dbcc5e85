//! The log's lines against a plain list.

use std::collections::VecDeque;
use std::fmt::Write;

use carapace_irq::lines::{Cursor, LINE, Line, Lines};
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

/// Proves that whatever is logged is one line that cannot steer the terminal, and that one which is too long is cut between
/// characters and says so, also when it comes in pieces. Fails when firmware's text could move the cursor.
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

/// Proves that what gave way before it was printed is told in its place, once, with its number, and that nothing is said
/// of what gave way afterwards. Fails when a line is lost without a word.
#[test]
fn what_nobody_has_seen_is_told() {
    let mut lines = Lines::<1024>::new();
    assert!(!lines.has_unprinted() && lines.next_to_print().is_none());
    for number in 0..100 {
        lines.push(&line(&format!("{number:02} {}", "-".repeat(60))));
    }
    // Of 64 bytes each, 16 fit.
    assert_eq!(lines.dropped(), 84);
    let missing = lines.next_to_print().unwrap();
    assert!(missing.as_str().ends_with("since the serial line was not read: 84)"), "{}", missing.as_str());
    let printed: Vec<_> = std::iter::from_fn(|| lines.next_to_print()).map(|line| number_of(&line)).collect();
    assert_eq!(printed, (84..100).map(Some).collect::<Vec<_>>());
    assert!(!lines.has_unprinted());
    (0..16).for_each(|number| lines.push(&line(&format!("{number:02} {}", "-".repeat(60)))));
    assert_eq!(lines.dropped(), 100);
    assert_eq!(number_of(&lines.next_to_print().unwrap()), Some(0), "those that went had been printed");
}

proptest! {
    /// Proves for any lines that those which are there are the last that fit, whole and in their order; that a reader who
    /// was late is told so, and only then; and that the last few are the last few.
    #[test]
    fn it_is_a_list(steps in prop::collection::vec((0usize..LINE, 0usize..4), 1..60), most in 0u64..5) {
        let (mut lines, mut list) = (Lines::<1024>::new(), VecDeque::new());
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
            let (mut at, mut all) = (lines.last(most), Vec::new());
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
