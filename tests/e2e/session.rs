//! docs/session.md shows the output of today's `cargo xtask demo`: the test plays the demo and compares.
//!
//! Figures differ between machines and builds: the test compares the words of a line, with each number as `#`. Lines of
//! the log may come at any place. `cargo xtask demo` itself checks the figures of the DIMM.
//!
//! `CARAPACE_SESSION=write cargo xtask test session_of_the_docs` puts today's session into it.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::{env, fs};
use tests::task;

const PROMPT: &str = "carapace> ";
const OPENING: &str = "```text\n";
/// What stands in the page in front of the session, and behind it.
const BORDERS: [&str; 2] = ["<!-- session:", "```\n<!-- end of session -->"];

/// A terminal's output as plain text: no colours, no erased lines.
fn plain(output: &str) -> String {
    let mut text = String::new();
    let mut characters = output.chars().filter(|&character| character != '\r');
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // An escape sequence ends with its first letter.
            let _ = characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(character);
        }
    }
    text
}

/// The session as the page has it: without prompts that were overtaken by something, without the first `map`.
fn session(output: &str) -> String {
    let text = plain(output);
    let mut lines: Vec<&str> = Vec::new();
    let mut maps = 0;
    let mut skipping = false;
    for line in text.lines() {
        // More than one, where two lines came one after the other.
        let rest = line.trim_start_matches(PROMPT);
        let overtaken = (rest != line && (rest.starts_with('[') || rest.is_empty())).then_some(rest);
        let line = overtaken.unwrap_or(line).trim_end();
        if line.starts_with(PROMPT) {
            maps += usize::from(line.ends_with(" map"));
            skipping = line.ends_with(" map") && maps == 1;
        }
        if !skipping && (overtaken.is_none() || !line.is_empty()) {
            lines.push(line);
        }
    }
    let end = lines.iter().rposition(|line| line.starts_with(PROMPT)).map_or(lines.len(), |last| last + 1);
    lines[..end].join("\n") + "\n"
}

/// A line's words, with `#` for every number and one space between them. Rows of the map are figures as a whole.
fn shape(line: &str) -> String {
    let line = match line.split_once(' ') {
        Some((address, _)) if address.len() == 14 && address.starts_with("0x") => address,
        _ => line,
    };
    let number = |word: &str| {
        let bare = word.trim_matches(|character: char| !character.is_ascii_alphanumeric());
        bare.starts_with(|first: char| first.is_ascii_digit())
    };
    // A time's unit belongs to its figure.
    let unit = |word: &str| matches!(word.trim_end_matches(','), "us" | "ms" | "s");
    let words = line.split_whitespace().filter(|&word| word != "[" && !unit(word));
    words.map(|word| if number(word) { "#" } else { word }).collect::<Vec<_>>().join(" ")
}

fn shapes(session: &str) -> BTreeSet<String> {
    session.lines().map(shape).collect()
}

/// Proves that `cargo xtask demo` plays the example to its end without input, and that docs/session.md shows its output.
/// Fails if a command prints other or more words than the page has.
#[test]
fn session_of_the_docs() {
    let arguments = ["demo", "--accel", "tcg"].map(str::to_owned);
    let output = task::command(&arguments).stdin(Stdio::null()).output().expect("cargo can be started");
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert_eq!(output.status.code(), Some(0), "{out}--- standard error:\n{err}");
    let now = session(&out);

    let path = task::root().join("docs/session.md");
    let page = fs::read_to_string(&path).expect("there is docs/session.md");
    let [before, behind] = BORDERS.map(|border| page.find(border).expect("the page has a session"));
    let start = before + page[before..].find(OPENING).expect("in a block of text") + OPENING.len();
    if env::var("CARAPACE_SESSION").is_ok_and(|what| what == "write") {
        fs::write(&path, format!("{}{now}{}", &page[..start], &page[behind..])).expect("it can be written");
        return;
    }
    let (shown, seen) = (shapes(&page[start..behind]), shapes(&now));
    // The README's picture shows lines of it.
    let picture = fs::read_to_string(task::root().join("docs/session.svg")).expect("there is a picture");
    let drawn = picture.lines().filter_map(|line| line.strip_prefix("<text ")?.split_once('>'));
    for line in
        drawn.map(|(_, text)| text.trim_end_matches("</text>").replace("&gt;", ">").replace("&amp;", "&"))
    {
        assert!(
            shown.contains(&shape(&line)),
            "docs/session.svg shows {line:?}, and docs/session.md does not"
        );
    }
    let [gone, new]: [Vec<_>; 2] = [shown.difference(&seen).collect(), seen.difference(&shown).collect()];
    assert!(
        gone.is_empty() && new.is_empty(),
        "only in docs/session.md: {gone:#?}\nonly in today's session: {new:#?}\n\
         CARAPACE_SESSION=write cargo xtask test session_of_the_docs puts today's into it"
    );
}

/// Proves that numbers and spaces make no difference, and words do.
#[test]
fn shapes_of_lines() {
    assert_eq!(shape("[    0.017763] INFO  clock: 2445489 kHz"), "# INFO clock: # kHz");
    assert_eq!(shape("ID  BASE 0x100000, 511.8 MiB"), "ID BASE # # MiB");
    assert_eq!(shape("0x000100000000 mmmm...."), "#");
    assert_ne!(shape("memmap 1 page"), shape("memmap 1 pages"));
    let output = "carapace> \n(qemu) x\ncarapace> \r\u{1b}[Kcarapace> \r\u{1b}[K[ 1.0] INFO y\r\n\
                  carapace> map\r\n\u{1b}[42m.\u{1b}[0m\ncarapace> map\n..\ncarapace> poweroff\nlast words\n";
    let kept = "(qemu) x\n[ 1.0] INFO y\ncarapace> map\n..\ncarapace> poweroff\n";
    assert_eq!(session(output), kept);
}
