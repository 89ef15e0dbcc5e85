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
    fn has_bits(&self) -> Result<(), Error> {
        if self.bits == 0 { Err(ErrorKind::Malformed("a field without bits").into()) } else { Ok(()) }
    }

    /// The only piece of a field that lies in one datum, as most do.
    fn single(&self) -> Option<Piece> {
        // Widths are powers of two.
        let datum_bits = self.width.bytes().wrapping_mul(8);
        let shift = self.offset & datum_bits.wrapping_sub(1);
        if self.bits > datum_bits.wrapping_sub(shift) {
            return None;
        }
        let byte = u64::from(self.offset.wrapping_sub(shift) / 8);
        Some(Piece { byte, shift, bits: self.bits, position: 0 })
    }

    /// The pieces from the lowest bit on.
    fn pieces(self) -> impl Iterator<Item = Piece> {
        // Widths are powers of two.
        let datum_bits = u64::from(self.width.bytes()).saturating_mul(8);
        let shift = datum_bits.trailing_zeros();
        let end = u64::from(self.offset).saturating_add(u64::from(self.bits));
        let first = u64::from(self.offset) >> shift;
        let last = end.saturating_add(datum_bits).saturating_sub(1) >> shift;
        (first..last).map(move |datum| {
            let from = datum << shift;
            let start = from.max(u64::from(self.offset));
            let stop = from.saturating_add(datum_bits).min(end);
            let low = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
            Piece {
                byte: from / 8,
                shift: low(start.saturating_sub(from)),
                bits: low(stop.saturating_sub(start)),
                position: low(start.saturating_sub(u64::from(self.offset))),
            }
        })
    }
}

/// What is written into a field.
enum Source {
    Integer(u64),
    Bytes(Vec<u8>),
}

impl Source {
    /// The `bits` bits from `position` on, bits beyond the end being zero.
    fn bits(&self, position: u32, bits: u32) -> u64 {
        match self {
            Self::Integer(value) => value.checked_shr(position).unwrap_or(0) & mask(bits),
            Self::Bytes(bytes) => bits_of(bytes, position, bits),
        }
    }
}

/// A mask of the low `bits` bits.
fn mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS.saturating_sub(bits)).unwrap_or(0)
}

