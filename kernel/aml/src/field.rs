//! Fields of operation regions and of buffers (19.6.48, 19.6.100, 19.6.18): declaration, reading and writing.
//!
//! ```text
//! region bytes   | 0      | 1      | 2      | 3      |     one datum = one hardware access
//! field bits              ^^^^^^^^^^^^^                    from datum to datum, low bits first
//! ```
use alloc::vec::Vec;

use crate::access::Width;
use crate::code::Cursor;
use crate::error::{Error, ErrorKind};
use crate::model::{BufferField, BufferFieldKind, Data, FieldUnit, Handle, Home, Lock, Object, Update, Val};
use crate::opcode as op;
use crate::run::Run;

/// The part of a field that lies in one datum.
struct Piece {
    /// Byte offset of the datum in the region.
    byte: u64,
    /// Bits of the datum below the piece.
    shift: u32,
    /// Bits of the piece.
    bits: u32,
    /// Bit position of the piece within the field.
    position: u32,
}

impl FieldUnit {
    /// Refuses an access to a field of length 0: tables have them, and name them nowhere.
    fn has_bits(self) -> Result<(), Error> {
        if self.bits == 0 { Err(ErrorKind::Malformed("a field without bits").into()) } else { Ok(()) }
    }

    /// The pieces from the lowest bit on.
    fn pieces(self) -> impl Iterator<Item = Piece> {
        let datum_bits = self.width.bytes().saturating_mul(8);
        let end = u64::from(self.offset).saturating_add(u64::from(self.bits));
        let first = u64::from(self.offset).checked_div(u64::from(datum_bits)).unwrap_or(0);
        let last = end.div_ceil(u64::from(datum_bits));
        (first..last).map(move |datum| {
            let from = datum.saturating_mul(u64::from(datum_bits));
            let start = from.max(u64::from(self.offset));
            let stop = from.saturating_add(u64::from(datum_bits)).min(end);
            let low = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            Piece {
                byte: datum.saturating_mul(u64::from(self.width.bytes())),
                shift: low(start.saturating_sub(from)),
                bits: low(stop.saturating_sub(start)),
                position: low(start.saturating_sub(u64::from(self.offset))),
            }
        })
    }
}

/// A mask of the low `bits` bits.
fn mask(bits: u32) -> u64 {
    if bits >= u64::BITS { u64::MAX } else { (1u64 << bits).wrapping_sub(1) }
}

/// The `bits` bits from `position` on, bits beyond the end being zero.
fn bits_of(bytes: &[u8], position: u32, bits: u32) -> u64 {
    let first = crate::code::to_usize(position / 8);
    let mut wide = 0u128;
    for (&byte, index) in bytes.iter().skip(first).take(9).zip(0u32..) {
        wide |= u128::from(byte) << index.saturating_mul(8);
    }
    let value = wide >> (position % 8);
    u64::try_from(value & u128::from(u64::MAX)).unwrap_or_default() & mask(bits)
}

/// Sets the `bits` bits from `position` on.
fn set_bits(bytes: &mut [u8], position: u32, bits: u32, value: u64) {
    let first = crate::code::to_usize(position / 8);
    let shift = position % 8;
    let (keep, set) = (u128::from(mask(bits)) << shift, u128::from(value & mask(bits)) << shift);
    for (byte, index) in bytes.iter_mut().skip(first).take(9).zip(0u32..) {
        let low = index.saturating_mul(8);
        let part = |wide: u128| u8::try_from(wide >> low & 0xff).unwrap_or_default();
        *byte = *byte & !part(keep) | part(set);
    }
}

