//! Converts bytes to keys by `vte`, a parser for terminal emulators: a terminal's cursor keys send the same kind of
//! sequences that it accepts as output.

use arrayvec::ArrayVec;
use core::fmt;
use vte::{Params, Parser, Perform};

/// Bytes of an operating-system command that are kept: none is of use here.
const OSC_BYTES: usize = 16;
const ESCAPE: u8 = 0x1b;

/// A key of the editor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A printable ASCII character.
    Text(u8),
    /// Cursor left, Ctrl-B.
    Left,
    /// Cursor right, Ctrl-F.
    Right,
    /// Home, Ctrl-A.
    Home,
    /// End, Ctrl-E.
    End,
    /// Ctrl-Left, Alt-B.
    WordLeft,
    /// Ctrl-Right, Alt-F.
    WordRight,
    /// Backspace, either code.
    Backspace,
    /// Delete.
    Delete,
    /// Ctrl-D: Delete, or the end of the input on an empty line.
    DeleteOrEnd,
    /// Ctrl-K.
    KillToEnd,
    /// Ctrl-U.
    KillToStart,
    /// Ctrl-W.
    KillWord,
    /// Cursor up, Ctrl-P.
    Older,
    /// Cursor down, Ctrl-N.
    Newer,
    /// Ctrl-R.
    Search,
    /// Tab.
    Complete,
    /// Ctrl-L.
    ClearScreen,
    /// Neither text nor a key.
    Refused(Refused),
}

/// Input that is neither text nor an editing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A control byte without a function here.
    Control(u8),
    /// A character that is not ASCII, or bytes that are no character.
    NotAscii,
    /// An escape sequence that the line's end has cut off.
    Unfinished,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Control(byte) => write!(f, "the control byte {byte:#04x}, which has no function here"),
            Refused::NotAscii => f.write_str("a character that is not ASCII"),
            Refused::Unfinished => f.write_str("an escape sequence that does not end"),
        }
    }
}

/// The most keys of one byte: a broken UTF-8 character and the byte itself.
type Pressed = ArrayVec<Key, 4>;

/// The state of a half-read sequence.
pub struct Keys {
    parser: Parser<OSC_BYTES>,
    sink: Sink,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("escaped", &self.sink.escaped).finish_non_exhaustive()
    }
}

impl Default for Keys {
    fn default() -> Keys {
        Keys::new()
    }
}

impl Keys {
    /// Outside of any sequence.
    pub fn new() -> Keys {
        Keys { parser: Parser::new_with_size(), sink: Sink::default() }
    }

    /// The keys that `byte` completes. The caller handles ends of lines and Ctrl-C.
    pub fn advance(&mut self, byte: u8) -> Pressed {
        if byte == ESCAPE {
            self.sink.escaped = true;
        }
        self.parser.advance(&mut self.sink, &[byte]);
        core::mem::take(&mut self.sink.pressed)
    }

    /// Whether a sequence (or a UTF-8 character) has begun and not ended.
    pub fn unfinished(&self) -> Option<Refused> {
        self.sink.escaped.then_some(Refused::Unfinished)
    }
}

#[derive(Default)]
struct Sink {
    pressed: Pressed,
    /// An escape byte has come and nothing has ended the sequence yet.
    escaped: bool,
    /// ESC O has come: the next character is a key of application mode.
    single_shift: bool,
}

impl Sink {
    fn press(&mut self, key: Key) {
        self.escaped = false;
        // Cannot fail: the capacity is the most keys of one byte.
        let _ = self.pressed.try_push(key);
    }

    fn cursor_key(&mut self, action: char, modified: bool) {
        let key = match (action, modified) {
            ('A', _) => Key::Older,
            ('B', _) => Key::Newer,
            ('C', false) => Key::Right,
            ('C', true) => Key::WordRight,
            ('D', false) => Key::Left,
            ('D', true) => Key::WordLeft,
            ('H', _) => Key::Home,
            ('F', _) => Key::End,
            _ => return,
        };
        self.press(key);
    }
}

impl Perform for Sink {
    fn print(&mut self, character: char) {
        if core::mem::take(&mut self.single_shift) {
            self.escaped = false;
            return self.cursor_key(character, false);
        }
        self.press(match character {
            ' '..='~' => Key::Text(character as u8),
            '\x7f' => Key::Backspace,
            _ => Key::Refused(Refused::NotAscii),
        });
    }

    fn execute(&mut self, byte: u8) {
        self.single_shift = false;
        self.press(match byte {
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x04 => Key::DeleteOrEnd,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x08 => Key::Backspace,
            b'\t' => Key::Complete,
            0x0b => Key::KillToEnd,
            0x0c => Key::ClearScreen,
            0x0e => Key::Newer,
            0x10 => Key::Older,
            0x12 => Key::Search,
            0x15 => Key::KillToStart,
            0x17 => Key::KillWord,
            0x80.. => Key::Refused(Refused::NotAscii),
            _ => Key::Refused(Refused::Control(byte)),
        });
    }

    fn csi_dispatch(&mut self, params: &Params, _intermediates: &[u8], _ignore: bool, action: char) {
        self.escaped = false;
        let mut numbers = params.iter().map(|group| group.first().copied().unwrap_or(0));
        let first = numbers.next().unwrap_or(0);
        let modified = numbers.next().is_some_and(|modifier| modifier > 1);
        match (action, first) {
            ('~', 1 | 7) => self.press(Key::Home),
            ('~', 3) => self.press(Key::Delete),
            ('~', 4 | 8) => self.press(Key::End),
            // Other keys (Insert, F5, ...) do nothing.
            _ => self.cursor_key(action, modified),
        }
    }

    fn esc_dispatch(&mut self, _intermediates: &[u8], _ignore: bool, byte: u8) {
        self.escaped = false;
        match byte {
            b'b' => self.press(Key::WordLeft),
            b'f' => self.press(Key::WordRight),
            b'O' => {
                self.single_shift = true;
                self.escaped = true;
            }
            _ => {}
        }
    }

    fn osc_dispatch(&mut self, _params: &[&[u8]], _bell_terminated: bool) {
        self.escaped = false;
    }
}
