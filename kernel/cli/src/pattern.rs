//! What `grep` looks for: a basic regular expression, as `grep` reads it without flags.
//!
//! ```text
//!  c  itself   .  any character   [a-z] [^a-z]  one of, none of   x*  any number of x
//!  ^  at its start: the line's start   $  at its end: the line's end   \c  c without a meaning
//! ```
//!
//! All places in the pattern where a match can stand are followed at once, a bit each, so a line costs its length
//! times the pattern's, whatever the pattern is. Bytes that are not ASCII match `.` and `[^...]`, and themselves.

use arrayvec::ArrayVec;
use core::fmt;

/// Characters, sets and dots a pattern may have.
const ATOMS: usize = 64;
/// Sets a pattern may have.
const SETS: usize = 8;

/// Upper and lower case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Are different.
    Matters,
    /// Are the same.
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Atom {
    Any,
    Byte(u8),
    Set(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Set {
    /// A bit for each ASCII character in the brackets.
    members: u128,
    /// `[^`: those that are not in them.
    negated: bool,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    atoms: ArrayVec<Atom, ATOMS>,
    /// A bit for each atom that a `*` follows.
    repeated: u64,
    sets: ArrayVec<Set, SETS>,
    at_start: bool,
    at_end: bool,
    case: Case,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// More characters than a pattern may have.
    TooLong,
    /// More sets than a pattern may have.
    TooManySets,
    /// A `[` without its `]`.
    OpenSet,
    /// A set's range that ends before it starts.
    Backwards,
    /// A `\` with nothing behind it.
    Backslash,
    /// What `grep` has and this one has not: `\|`, `\(`, `\{`, `\+`, `\?`, ...
    Unknown(char),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::TooLong => write!(f, "the pattern has more than {ATOMS} characters"),
            PatternError::TooManySets => write!(f, "the pattern has more than {SETS} sets in brackets"),
            PatternError::OpenSet => f.write_str("the pattern has a '[' without its ']'"),
            PatternError::Backwards => f.write_str("a set of the pattern ends before it starts"),
            PatternError::Backslash => f.write_str("the pattern ends in '\\'"),
            PatternError::Unknown(c) => {
                write!(f, "'\\{c}' means nothing in a pattern; these do: . * [a-z] [^a-z] ^ $")
            }
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// As [`PatternError`] says.
    pub fn new(text: &str, case: Case) -> Result<Pattern, PatternError> {
        let mut pattern = Pattern {
            atoms: ArrayVec::new(),
            repeated: 0,
            sets: ArrayVec::new(),
            at_start: text.starts_with('^'),
            at_end: false,
            case,
        };
        let mut rest = text.strip_prefix('^').unwrap_or(text);
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            match c {
                '$' if rest.is_empty() => pattern.at_end = true,
                // A '*' with nothing in front of it is itself.
                '*' if !pattern.atoms.is_empty() => pattern.repeated |= 1 << (pattern.atoms.len() - 1),
                '.' => pattern.push(Atom::Any)?,
                '[' => rest = pattern.set(rest)?,
                '\\' => {
                    let c = rest.chars().next().ok_or(PatternError::Backslash)?;
                    if c.is_ascii_alphanumeric() || "|(){}+?<>`'".contains(c) {
                        return Err(PatternError::Unknown(c));
                    }
                    rest = rest.get(c.len_utf8()..).unwrap_or_default();
                    pattern.bytes(c)?;
                }
                c => pattern.bytes(c)?,
            }
        }
        Ok(pattern)
    }

    fn push(&mut self, atom: Atom) -> Result<(), PatternError> {
        self.atoms.try_push(atom).map_err(|_| PatternError::TooLong)
    }

    fn bytes(&mut self, c: char) -> Result<(), PatternError> {
        c.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| self.push(Atom::Byte(byte)))
    }

    /// Reads what stands behind a `[`; what stands behind its `]`.
    fn set<'a>(&mut self, text: &'a str) -> Result<&'a str, PatternError> {
        let (negated, text) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        // A ']' at the start is a member.
        let end = text.char_indices().skip(1).find(|&(_, c)| c == ']').ok_or(PatternError::OpenSet)?.0;
        let (mut members, rest) =
            (text.get(..end).unwrap_or_default(), text.get(end + 1..).unwrap_or_default());
        let mut set = Set { members: 0, negated };
        while let Some(first) = members.chars().next() {
            members = members.get(first.len_utf8()..).unwrap_or_default();
            let mut last = first;
            if let Some(range) = members.strip_prefix('-')
                && let Some(end) = range.chars().next()
            {
                last = end;
                members = range.get(end.len_utf8()..).unwrap_or_default();
            }
            if last < first {
                return Err(PatternError::Backwards);
            }
            (first..=last).take_while(char::is_ascii).for_each(|c| set.members |= 1 << u32::from(c));
        }
        self.sets.try_push(set).map_err(|_| PatternError::TooManySets)?;
        self.push(Atom::Set((self.sets.len() - 1) as u8))?;
        Ok(rest)
    }

    /// Whether there is a match in `line`, which has no line's end.
    pub fn matches(&self, line: &str) -> bool {
        let end = 1u128 << self.atoms.len();
        let mut places = 0;
        for (number, byte) in line.bytes().enumerate() {
            if number == 0 || !self.at_start {
                places |= 1;
            }
            places = self.skip(places);
            if places & end != 0 && !self.at_end {
                return true;
            }
            places = self.step(places, byte);
            if places == 0 && self.at_start {
                return false;
            }
        }
        if line.is_empty() || !self.at_start {
            places |= 1;
        }
        self.skip(places) & end != 0
    }

    /// Those places too that are reached by having nothing of what may be repeated.
    fn skip(&self, mut places: u128) -> u128 {
        for atom in 0..self.atoms.len() {
            if self.repeated & 1 << atom != 0 && places & 1 << atom != 0 {
                places |= 1 << (atom + 1);
            }
        }
        places
    }

    fn step(&self, places: u128, byte: u8) -> u128 {
        let mut next = 0;
        for (number, atom) in self.atoms.iter().enumerate() {
            if places & 1 << number != 0 && self.takes(*atom, byte) {
                let stays = self.repeated & 1 << number != 0;
                next |= if stays { 1 << number } else { 1 << (number + 1) };
            }
        }
        next
    }

    fn takes(&self, atom: Atom, byte: u8) -> bool {
        match (atom, self.case) {
            (Atom::Any, _) => true,
            (Atom::Byte(wanted), Case::Matters) => wanted == byte,
            (Atom::Byte(wanted), Case::Ignored) => wanted.eq_ignore_ascii_case(&byte),
            (Atom::Set(number), case) => {
                let Some(set) = self.sets.get(usize::from(number)) else { return false };
                let has = |byte: u8| byte.is_ascii() && set.members & 1 << byte != 0;
                let other = match case {
                    Case::Matters => byte,
                    Case::Ignored if byte.is_ascii_uppercase() => byte.to_ascii_lowercase(),
                    Case::Ignored => byte.to_ascii_uppercase(),
                };
                (has(byte) || has(other)) != set.negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    fn matches(pattern: &str, line: &str) -> bool {
        Pattern::new(pattern, Case::Matters).unwrap().matches(line)
    }

    // Each sign means what it means to grep; without signs a pattern is the text itself.
    #[test]
    fn signs() {
        for (pattern, line, found) in [
            ("online", "32 online 1", true),
            ("online", "32 offline 1", false),
            ("", "", true),
            ("", "x", true),
            ("^", "x", true),
            ("^$", "", true),
            ("^$", "x", false),
            ("^ *3[23] ", "     32   0x100000", true),
            ("^ *3[23] ", "     34   0x100000", false),
            ("1$", "resource 1", true),
            ("1$", "1 resource", false),
            ("a.c", "xxabcx", true),
            ("a.c", "ac", false),
            ("ab*c", "ac", true),
            ("ab*c", "abbbc", true),
            ("ab*c$", "abbbd", false),
            (".*x.*y", "yyxzzy", true),
            ("*a", "*a", true),
            ("^*a", "*a", true),
            ("[^0-9]", "0123", false),
            ("[^0-9]", "01a3", true),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("\\.", "a.b", true),
            ("\\.", "ab", false),
            ("^\\_SB.MHPC.MP0[01]", "\\_SB.MHPC.MP01", false),
            ("^\\\\_SB.MHPC.MP0[01]", "\\_SB.MHPC.MP01", true),
            ("a$b", "a$b", true),
            ("é", "née", true),
            ("n.*e", "née", true),
        ] {
            // `\_` is `_`, as grep has it; the path's backslash is written twice.
            assert_eq!(matches(pattern, line), found, "{pattern} in {line}");
        }
        let ignored = |pattern| Pattern::new(pattern, Case::Ignored).unwrap();
        assert!(ignored("oNLine").matches("ONLINE") && ignored("[a-c]x").matches("BX"));
        assert!(!ignored("[^a-c]").matches("AbC"));
    }

    // What is no pattern is refused with the reason.
    #[test]
    fn refused() {
        let error = |pattern: &str| Pattern::new(pattern, Case::Matters).unwrap_err();
        assert_eq!(error("[a-z"), PatternError::OpenSet);
        assert_eq!(error("[]"), PatternError::OpenSet);
        assert_eq!(error("[z-a]"), PatternError::Backwards);
        assert_eq!(error("a\\"), PatternError::Backslash);
        assert_eq!(error("a\\|b"), PatternError::Unknown('|'));
        assert_eq!(error(&"x".repeat(65)), PatternError::TooLong);
        assert_eq!(error(&"[x]".repeat(9)), PatternError::TooManySets);
        assert!(Pattern::new(&"x".repeat(64), Case::Matters).unwrap().matches(&"x".repeat(70)));
    }

    /// Backtracking, as slow and as plain as can be: the oracle.
    fn slowly(pattern: &[u8], line: &[u8]) -> bool {
        fn here(pattern: &[u8], line: &[u8]) -> bool {
            match pattern {
                [] => true,
                [c, b'*', rest @ ..] => {
                    here(rest, line)
                        || !line.is_empty() && (*c == b'.' || *c == line[0]) && here(pattern, &line[1..])
                }
                [b'$'] => line.is_empty(),
                [c, rest @ ..] => !line.is_empty() && (*c == b'.' || *c == line[0]) && here(rest, &line[1..]),
            }
        }
        match pattern {
            [b'^', rest @ ..] => here(rest, line),
            _ => (0..=line.len()).any(|at| here(pattern, &line[at..])),
        }
    }

    proptest! {
        // The same answers as backtracking gives.
        #[test]
        fn as_backtracking(atoms in prop::collection::vec("[ab.]\\*?", 0..6), ends in "\\^?\\$?", line in "[abc]{0,10}") {
            let start = if ends.starts_with('^') { "^" } else { "" };
            let end = if ends.ends_with('$') { "$" } else { "" };
            let pattern = format!("{start}{}{end}", atoms.concat());
            prop_assert_eq!(matches(&pattern, &line), slowly(pattern.as_bytes(), line.as_bytes()), "{}", pattern);
        }

        // Any text is a pattern or one error, and any line is answered.
        #[test]
        fn total(text in "([ -~é]|\\[|\\]|\\*|\\\\){0,80}", line in "\\PC{0,40}") {
            match Pattern::new(&text, Case::Ignored) {
                Ok(pattern) => drop(pattern.matches(&line)),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