/// The `bits` bits from `position` on, bits beyond the end being zero.
fn bits_of(bytes: &[u8], position: u32, bits: u32) -> u64 {
    let first = crate::code::to_usize(position / 8);
    if position.is_multiple_of(8)
        && let Some(&eight) = bytes.get(first..).and_then(<[u8]>::first_chunk)
    {
        return u64::from_le_bytes(eight) & mask(bits);
    }
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
        let (cursor, code) = self.cursor()?;
        let inside = cursor.package(code)?;
        let behind = core::mem::replace(cursor, inside);
        let first = self.named()?;
        let home = match opcode {
            op::FIELD => Home::Region(self.region_node(first)?),
            op::INDEX_FIELD => {
                let data = self.named()?;
                Home::Index { index: self.field_node(first)?, data: self.field_node(data)? }
            }
            _ => {
                let bank = self.named()?;
                let bank = self.field_node(bank)?;
                let value = u32::try_from(self.integer()?)
                    .map_err(|_| ErrorKind::Malformed("a bank beyond 32 bits"))?;
                Home::Bank { region: self.region_node(first)?, bank, value }
            }
        };
        let (cursor, code) = self.cursor()?;
        let flags = cursor.byte(code)?;
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
        let code = self.core.tables.code(list.table);
        let too_long = ErrorKind::Malformed("a field list longer than 512 MiB");
        match list.peek(code)? {
            0 => {
                list.byte(code)?;
                let skipped = list.package_number(code)?;
                unit.offset = unit.offset.checked_add(skipped).ok_or(too_long)?;
            }
            attribute @ (1 | 3) => {
                list.byte(code)?;
                unit.width = access_width(list.byte(code)? & 0x0f)?;
                list.bytes(code, if attribute == 1 { 1 } else { 2 })?;
            }
            2 => {
                // A connection: a name or a buffer with a GPIO or serial bus descriptor. The fields behind it are in an
                // address space without a handler, so only their access fails.
                list.byte(code)?;
                if list.is_at_name(code) {
                    list.name_string(code)?;
                } else if list.opcode(code)? == op::BUFFER {
                    list.package(code)?;
                } else {
                    return Err(ErrorKind::Malformed("a connection that is no buffer").into());
                }
            }
            _ => {
                let bytes = list.bytes(code, 4)?;
                let segment: [u8; 4] = bytes.try_into().map_err(|_| ErrorKind::Truncated)?;
                crate::name::NameSeg::new(segment)?;
                let path = crate::code::CodePath::single(list.table, list.at.saturating_sub(4));
                unit.bits = list.package_number(code)?;
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
    pub(crate) fn read_field(&mut self, node: Handle) -> Result<Val, Error> {
        match *self.core.names.object(node)? {
            Object::Field(unit) => self.read_unit(&unit),
            _ => Err(ErrorKind::Dangling.into()),
        }
    }

    #[inline(never)]
    pub(crate) fn read_unit(&mut self, unit: &FieldUnit) -> Result<Val, Error> {
        unit.has_bits()?;
        if unit.bits <= self.core.width.bits() {
            return self.read_integer(unit).map(Val::Int);
        }
        let mut bytes = self.zeroed(unit.bits)?;
        self.locked(unit, |run| {
            for piece in unit.pieces() {
                let datum = run.read_datum(unit, piece.byte)?;
                set_bits(&mut bytes, piece.position, piece.bits, datum >> piece.shift);
            }
            Ok(())
        })?;
        self.core.heap.add(Data::Buffer(bytes.into()))
    }

    /// The value of a field that fits an integer.
    fn read_integer(&mut self, unit: &FieldUnit) -> Result<u64, Error> {
        // Its bytes, at most eight.
        self.step(1)?;
        self.locked(unit, |run| {
            if let Some(piece) = unit.single() {
                let datum = run.read_datum(unit, piece.byte)?;
                return Ok(datum >> piece.shift & mask(piece.bits));
            }
            let mut value = 0;
            for piece in unit.pieces() {
                let datum = run.read_datum(unit, piece.byte)?;
                value |= (datum >> piece.shift & mask(piece.bits)) << piece.position;
            }
            Ok(value)
        })
    }

    pub(crate) fn write_field(&mut self, node: Handle, value: Val) -> Result<(), Error> {
        match *self.core.names.object(node)? {
            Object::Field(unit) => self.write_unit(&unit, value),
            _ => Err(ErrorKind::Dangling.into()),
        }
    }

    #[inline(never)]
    pub(crate) fn write_unit(&mut self, unit: &FieldUnit, value: Val) -> Result<(), Error> {
        unit.has_bits()?;
        if let (Val::Int(value), Some(piece)) = (value, unit.single()) {
            return self.locked(unit, |run| run.write_piece(unit, &piece, value & mask(piece.bits)));
        }
        let source = self.source(value)?;
        self.locked(unit, |run| {
            for piece in unit.pieces() {
                run.write_piece(unit, &piece, source.bits(piece.position, piece.bits))?;
            }
            Ok(())
        })
    }

    /// Writes the piece's bits, and into the others of its datum what the field says.
    #[inline(never)]
    fn write_piece(&mut self, unit: &FieldUnit, piece: &Piece, bits: u64) -> Result<(), Error> {
        let field = mask(piece.bits) << piece.shift;
        let rest = unit.width.mask() & !field;
        let around = match unit.update {
            _ if rest == 0 => 0,
            Update::Preserve => self.read_datum(unit, piece.byte)? & rest,
            Update::WriteAsOnes => rest,
            Update::WriteAsZeros => 0,
        };
        self.write_datum(unit, piece.byte, bits << piece.shift | around)
    }

    /// Accesses a field, with the global lock if the field says so and no method holds it.
    fn locked<T>(
        &mut self,
        unit: &FieldUnit,
        access: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let takes =
            unit.lock == Lock::Global && !self.held.iter().any(|&held| Some(held) == self.core.global_lock);
        if takes {
            self.host.acquire_global_lock()?;
        }
        let result = access(self);
        if takes {
            self.host.release_global_lock();
        }
        result
    }

    /// Zeroed bytes for `bits` bits.
    fn zeroed(&mut self, bits: u32) -> Result<Vec<u8>, Error> {
        let length = crate::code::to_usize(bits.div_ceil(8));
        self.core.heap.check(length)?;
        self.step_bytes(length)?;
        Ok(alloc::vec![0; length])
    }

    /// The bits to write into a field; of a string without its NUL.
    fn source(&mut self, value: Val) -> Result<Source, Error> {
        if let Val::Int(value) = value {
            // All 64 bits, whatever the width of integers: see `store_wide_result`.
            return Ok(Source::Integer(value));
        }
        let mut bytes = self.buffer_bytes(value)?;
        if let Val::Data(id) = value
            && let Data::String(_) = self.core.heap.get(id)?
        {
            bytes.pop();
        }
        Ok(Source::Bytes(bytes))
    }

    pub(crate) fn read_buffer_field(&mut self, field: BufferField) -> Result<Val, Error> {
        if field.kind == BufferFieldKind::Integer && field.bits <= self.core.width.bits() {
            self.step_bytes(crate::code::to_usize(field.bits.div_ceil(8)))?;
            let Data::Buffer(source) = self.core.heap.get(field.buffer)? else {
                return Err(ErrorKind::Dangling.into());
            };
            return Ok(Val::Int(bits_of(source, field.offset, field.bits)));
        }
        let mut bytes = self.zeroed(field.bits)?;
        let Data::Buffer(source) = self.core.heap.get(field.buffer)? else {
            return Err(ErrorKind::Dangling.into());
        };
        for (byte, position) in bytes.iter_mut().zip((0u32..).step_by(8)) {
            let left = field.bits.saturating_sub(position).min(8);
            let value = bits_of(source, field.offset.saturating_add(position), left);
            *byte = value.to_le_bytes()[0];
        }
        self.core.heap.add(Data::Buffer(bytes.into()))
    }

    pub(crate) fn write_buffer_field(&mut self, field: BufferField, value: Val) -> Result<(), Error> {
        let source = self.source(value)?;
        self.step_bytes(crate::code::to_usize(field.bits / 8))?;
        let Data::Buffer(target) = self.core.heap.get_mut(field.buffer)? else {
            return Err(ErrorKind::Dangling.into());
        };
        for position in (0..field.bits).step_by(64) {
            let bits = field.bits.saturating_sub(position).min(64);
            let value = source.bits(position, bits);
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
