//! Terms that make data from the bytes behind them: numbers, strings, buffers, packages (20.2.3, 20.2.5.4).
use alloc::vec::Vec;

use crate::code::Cursor;
use crate::error::Error;
use crate::model::{Data, Val};
use crate::opcode as op;
use crate::run::Run;

impl Run<'_> {
    #[inline(never)]
    pub(crate) fn constant(&mut self, bytes: u32) -> Result<Val, Error> {
        let (cursor, code) = self.cursor()?;
        let value = cursor.number(code, bytes)?;
        Ok(self.int(value))
    }

    #[inline(never)]
    pub(crate) fn string(&mut self) -> Result<Val, Error> {
        let (cursor, code) = self.cursor()?;
        let start = *cursor;
        let length = cursor.string(code)?.len();
        self.core.heap.check(length)?;
        self.step_bytes(length)?;
        let text = { start }.string(self.core.tables.code(start.table))?.into();
        self.core.heap.add(Data::String(text))
    }

    #[inline(never)]
    pub(crate) fn buffer(&mut self) -> Result<Val, Error> {
        let (cursor, code) = self.cursor()?;
        let inside = cursor.package(code)?;
        let behind = core::mem::replace(cursor, inside);
        let size = self.integer()?;
        let cursor = &mut self.frame()?.cursor;
        let mut initial = core::mem::replace(cursor, behind);
        let given = initial.left();
        // As in ACPICA, the size is the larger of the stated size and the number of initial bytes.
        let size = usize::try_from(size).unwrap_or(usize::MAX).max(crate::code::to_usize(given));
        self.core.heap.check(size)?;
        let mut buffer = Vec::with_capacity(size);
        buffer.extend_from_slice(initial.bytes(self.core.tables.code(initial.table), given)?);
        buffer.resize(size, 0);
        self.step_bytes(size)?;
        self.core.heap.add(Data::Buffer(buffer.into()))
    }

    #[inline(never)]
    pub(crate) fn package(&mut self, opcode: u16) -> Result<Val, Error> {
        let (cursor, code) = self.cursor()?;
        let inside = cursor.package(code)?;
        let behind = core::mem::replace(cursor, inside);
        let count = if opcode == op::PACKAGE {
            let (cursor, code) = self.cursor()?;
            u64::from(cursor.byte(code)?)
        } else {
            self.integer()?
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.core.heap.check(count.saturating_mul(size_of::<Val>()))?;
        self.step_bytes(count)?;
        let mut elements = Vec::new();
        loop {
            let (cursor, code) = self.cursor()?;
            if cursor.is_at_end() {
                break;
            }
            // More initial elements than stated are ignored, as in ACPICA.
            if elements.len() >= count {
                break;
            }
            let element = if cursor.is_at_name(code) {
                let Cursor { table, at, .. } = *cursor;
                cursor.name_string(code)?;
                Val::Name { table, at, scope: self.frame()?.scope }
            } else {
                let value = self.term()?;
                self.copied(value)?
            };
            elements.push(element);
        }
        elements.resize(count, Val::Uninit);
        self.frame()?.cursor = behind;
        self.core.heap.add(Data::Package(elements.into()))
    }
}