impl Run<'_> {
    /// Field, IndexField and BankField (20.2.5.2), whose opcode has been read.
    pub(crate) fn field_list(&mut self, opcode: u16) -> Result<(), Error> {
        let (cursor, tables) = self.cursor()?;
        let inside = cursor.package(tables)?;
        let behind = core::mem::replace(cursor, inside);
        let first = self.name_string()?;
        let first = self.existing(first)?;
        let home = match opcode {
            op::FIELD => Home::Region(self.region_node(first)?),
            op::INDEX_FIELD => {
                let data = self.name_string()?;
                let data = self.existing(data)?;
                Home::Index { index: self.field_node(first)?, data: self.field_node(data)? }
            }
            _ => {
                let bank = self.name_string()?;
                let bank = self.existing(bank)?;
                let bank = self.field_node(bank)?;
                let value = u32::try_from(self.integer()?)
                    .map_err(|_| ErrorKind::Malformed("a bank beyond 32 bits"))?;
                Home::Bank { region: self.region_node(first)?, bank, value }
            }
        };
        let (cursor, tables) = self.cursor()?;
        let flags = cursor.byte(tables)?;
        let mut list = core::mem::replace(cursor, behind);
        let mut unit = FieldUnit {
            home,
            offset: 0,
            bits: 0,
            width: access_width(flags & 0x0f)?,
            update: match flags >> 5 & 3 {
                1 => Update::WriteAsOnes,
                2 => Update::WriteAsZeros,
                _ => Update::Preserve,
            },
            lock: if flags & 0x10 == 0 { Lock::No } else { Lock::Global },
        };
        while !list.is_at_end() {
            self.step(1)?;
            self.field_element(&mut list, &mut unit)?;
        }
        Ok(())
    }

    fn field_element(&mut self, list: &mut Cursor, unit: &mut FieldUnit) -> Result<(), Error> {
        let tables = &self.core.tables;
        let too_long = ErrorKind::Malformed("a field list longer than 512 MiB");
        match list.peek(tables)? {
            0 => {
                list.byte(tables)?;
                let skipped = list.package_number(tables)?;
                unit.offset = unit.offset.checked_add(skipped).ok_or(too_long)?;
            }
            attribute @ (1 | 3) => {
                list.byte(tables)?;
                unit.width = access_width(list.byte(tables)? & 0x0f)?;
                list.bytes(tables, if attribute == 1 { 1 } else { 2 })?;
            }
            2 => {
                // A connection: a name or a buffer with a GPIO or serial bus descriptor. The fields behind it are in an
                // address space without a handler, so only their access fails.
                list.byte(tables)?;
                if list.is_at_name(tables) {
                    list.name_string(tables)?;
                } else if list.opcode(tables)? == op::BUFFER {
                    list.package(tables)?;
                } else {
                    return Err(ErrorKind::Malformed("a connection that is no buffer").into());
                }
            }
            _ => {
                let bytes = list.bytes(tables, 4)?;
                let segment: [u8; 4] = bytes.try_into().map_err(|_| ErrorKind::Truncated)?;
                let path = crate::code::CodePath::single(list.table, list.at.saturating_sub(4));
                crate::name::NameSeg::new(segment)?;
                unit.bits = list.package_number(tables)?;
                let next = unit.offset.checked_add(unit.bits).ok_or(too_long)?;
                self.declare(path, Object::Field(*unit))?;
                unit.offset = next;
            }
        }
        Ok(())
    }

    fn region_node(&self, node: Handle) -> Result<Handle, Error> {
        match self.core.names.object(node)? {
            Object::Region(_) => Ok(node),
            object => {
                Err(ErrorKind::WrongType { wanted: "an operation region", found: object.kind() }.into())
            }
        }
    }

    fn field_node(&self, node: Handle) -> Result<Handle, Error> {
        match self.core.names.object(node)? {
            Object::Field(_) | Object::BufferField(_) => Ok(node),
            object => Err(ErrorKind::WrongType { wanted: "a field", found: object.kind() }.into()),
        }
    }

    /// The value of a field: an integer if it fits one, else a buffer.
    #[inline(never)]
    pub(crate) fn read_field(&mut self, node: Handle) -> Result<Val, Error> {
        let Object::Field(unit) = *self.core.names.object(node)? else {
            return Err(ErrorKind::Dangling.into());
        };
        unit.has_bits()?;
        let mut bytes = self.zeroed(unit.bits)?;
        self.locked(unit, |run| {
            for piece in unit.pieces() {
                let datum = run.read_datum(unit, piece.byte)?;
                set_bits(&mut bytes, piece.position, piece.bits, datum >> piece.shift);
            }
            Ok(())
        })?;
        self.value_of_bits(bytes, unit.bits)
    }

    #[inline(never)]
    pub(crate) fn write_field(&mut self, node: Handle, value: Val) -> Result<(), Error> {
        let Object::Field(unit) = *self.core.names.object(node)? else {
            return Err(ErrorKind::Dangling.into());
        };
        unit.has_bits()?;
        let bytes = self.raw_bytes(value)?;
        self.locked(unit, |run| {
            for piece in unit.pieces() {
                let field = mask(piece.bits) << piece.shift;
                let rest = unit.width.mask() & !field;
                let around = match unit.update {
                    _ if rest == 0 => 0,
                    Update::Preserve => run.read_datum(unit, piece.byte)? & rest,
                    Update::WriteAsOnes => rest,
                    Update::WriteAsZeros => 0,
                };
                let datum = bits_of(&bytes, piece.position, piece.bits) << piece.shift | around;
                run.write_datum(unit, piece.byte, datum)?;
            }
            Ok(())
        })
    }

    fn locked(
        &mut self,
        unit: FieldUnit,
        access: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if unit.lock == Lock::No || self.held.iter().any(|&held| Some(held) == self.core.global_lock()) {
            return access(self);
        }
        self.host.acquire_global_lock()?;
        let result = access(self);
        self.host.release_global_lock();
        result
    }

    /// Zeroed bytes for `bits` bits.
    fn zeroed(&mut self, bits: u32) -> Result<Vec<u8>, Error> {
        let length = crate::code::to_usize(bits.div_ceil(8));
        self.core.heap.check(length)?;
        self.step_bytes(length)?;
        Ok(alloc::vec![0; length])
    }

    fn value_of_bits(&mut self, bytes: Vec<u8>, bits: u32) -> Result<Val, Error> {
        if bits <= self.core.width.bits() {
            Ok(Val::Int(bits_of(&bytes, 0, bits)))
        } else {
            self.core.heap.add(Data::Buffer(bytes.into()))
        }
    }

    /// The bytes to write into a field; a string without its NUL.
    fn raw_bytes(&mut self, value: Val) -> Result<Vec<u8>, Error> {
        if let Val::Int(value) = value {
            // All 64 bits, whatever the width of integers: see `store_wide_result`.
            return Ok(value.to_le_bytes().to_vec());
        }
        let mut bytes = self.buffer_bytes(value)?;
        if let Val::Data(id) = value
            && let Data::String(_) = self.core.heap.get(id)?
        {
            bytes.pop();
        }
        Ok(bytes)
    }

    pub(crate) fn read_buffer_field(&mut self, field: BufferField) -> Result<Val, Error> {
        let mut bytes = self.zeroed(field.bits)?;
        let Data::Buffer(source) = self.core.heap.get(field.buffer)? else {
            return Err(ErrorKind::Dangling.into());
        };
        for (byte, position) in bytes.iter_mut().zip((0u32..).step_by(8)) {
            let left = field.bits.saturating_sub(position).min(8);
            let value = bits_of(source, field.offset.saturating_add(position), left);
            *byte = value.to_le_bytes()[0];
        }
        match field.kind {
            BufferFieldKind::Integer => self.value_of_bits(bytes, field.bits),
            BufferFieldKind::Sized => self.core.heap.add(Data::Buffer(bytes.into())),
        }
    }

    pub(crate) fn write_buffer_field(&mut self, field: BufferField, value: Val) -> Result<(), Error> {
        let bytes = self.raw_bytes(value)?;
        self.step_bytes(crate::code::to_usize(field.bits / 8))?;
        let Data::Buffer(target) = self.core.heap.get_mut(field.buffer)? else {
            return Err(ErrorKind::Dangling.into());
        };
        for position in (0..field.bits).step_by(8) {
            let bits = field.bits.saturating_sub(position).min(8);
            let value = bits_of(&bytes, position, bits);
            set_bits(target, field.offset.saturating_add(position), bits, value);
        }
        Ok(())
    }
}

/// The access types (19.6.48). Any is bytes, as in ACPICA; Buffer access is for serial buses only.
fn access_width(code: u8) -> Result<Width, Error> {
    match code {
        0 | 1 | 5 => Ok(Width::Bits8),
        2 => Ok(Width::Bits16),
        3 => Ok(Width::Bits32),
        4 => Ok(Width::Bits64),
        _ => Err(ErrorKind::Malformed("an unknown access type of a field").into()),
    }
}
