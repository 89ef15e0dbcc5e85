//! Operators: arithmetic, comparison, Concatenate, Mid, ToString, Match.
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::convert::DATA;
use crate::error::{Error, ErrorKind};
use crate::model::{Data, Val};
use crate::opcode as op;
use crate::run::Run;
use crate::value::Kind;

/// An end tag: its byte and its checksum (6.4.2.9).
const END_TAG_BYTES: usize = 2;

impl Run<'_> {
    /// Operators with integer operands, a target, and an integer result.
    #[inline(never)]
    pub(crate) fn arithmetic(&mut self, opcode: u16) -> Result<Val, Error> {
        let left = self.integer()?;
        if let op::NOT | op::FIND_SET_LEFT_BIT | op::FIND_SET_RIGHT_BIT | op::FROM_BCD | op::TO_BCD = opcode {
            let result = self.unary(opcode, left)?;
            return match opcode {
                op::FROM_BCD | op::TO_BCD => self.set_result(self.int(result)),
                _ => self.store_wide_result(result),
            };
        }
        let right = self.integer()?;
        let shift = u32::try_from(right).ok().filter(|&shift| shift < self.core.width.bits());
        let result = match opcode {
            op::ADD => left.wrapping_add(right),
            op::SUBTRACT => left.wrapping_sub(right),
            op::MULTIPLY => left.wrapping_mul(right),
            op::SHIFT_LEFT => shift.and_then(|shift| left.checked_shl(shift)).unwrap_or(0),
            op::SHIFT_RIGHT => shift.and_then(|shift| left.checked_shr(shift)).unwrap_or(0),
            op::AND => left & right,
            op::NAND => !(left & right),
            op::OR => left | right,
            op::NOR => !(left | right),
            op::XOR => left ^ right,
            op::MOD => left.checked_rem(right).ok_or(ErrorKind::DivideByZero)?,
            op::DIVIDE => {
                let remainder = left.checked_rem(right).ok_or(ErrorKind::DivideByZero)?;
                self.store_wide_result(remainder)?;
                left.checked_div(right).ok_or(ErrorKind::DivideByZero)?
            }
            _ => return Err(ErrorKind::BadOpcode(opcode).into()),
        };
        self.store_wide_result(result)
    }

    fn unary(&self, opcode: u16, value: u64) -> Result<u64, Error> {
        Ok(match opcode {
            op::NOT => !value,
            // Bit positions count from 1; 0 says that no bit is set.
            op::FIND_SET_LEFT_BIT => u64::from(u64::BITS.saturating_sub(value.leading_zeros())),
            op::FIND_SET_RIGHT_BIT if value == 0 => 0,
            op::FIND_SET_RIGHT_BIT => u64::from(value.trailing_zeros()).saturating_add(1),
            op::FROM_BCD => {
                let mut number = 0u64;
                for nibble in (0..16u32).rev() {
                    let digit = value >> nibble.saturating_mul(4) & 0xf;
                    if digit > 9 {
                        return Err(ErrorKind::BadNumber.into());
                    }
                    number = number.wrapping_mul(10).wrapping_add(digit);
                }
                number
            }
            _ => {
                let (mut rest, mut bcd) = (value, 0u64);
                for nibble in 0..self.core.width.bits() / 4 {
                    bcd |= (rest % 10) << nibble.saturating_mul(4);
                    rest /= 10;
                }
                if rest != 0 {
                    return Err(ErrorKind::BadNumber.into());
                }
                bcd
            }
        })
    }

    /// LEqual, LGreater, LLess: the second operand is converted to the first one's type.
    #[inline(never)]
    pub(crate) fn comparison(&mut self, opcode: u16) -> Result<u64, Error> {
        let order = match self.term() {
            Ok(Val::Int(left)) => match self.plain_integer() {
                Some(right) => left.cmp(&right),
                None => match self.term() {
                    Ok(Val::Int(right)) => left.cmp(&right),
                    right => self.compared(Val::Int(left), right?)?,
                },
            },
            left => {
                let (left, right) = (left?, self.term()?);
                self.compared(left, right)?
            }
        };
        let value = match opcode {
            op::L_EQUAL => order == Ordering::Equal,
            op::L_GREATER => order == Ordering::Greater,
            _ => order == Ordering::Less,
        };
        Ok(self.truth(value))
    }

    fn compared(&mut self, left: Val, right: Val) -> Result<Ordering, Error> {
        if let (Val::Int(left), Val::Int(right)) = (left, right) {
            return Ok(left.cmp(&right));
        }
        let Val::Data(id) = left else {
            return Ok(self.to_integer(left)?.cmp(&self.to_integer(right)?));
        };
        let right = match self.core.heap.get(id)? {
            Data::String(_) => self.string_bytes(right)?,
            Data::Buffer(_) => self.buffer_bytes(right)?,
            _ => return Err(self.wrong_type(DATA, left)),
        };
        self.step_bytes(right.len())?;
        match self.core.heap.get(id)? {
            Data::String(left) | Data::Buffer(left) => Ok(left[..].cmp(right.as_slice())),
            _ => Err(self.wrong_type(DATA, left)),
        }
    }

    /// Concatenate, ConcatenateResTemplate, Mid, ToString.
    #[inline(never)]
    pub(crate) fn joining(&mut self, opcode: u16) -> Result<Val, Error> {
        let left = self.term()?;
        let result = match opcode {
            op::CONCAT => {
                let right = self.term()?;
                self.concatenated(left, right)?
            }
            op::CONCAT_RES => {
                let right = self.term()?;
                let mut bytes = self.without_end_tag(left)?;
                bytes.extend(self.without_end_tag(right)?);
                // An end tag whose checksum 0 stands for none (6.4.2.9), as ACPICA writes it.
                bytes.extend([0x79, 0]);
                Data::Buffer(bytes.into())
            }
            op::MID => {
                let index = usize::try_from(self.integer()?).unwrap_or(usize::MAX);
                let length = usize::try_from(self.integer()?).unwrap_or(usize::MAX);
                let source = self.cut_bytes(left)?;
                let part = source.into_iter().skip(index).take(length).collect::<Vec<u8>>();
                match left {
                    Val::Data(_) if !self.is_buffer(left)? => Data::String(part.into()),
                    _ => Data::Buffer(part.into()),
                }
            }
            _ => {
                let length = usize::try_from(self.integer()?).unwrap_or(usize::MAX);
                let bytes = self.buffer_bytes(left)?;
                Data::String(bytes.into_iter().take(length).take_while(|&byte| byte != 0).collect())
            }
        };
        let result = self.core.heap.add(result)?;
        if opcode == op::TO_STRING { self.set_result(result) } else { self.store_result(result) }
    }

    fn is_buffer(&self, value: Val) -> Result<bool, Error> {
        match value {
            Val::Data(id) => Ok(matches!(self.core.heap.get(id)?, Data::Buffer(_))),
            _ => Ok(false),
        }
    }

    /// The bytes that Mid takes a part of: an integer is converted to a buffer.
    fn cut_bytes(&mut self, value: Val) -> Result<Vec<u8>, Error> {
        match value {
            Val::Data(_) if !self.is_buffer(value)? => self.string_bytes(value),
            _ => self.buffer_bytes(value),
        }
    }

    /// The operand of Concatenate: for an object without data a string with the name of its type.
    fn joinable(&mut self, value: Val) -> Result<Val, Error> {
        let name = match self.kind_of_value(value) {
            Kind::Integer | Kind::String | Kind::Buffer => return Ok(value),
            Kind::Uninitialized => "Uninitialized",
            Kind::Package => "Package",
            Kind::FieldUnit => "FieldUnit",
            Kind::Device => "Device",
            Kind::Event => "Event",
            Kind::Method => "Method",
            Kind::Mutex => "Mutex",
            Kind::Region => "Region",
            Kind::PowerResource => "Power",
            Kind::Processor => "Processor",
            Kind::ThermalZone => "Thermal",
            Kind::BufferField => "BufferField",
            Kind::Debug => "DebugObject",
            Kind::Reference => "Reference",
        };
        let text = alloc::format!("[{name} Object]");
        self.core.heap.add(Data::String(text.into_bytes().into()))
    }

    /// Concatenate: the first operand's type decides; integers are concatenated as buffers.
    fn concatenated(&mut self, left: Val, right: Val) -> Result<Data, Error> {
        let (left, right) = (self.joinable(left)?, self.joinable(right)?);
        let text = match left {
            Val::Int(_) => None,
            Val::Data(id) => match self.core.heap.get(id)? {
                Data::Buffer(_) => None,
                Data::String(_) => Some(()),
                _ => return Err(self.wrong_type(DATA, left)),
            },
            _ => return Err(self.wrong_type(DATA, left)),
        };
        let (mut joined, tail) = match (text, left) {
            (Some(()), _) => (self.string_bytes(left)?, self.string_bytes(right)?),
            (None, Val::Int(_)) => {
                let number = Val::Int(self.to_integer(right)?);
                (self.buffer_bytes(left)?, self.buffer_bytes(number)?)
            }
            (None, _) => (self.buffer_bytes(left)?, self.buffer_bytes(right)?),
        };
        self.core.heap.check(joined.len().saturating_add(tail.len()))?;
        self.step_bytes(joined.len().saturating_add(tail.len()))?;
        joined.extend(tail);
        Ok(if text.is_some() { Data::String(joined.into()) } else { Data::Buffer(joined.into()) })
    }

    /// A resource template up to its end tag.
    fn without_end_tag(&mut self, value: Val) -> Result<Vec<u8>, Error> {
        let mut bytes = self.buffer_bytes(value)?;
        let mut at = 0usize;
        if bytes.is_empty() {
            return Ok(bytes);
        }
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let length = match rest {
                [] => return Err(ErrorKind::Malformed("a resource template without end tag").into()),
                [small, ..] if small & 0x80 == 0 => {
                    if small & 0x78 == 0x78 {
                        if rest.len() < END_TAG_BYTES {
                            return Err(ErrorKind::Malformed("an end tag without checksum").into());
                        }
                        bytes.truncate(at);
                        return Ok(bytes);
                    }
                    usize::from(small & 7).saturating_add(1)
                }
                [_, low, high, ..] => usize::from(u16::from_le_bytes([*low, *high])).saturating_add(3),
                _ => return Err(ErrorKind::Malformed("a truncated resource template").into()),
            };
            at = at.saturating_add(length);
        }
    }

    /// Match (19.6.81): the first element from a start that satisfies two comparisons.
    #[inline(never)]
    pub(crate) fn match_package(&mut self) -> Result<Val, Error> {
        let package = self.term()?;
        let first = self.match_operation()?;
        let second = self.match_operation()?;
        let start = usize::try_from(self.integer()?).unwrap_or(usize::MAX);
        let Val::Data(id) = package else { return Err(self.wrong_type("a package", package)) };
        let Data::Package(elements) = self.core.heap.get(id)? else {
            return Err(self.wrong_type("a package", package));
        };
        let elements = elements.clone();
        if start >= elements.len() {
            let length = u64::try_from(elements.len()).unwrap_or(u64::MAX);
            return Err(ErrorKind::OutOfRange { index: length, length }.into());
        }
        self.step_bytes(elements.len())?;
        for (element, index) in elements.into_iter().zip(0u64..).skip(start) {
            if element == Val::Uninit {
                continue;
            }
            let element = self.resolved(element)?;
            if self.matches(element, first) && self.matches(element, second) {
                return Ok(Val::Int(index));
            }
        }
        Ok(self.int(u64::MAX))
    }

    fn match_operation(&mut self) -> Result<(u8, Val), Error> {
        let (cursor, code) = self.cursor()?;
        let operation = cursor.byte(code)?;
        if operation > 5 {
            return Err(ErrorKind::Malformed("an unknown operation of Match").into());
        }
        Ok((operation, self.term()?))
    }

    /// An element of another type does not match; that is not an error.
    fn matches(&mut self, element: Val, (operation, operand): (u8, Val)) -> bool {
        if operation == 0 {
            return true;
        }
        // The operand's type decides, as in ACPICA.
        let Ok(order) = self.compared(operand, element).map(Ordering::reverse) else { return false };
        match operation {
            1 => order == Ordering::Equal,
            2 => order != Ordering::Greater,
            3 => order == Ordering::Less,
            4 => order != Ordering::Less,
            _ => order == Ordering::Greater,
        }
    }
}
