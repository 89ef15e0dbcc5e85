//! Reading byte code: a cursor over one loaded table, bounded by the enclosing block.
//!
//! All numbers are little-endian; every read is checked against the cursor's end.
use alloc::string::String;
use alloc::vec::Vec;

use crate::error::{Error, ErrorKind};
use crate::name::{NameSeg, Start, is_lead};

/// The bytes of all loaded tables, headers included, so that offsets are those a disassembler shows.
#[derive(Debug, Default)]
pub(crate) struct Tables(Vec<Vec<u8>>);

impl Tables {
    pub(crate) fn push(&mut self, table: Vec<u8>) -> u16 {
        let index = self.0.len();
        self.0.push(table);
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    /// Empties a table that could not be loaded. Its index is never reused, so a path in it that a surviving object still
    /// holds resolves to nothing rather than to another name.
    pub(crate) fn clear(&mut self, table: u16) {
        if let Some(bytes) = self.0.get_mut(usize::from(table)) {
            *bytes = Vec::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no table has been loaded successfully.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// The byte code of a table; none if it could not be loaded.
    pub(crate) fn code(&self, table: u16) -> &[u8] {
        self.0.get(usize::from(table)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A position in a table and the end of the block it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) table: u16,
    pub(crate) at: u32,
    pub(crate) end: u32,
}

/// A name string in a table, by position: the segments are not copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodePath {
    pub(crate) start: Start,
    table: u16,
    at: u32,
    count: u8,
}

impl CodePath {
    /// The segments, which were checked when the name string was read.
    pub(crate) fn segments<'a>(&self, tables: &'a Tables) -> impl Iterator<Item = NameSeg> + use<'a> {
        let bytes = tables.code(self.table).get(to_usize(self.at)..).unwrap_or_default();
        let (segments, _) = bytes.as_chunks::<4>();
        segments.iter().take(usize::from(self.count)).map(|&segment| NameSeg::literal(segment))
    }

    /// The name string that starts at this position, which was read before.
    pub(crate) fn read(tables: &Tables, table: u16, at: u32) -> Result<Self, Error> {
        Cursor { table, at, end: u32::MAX }.name_string(tables.code(table))
    }

    /// The single segment at this position, which was checked.
    pub(crate) const fn single(table: u16, at: u32) -> Self {
        Self { start: Start::Up(0), table, at, count: 1 }
    }

    pub(crate) const fn count(&self) -> u8 {
        self.count
    }

    /// The path as text, for error messages.
    pub(crate) fn text(&self, tables: &Tables) -> String {
        let mut text = String::new();
        match self.start {
            Start::Root => text.push('\\'),
            Start::Up(levels) => text.extend(core::iter::repeat_n('^', to_usize(levels.min(255)))),
        }
        for (index, segment) in self.segments(tables).enumerate() {
            if index > 0 {
                text.push('.');
            }
            segment.push_to(&mut text);
        }
        text
    }
}

/// Table offsets fit: tables are limited to 16 MiB.
pub(crate) fn to_usize(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

/// Whether a name string starts with this byte. A null name (0x00) is not counted: as a term it is `Zero`.
pub(crate) const fn is_name(byte: u8) -> bool {
    is_lead(byte) || matches!(byte, b'\\' | b'^' | 0x2e | 0x2f)
}

impl Cursor {
    pub(crate) const fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// Bytes left in the block.
    pub(crate) const fn left(&self) -> u32 {
        self.end.saturating_sub(self.at)
    }

    /// The byte ahead, if the block has one.
    #[inline]
    pub(crate) fn ahead(&self, code: &[u8]) -> Option<u8> {
        if self.is_at_end() { None } else { code.get(to_usize(self.at)).copied() }
    }

    #[inline]
    pub(crate) fn peek(&self, code: &[u8]) -> Result<u8, Error> {
        self.ahead(code).ok_or_else(Error::truncated)
    }

    #[inline]
    pub(crate) fn byte(&mut self, code: &[u8]) -> Result<u8, Error> {
        let byte = self.peek(code)?;
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    /// The next `count` bytes.
    pub(crate) fn bytes<'a>(&mut self, code: &'a [u8], count: u32) -> Result<&'a [u8], Error> {
        if count > self.left() {
            return Err(ErrorKind::Truncated.into());
        }
        let from = to_usize(self.at);
        self.at = self.at.saturating_add(count);
        code.get(from..to_usize(self.at)).ok_or_else(|| ErrorKind::Truncated.into())
    }

    /// A number of `count` bytes, at most eight.
    pub(crate) fn number(&mut self, code: &[u8], count: u32) -> Result<u64, Error> {
        let bytes = self.bytes(code, count)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// An opcode; extended ones are 0x5bXX.
    pub(crate) fn opcode(&mut self, code: &[u8]) -> Result<u16, Error> {
        match self.byte(code)? {
            0x5b => Ok(0x5b00 | u16::from(self.byte(code)?)),
            byte => Ok(u16::from(byte)),
        }
    }

    /// The opcode ahead, if there is one.
    pub(crate) fn peek_opcode(&self, code: &[u8]) -> Option<u16> {
        let mut ahead = *self;
        ahead.opcode(code).ok()
    }

    /// Whether a name string starts here.
    pub(crate) fn is_at_name(&self, code: &[u8]) -> bool {
        self.ahead(code).is_some_and(is_name)
    }

    /// A package length (20.2.4): the value counts from its own first byte. As a plain number it is the
    /// length of a field.
    pub(crate) fn package_number(&mut self, code: &[u8]) -> Result<u32, Error> {
        let lead = self.byte(code)?;
        let follow = lead >> 6;
        if follow == 0 {
            return Ok(u32::from(lead & 0x3f));
        }
        let mut value = u32::from(lead & 0x0f);
        for index in 0..follow {
            let shift = u32::from(index).saturating_mul(8).saturating_add(4);
            value |= u32::from(self.byte(code)?) << shift;
        }
        Ok(value)
    }

    /// A package length: returns the cursor over the package's contents and moves `self` behind the package.
    pub(crate) fn package(&mut self, code: &[u8]) -> Result<Self, Error> {
        let from = self.at;
        let length = self.package_number(code)?;
        let end = from.saturating_add(length);
        if end < self.at || end > self.end {
            return Err(ErrorKind::BadLength.into());
        }
        let inside = Self { end, ..*self };
        self.at = end;
        Ok(inside)
    }

    /// The same where the length has one byte, as that of most blocks, and is right; else nothing happens.
    #[inline(always)]
    pub(crate) fn short_package(&mut self, code: &[u8]) -> Option<Self> {
        let lead = self.ahead(code).filter(|&lead| lead < 0x40)?;
        let (at, end) = (self.at.saturating_add(1), self.at.saturating_add(lead.into()));
        if end < at || end > self.end {
            return None;
        }
        self.at = end;
        Some(Self { table: self.table, at, end })
    }

    /// A name string (20.2.2).
    pub(crate) fn name_string(&mut self, code: &[u8]) -> Result<CodePath, Error> {
        let mut start = Start::Up(0);
        if self.peek(code)? == b'\\' {
            self.byte(code)?;
            start = Start::Root;
        } else {
            let mut up = 0u32;
            while self.peek(code)? == b'^' {
                self.byte(code)?;
                up = up.saturating_add(1);
            }
            if up > 0 {
                start = Start::Up(up);
            }
        }
        let count = match self.peek(code)? {
            0 => {
                self.byte(code)?;
                0
            }
            0x2e => {
                self.byte(code)?;
                2
            }
            0x2f => {
                self.byte(code)?;
                self.byte(code)?
            }
            byte if is_lead(byte) => 1,
            _ => return Err(ErrorKind::BadName.into()),
        };
        let path = CodePath { start, table: self.table, at: self.at, count };
        let (segments, _) = self.bytes(code, u32::from(count).saturating_mul(4))?.as_chunks::<4>();
        for &segment in segments {
            NameSeg::new(segment)?;
        }
        Ok(path)
    }

    /// A string up to its NUL, which is consumed.
    pub(crate) fn string<'a>(&mut self, code: &'a [u8]) -> Result<&'a [u8], Error> {
        let bytes = code.get(to_usize(self.at)..to_usize(self.end)).unwrap_or_default();
        let length = bytes.iter().position(|&byte| byte == 0).ok_or(ErrorKind::Truncated)?;
        self.at = self.at.saturating_add(u32::try_from(length).unwrap_or(u32::MAX)).saturating_add(1);
        bytes.get(..length).ok_or_else(|| ErrorKind::Truncated.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that a package whose length has one byte is the same by either way, and that the short way changes nothing
    /// where it does not apply. Fails when a length that is too small or reaches too far is taken.
    #[test]
    fn short_packages_are_packages() {
        let mut taken = 0;
        for lead in 0..=u8::MAX {
            for end in 2..70 {
                let code = [0, 0, lead, 0, 0, 0];
                let cursor = Cursor { table: 3, at: 2, end };
                let (mut short, mut long) = (cursor, cursor);
                match short.short_package(&code) {
                    Some(inside) => {
                        assert_eq!(long.package(&code), Ok(inside));
                        assert_eq!(short, long);
                        taken += 1;
                    }
                    None => {
                        assert_eq!(short, cursor);
                        assert!(lead >= 0x40 || long.package(&code).is_err());
                    }
                }
            }
        }
        // Lengths of 1 to 63 bytes, each in blocks of at least that many and at most 67.
        assert_eq!(taken, (1..=63).map(|length| 68 - length).sum::<u32>());
    }
}
