//! Every test drives the editor by bytes and looks at the terminal, as a person would.

use super::*;
use crate::test_terminal::Terminal;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

fn names(text: &str) -> Candidates<'_> {
    let mut candidates = Candidates::new(text);
    if !text.contains(' ') {
        ["help", "meminfo", "memory", "map"].into_iter().for_each(|name| candidates.add(name));
    }
    candidates
}

struct Session {
    editor: Editor,
    terminal: Terminal,
}

impl Session {
    fn new() -> Session {
        let mut session = Session { editor: Editor::new(), terminal: Terminal::default() };
        session.editor.begin(&mut session.terminal);
        session
    }

    /// Sends bytes; each finished line is taken and a new prompt shown, as the shell does.
    fn send(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Result<String, Event>> {
        let mut lines = Vec::new();
        for &byte in bytes.as_ref() {
            if let Some(event) = self.editor.feed(byte, &mut self.terminal) {
                if event == Event::Complete {
                    let text = self.editor.before_cursor().to_string();
                    self.editor.complete(&names(&text), &mut self.terminal);
                    continue;
                }
                lines.push(if event == Event::Line {
                    Ok(self.editor.line().to_string())
                } else {
                    Err(event)
                });
                self.editor.begin(&mut self.terminal);
            }
        }
        lines
    }

    /// What a person sees in the last row is the line, and the cursor stands where it edits.
    fn assert_shown(&self) {
        let line = self.editor.line();
        if self.editor.search != Search::Off {
            let row = self.terminal.row();
            assert!(
                row.starts_with(PROMPT) && row.contains(" '") && row.len() <= PROMPT.len() + COLUMNS,
                "{row}"
            );
        } else if line.len() <= COLUMNS {
            assert_eq!(self.terminal.row(), [PROMPT, line].concat().trim_end());
            assert_eq!(self.terminal.column(), PROMPT.len() + self.editor.cursor);
        } else {
            let row = self.terminal.row();
            assert!(row.starts_with(PROMPT) && row.len() < 80, "{row}");
            let at = self.terminal.column() - PROMPT.len() + self.editor.view;
            assert_eq!(at, self.editor.cursor);
        }
    }
}

fn ok(line: &str) -> Result<String, Event> {
    Ok(line.to_string())
}

// Typed text is echoed byte by byte, and the prompt is its exact bytes after a newline, once a line.
#[test]
fn plain() {
    let mut session = Session::new();
    assert_eq!(session.send("help\n"), [ok("help")]);
    assert_eq!(session.terminal.bytes, "carapace> help\r\ncarapace> ");
    assert_eq!(session.terminal.prompts(), 2);
}

// Return, newline, and both together each end one line; two of the same end two.
#[test]
fn line_ends() {
    let mut session = Session::new();
    assert_eq!(session.send("a\rb\nc\r\n\r\n\n\r\r\n"), ["a", "b", "c", "", "", "", ""].map(ok));
    // Also with other commands run between the two bytes of an end.
    assert_eq!(session.send("a\r"), [ok("a")]);
    assert_eq!(session.send("\nb\r"), [ok("b")]);
}

// Each editing key has readline's effect.
#[test]
fn editing() {
    for (keys, line) in [
        ("hep\x1b[Dl", "help"),
        ("elp\x1b[Hh", "help"),
        ("elp\x01h\x05!", "help!"),
        ("xelp\x1b[1~\x1b[3~h", "help"),
        ("helpx\x7f", "help"),
        ("helpx\x08", "help"),
        ("hxlp\x1b[D\x1b[D\x7fe", "help"),
        ("free all\x1b[1;5D\x1b[1;5Dx", "xfree all"),
        ("free all\x1bb\x1bb\x1bfx", "freex all"),
        ("free all\x17none", "free none"),
        ("free all  \x17none", "free none"),
        ("free all\x01\x0bhelp", "help"),
        ("free all\x15help", "help"),
        ("free all\x1bb\x15x ", "x all"),
        ("ab\x02\x02\x06X", "aXb"),
        ("ab\x01\x04", "b"),
        ("ab\x1bOD\x1bOHX", "Xab"),
        ("a\x1b[15~\x1b[200~b\x1b[201~", "ab"),
    ] {
        let mut session = Session::new();
        session.send(keys);
        session.assert_shown();
        assert_eq!(session.send("\r"), [ok(if line == "x all" { "x all" } else { line })], "{keys:?}");
    }
}

// Cursor up and down walk the history, and the unfinished line comes back at its end.
#[test]
fn history() {
    let mut session = Session::new();
    session.send("one\rtwo\rthr");
    session.send("\x1b[A\x1b[A\x1b[A");
    assert_eq!(session.editor.line(), "one");
    session.assert_shown();
    session.send("\x1b[B\x1b[B");
    assert_eq!(session.editor.line(), "thr");
    session.send("\x1b[B");
    assert_eq!(session.send("ee\r\x10\x10\r"), [ok("three"), ok("two")]);
}

// `!!` and `!N` replace the line by an earlier one, keep the text after it, and show the result; a missing line is refused
// and not kept.
#[test]
fn recalled() {
    let mut session = Session::new();
    session.send("one\rtwo\r");
    assert_eq!(session.send("!!\r!1 | head\r"), [ok("two"), ok("one | head")]);
    assert!(session.terminal.bytes.contains("!1 | head\r\n-> one | head\r\n"));
    assert_eq!((session.editor.newest(), session.editor.earlier(3)), (3, Some("one | head")));
    assert_eq!(session.send("!9\r!x\r!\r"), vec![Err(Event::NotRecalled); 3]);
    assert_eq!(session.send("!-2\r"), [ok("two")]);
    session.send([&b"y".repeat(LINE_MAX)[..], b"\r"].concat());
    assert_eq!(session.send("!!y\r"), [Err(Event::NotRecalled)]);
    session.assert_shown();
}

/// Proves that Ctrl-R finds the newest line with the typed text in it, again an older one, and that cursor down brings the
/// text back. Fails when a line is skipped or the text is lost.
#[test]
fn search() {
    let mut session = Session::new();
    session.send("sections 1\rmeminfo\rsections 2\rpage 5\r");
    session.send("sec\x12");
    assert_eq!(session.editor.line(), "sections 2");
    assert_eq!(session.terminal.row(), "carapace> search 'sec': sections 2");
    session.send("\x12");
    assert_eq!(session.editor.line(), "sections 1");
    session.send("\x12");
    assert_eq!(session.editor.line(), "sections 1");
    assert_eq!(session.terminal.row(), "carapace> nothing with 'sec': sections 1");
    session.send("\x1b[B\x1b[B\x1b[B\x1b[B");
    assert_eq!(session.editor.line(), "sec");
    session.assert_shown();
    session.send("\x15info\x12");
    assert_eq!(session.send("\r\x12\r"), [ok("meminfo"), ok("meminfo")]);
    session.send("absent\x12");
    assert_eq!(session.editor.line(), "absent");
}

/// Proves that Ctrl-R on an empty line takes the text that follows, as readline does: each letter narrows the search, a
/// backspace widens it, Return runs the line found and shows it behind the prompt, another key edits it, Ctrl-G and Ctrl-C
/// give it up. A log line does not disturb it. Fails when a key of the search lands in the line.
#[test]
fn search_by_letters() {
    let mut session = Session::new();
    session.send("sections 1\rmeminfo\rsections 2\rpage 5\r");
    session.send("\x12m");
    assert_eq!(session.editor.line(), "meminfo");
    session.send("\x08sections 1");
    assert_eq!(session.terminal.row(), "carapace> search 'sections 1': sections 1");
    session.editor.hide(&mut session.terminal);
    session.terminal.write_str("[    1.000000] a DIMM\r\n").unwrap();
    session.editor.show(&mut session.terminal);
    assert_eq!(session.terminal.row(), "carapace> search 'sections 1': sections 1");
    assert_eq!(session.send("\r"), [ok("sections 1")]);
    assert!(session.terminal.rows().iter().any(|row| row == "carapace> sections 1"));
    session.send("\x12page\x1b[D\x7f6 ");
    assert_eq!(session.editor.line(), "page6 5");
    session.assert_shown();
    assert_eq!(session.send("\x03"), [Err(Event::Interrupted)]);
    session.send("me\x12x\x07");
    assert_eq!(session.editor.line(), "mex");
    session.assert_shown();
    assert_eq!(session.send("\x12\x03help\r"), [Err(Event::Interrupted), ok("help")]);
}

/// Proves that Ctrl-D is the end of the input on an empty line only, and deletes elsewhere. Fails when a slip of the finger
/// ends a line that has text.
#[test]
fn end_of_input() {
    let mut session = Session::new();
    assert_eq!(session.send("\x04"), [Err(Event::EndOfInput)]);
    assert!(session.terminal.bytes.ends_with("^D\r\ncarapace> "));
    assert_eq!(session.send("ab\x04\x01\x04\r"), [ok("b")]);
    assert_eq!(session.send("\x1b[3~\r"), [ok("")]);
}

// A line of the limit passes; one byte more, or 64 KiB, is one error after its end, the bytes counted,
// and the next line is whole. The echo of a long line stays within a few times its length.
#[test]
fn too_long() {
    let mut session = Session::new();
    let most = "x".repeat(LINE_MAX);
    assert_eq!(session.send([&most, "\n"].concat()), [ok(&most)]);
    let bytes = LINE_MAX as u64 + 1;
    assert_eq!(session.send([&most, "y\n"].concat()), [Err(Event::TooLong { bytes })]);
    session.terminal.bytes.clear();
    let long = "z".repeat(65536);
    assert_eq!(
        session.send([&long, "\nhelp\n"].concat()),
        [Err(Event::TooLong { bytes: 65536 }), ok("help")]
    );
    assert!(session.terminal.bytes.len() < 4 * LINE_MAX);
    // Given up with Ctrl-U, it is a line like any other.
    assert_eq!(session.send([&long, "\x15help\n"].concat()), [ok("help")]);
}

// A line with bytes that are neither text nor keys is refused at its end with the first of them named.
#[test]
fn refused() {
    for (line, what) in [
        (&b"help\x00\n"[..], Refused::Control(0)),
        (b"\x07\x1ahelp\n", Refused::Control(7)),
        (b"h\xc3\xa9lp\n", Refused::NotAscii),
        (b"\xff\xfe\n", Refused::NotAscii),
        (b"help\x1b]0;title\n", Refused::Unfinished),
        (b"help\x1b[1;2\n", Refused::Unfinished),
        (b"help\x1bP1;2q\n", Refused::Unfinished),
        (b"help\x1b\n", Refused::Unfinished),
    ] {
        let mut session = Session::new();
        assert_eq!(session.send(line), [Err(Event::Refused(what))], "{line:?}");
        // The error that follows starts a line, with nothing in front of it.
        assert!(session.terminal.bytes.ends_with("\r\ncarapace> "));
        assert_eq!(session.send("help\n"), [ok("help")]);
    }
    // Nothing is left of it once the line is given up.
    assert_eq!(Session::new().send("x\x00\x15help\n"), [ok("help")]);
}

// Ctrl-C gives the line up wherever it comes, in the middle of an escape sequence too.
#[test]
fn interrupt() {
    let mut session = Session::new();
    assert_eq!(session.send("abc\x03help\r"), [Err(Event::Interrupted), ok("help")]);
    assert_eq!(session.send("a\x1b]0;\x03help\r"), [Err(Event::Interrupted), ok("help")]);
    assert!(session.terminal.bytes.contains("abc^C\r\ncarapace> "));
}

// A log line is put in the prompt's place, and prompt and typed text follow, the cursor where it was.
// With nothing typed, the output ends in the prompt's bytes: that is how a program knows it is asked.
#[test]
fn log_line() {
    let mut session = Session::new();
    session.send("hep\x1b[D");
    session.editor.hide(&mut session.terminal);
    session.terminal.write_str("[    1.000000] a DIMM\r\n").unwrap();
    session.editor.show(&mut session.terminal);
    assert_eq!(session.terminal.rows(), ["[    1.000000] a DIMM", "carapace> hep"]);
    session.assert_shown();
    assert_eq!(session.send("l\r"), [ok("help")]);
    session.editor.hide(&mut session.terminal);
    session.terminal.write_str("[    2.000000] another\r\n").unwrap();
    session.editor.show(&mut session.terminal);
    assert!(session.terminal.bytes.ends_with("another\r\ncarapace> "));
}

// Tab completes a unique word, or the candidates' common start; a second Tab lists them.
#[test]
fn completion() {
    let mut session = Session::new();
    session.send("h\t");
    assert_eq!(session.editor.line(), "help ");
    session.send("\x15mem\t\t");
    assert_eq!(session.editor.line(), "mem");
    session.assert_shown();
    assert!(session.terminal.bytes.contains("\r\nmeminfo  memory  \r\ncarapace> mem"));
    session.send("i\t");
    assert_eq!(session.editor.line(), "meminfo ");
    // Behind a word that nothing completes it is a blank: text from a file with tabs works.
    assert_eq!(session.send("\x15free\tall\t\n"), [ok("free all ")]);
}

// Ctrl-L leaves the line as it is on an empty screen.
#[test]
fn clear_screen() {
    let mut session = Session::new();
    session.send("a\rhel\x0c");
    assert_eq!(session.terminal.rows(), ["carapace> hel"]);
    session.assert_shown();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Whatever bytes come: no panic, the row shows the line, and each end of a line brings one event.
    #[test]
    fn any_bytes(pieces in prop::collection::vec(prop_oneof![
        4 => "[ -~]{0,30}".prop_map(String::into_bytes),
        2 => prop::sample::select(vec!["\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[H", "\x1b[F", "\x1b[1;5D",
            "\x1b[1;5C", "\x1b[3~", "\x7f", "\x01", "\x12", "\x05", "\x0b", "\x15", "\x17", "\t", "\r", "\n", "\r\n"])
            .prop_map(|keys| keys.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>().prop_filter("Ctrl-L empties the screen", |&b| b != 12), 0..4),
    ], 0..60)) {
        let mut session = Session::new();
        for piece in pieces {
            session.send(&piece);
            if session.editor.keys.unfinished().is_none() {
                session.assert_shown();
            }
        }
        session.send("\x03");
        prop_assert_eq!(session.send("help\n"), [ok("help")]);
    }

    // Text without control bytes comes through as it was sent, in any chunks, with any ends.
    #[test]
    fn text_comes_through(lines in prop::collection::vec("( *[\"-~][ -~]{0,200})?", 1..20), end in "\r|\n|\r\n") {
        let mut session = Session::new();
        let got = session.send(lines.iter().map(|line| [line, end.as_str()].concat()).collect::<String>());
        prop_assert_eq!(got, lines.iter().map(|line| ok(line)).collect::<Vec<_>>());
        prop_assert_eq!(session.terminal.prompts(), lines.len() + 1);
    }
}
