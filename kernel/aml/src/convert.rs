//! Conversions between integers, strings and buffers (19.3.5), and copies of objects.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use crate::code::CodePath;
use crate::error::{Error, ErrorKind};
use crate::model::{Data, Object, Ref, Val};
use crate::run::{IntegerWidth, Run};
use crate::value::Value;

/// The format of a number as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Implicit conversion: hexadecimal, bytes separated by spaces.
    Implicit,
    /// ToDecimalString.
    Decimal,
    /// ToHexString.
    Hex,
}

/// The operand that most operators require, for errors.
pub(crate) const DATA: &str = "an integer, a string or a buffer";

impl Run<'_> {
    /// The implicit conversion to an integer: strings are hexadecimal up to the first other character,
    /// with or without "0x" (as in ACPICA; the specification leaves it open).
    pub(crate) fn to_integer(&self, value: Val) -> Result<u64, Error> {
        match value {
            Val::Int(value) => Ok(value),
            Val::Data(id) => match self.core.heap.get(id)? {
                Data::String(text) => Ok(hexadecimal(without_prefix(text).1, self.core.width)),
                Data::Buffer(bytes) => self.integer_of_bytes(bytes),
                _ => Err(self.wrong_type(DATA, value)),
            },
            Val::Uninit => Err(ErrorKind::Uninitialized.into()),
            _ => Err(self.wrong_type(DATA, value)),
        }
    }

    fn integer_of_bytes(&self, bytes: &[u8]) -> Result<u64, Error> {
        if bytes.is_empty() {
            return Err(ErrorKind::OutOfRange { index: 0, length: 0 }.into());
        }
        let used = bytes.iter().take(self.core.width.bytes());
        Ok(used.rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// ToInteger: strings are decimal, or hexadecimal after "0x".
    pub(crate) fn to_integer_explicitly(&self, value: Val) -> Result<u64, Error> {
        if let Val::Data(id) = value
            && let Data::String(text) = self.core.heap.get(id)?
        {
            return match without_prefix(text) {
                (Prefix::Hex, digits) => Ok(hexadecimal(digits, self.core.width)),
                (Prefix::None, digits) => Ok(decimal(digits, self.core.width)),
            };
        }
        self.to_integer(value)
    }

    /// The bytes of a value converted to a buffer.
    pub(crate) fn buffer_bytes(&mut self, value: Val) -> Result<Vec<u8>, Error> {
        match value {
            Val::Int(value) => {
                let bytes = value.to_le_bytes();
                Ok(bytes.iter().take(self.core.width.bytes()).copied().collect())
            }
            Val::Data(id) => {
                let (source, nul) = match self.core.heap.get(id)? {
                    Data::Buffer(bytes) => (bytes, 0),
                    Data::String(text) => (text, 1),
                    _ => return Err(self.wrong_type(DATA, value)),
                };
                let length = source.len().saturating_add(nul);
                self.core.heap.check(length)?;
                let mut bytes = source.to_vec();
                bytes.resize(length, 0);
                self.step_bytes(length)?;
                Ok(bytes)
            }
            Val::Uninit => Err(ErrorKind::Uninitialized.into()),
            _ => Err(self.wrong_type(DATA, value)),
        }
    }

    pub(crate) fn as_buffer(&mut self, value: Val) -> Result<Val, Error> {
        let bytes = self.buffer_bytes(value)?;
        self.core.heap.add(Data::Buffer(bytes.into()))
    }

    /// The bytes of a value implicitly converted to a string.
    pub(crate) fn string_bytes(&mut self, value: Val) -> Result<Vec<u8>, Error> {
        self.text(value, Style::Implicit)
    }

    pub(crate) fn as_text(&mut self, value: Val, style: Style) -> Result<Val, Error> {
        let text = self.text(value, style)?;
        self.core.heap.add(Data::String(text.into()))
    }

    pub(crate) fn text(&mut self, value: Val, style: Style) -> Result<Vec<u8>, Error> {
        match value {
            Val::Int(number) => {
                let digits = self.core.width.bytes().saturating_mul(2);
                let mut text = String::new();
                let written = match style {
                    Style::Decimal => write!(text, "{number}"),
                    // As ACPICA since 2024; before, and in the specification's examples, as implicitly.
                    Style::Hex => write!(text, "{number:#X}"),
                    Style::Implicit => write!(text, "{number:0digits$X}"),
                };
                written.map_err(|_| ErrorKind::TooManyBytes)?;
                Ok(text.into_bytes())
            }
            Val::Data(id) => {
                let bytes = match self.core.heap.get(id)? {
                    Data::String(text) => {
                        self.core.heap.check(text.len())?;
                        return Ok(text.to_vec());
                    }
                    Data::Buffer(bytes) => bytes,
                    _ => return Err(self.wrong_type(DATA, value)),
                };
                let length = bytes.len().saturating_mul(5);
                self.core.heap.check(length)?;
                let mut text = String::with_capacity(length);
                for (index, byte) in bytes.iter().enumerate() {
                    let separator = match style {
                        _ if index == 0 => "",
                        Style::Implicit => " ",
                        Style::Decimal | Style::Hex => ",",
                    };
                    let written = match style {
                        Style::Decimal => write!(text, "{separator}{byte}"),
                        Style::Hex | Style::Implicit => write!(text, "{separator}0x{byte:02X}"),
                    };
                    written.map_err(|_| ErrorKind::TooManyBytes)?;
                }
                self.step_bytes(length)?;
                Ok(text.into_bytes())
            }
            Val::Uninit => Err(ErrorKind::Uninitialized.into()),
            _ => Err(self.wrong_type(DATA, value)),
        }
    }
}

/// The prefix of a number in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prefix {
    Hex,
    None,
}

/// The text without white space and prefix. White space is that of C, with the vertical tab.
fn without_prefix(mut text: &[u8]) -> (Prefix, &[u8]) {
    while let [b' ' | b'\t'..=b'\r', rest @ ..] = text {
        text = rest;
    }
    match text {
        [b'0', b'x' | b'X', digits @ ..] => (Prefix::Hex, digits),
        digits => (Prefix::None, digits),
    }
}

/// The number in the hexadecimal digits at the start of `text`; digits beyond the width are ignored.
fn hexadecimal(text: &[u8], width: IntegerWidth) -> u64 {
    let digits = text.iter().map_while(|&byte| char::from(byte).to_digit(16)).skip_while(|&digit| digit == 0);
    let significant = digits.take(width.bytes().saturating_mul(2));
    significant.fold(0, |number, digit| number << 4 | u64::from(digit))
}

/// The number in the decimal digits at the start of `text`, up to the last digit with which it fits the width.
fn decimal(text: &[u8], width: IntegerWidth) -> u64 {
    let mut number = 0u64;
    for digit in text.iter().map_while(|&byte| char::from(byte).to_digit(10)) {
        match number.checked_mul(10).and_then(|number| number.checked_add(u64::from(digit))) {
            Some(next) if next <= width.mask() => number = next,
            _ => break,
        }
    }
    number
}

/// Copies between objects, and between objects and the interpreter's callers.
impl Run<'_> {
    /// A copy that shares no string, buffer or package with its source.
    pub(crate) fn copied(&mut self, value: Val) -> Result<Val, Error> {
        let Val::Data(id) = value else { return Ok(value) };
        match self.core.heap.get(id)? {
            Data::Package(elements) => {
                let count = elements.len();
                self.core.heap.check(count.saturating_mul(size_of::<Val>()))?;
                let mut elements = elements.clone();
                self.step_bytes(count)?;
                self.deeper(|run| {
                    for element in &mut elements {
                        *element = run.copied(*element)?;
                    }
                    Ok(())
                })?;
                self.core.heap.add(Data::Package(elements))
            }
            Data::String(bytes) | Data::Buffer(bytes) => {
                let length = bytes.len();
                self.core.heap.check(length)?;
                let object = self.core.heap.get(id)?.clone();
                self.step_bytes(length)?;
                self.core.heap.add(object)
            }
        }
    }

    /// A copy for a place that outlives the running method, and so the names that it made.
    pub(crate) fn copied_out(&mut self, value: Val) -> Result<Val, Error> {
        let copy = self.copied(value)?;
        self.with_own_names(copy)?;
        Ok(copy)
    }

    /// A caller's value as an object.
    pub(crate) fn import(&mut self, value: &Value) -> Result<Val, Error> {
        match value {
            Value::Uninitialized => Ok(Val::Uninit),
            Value::Integer(value) => Ok(self.int(*value)),
            Value::String(text) => {
                self.core.heap.check(text.len())?;
                self.core.heap.add(Data::String(text.as_bytes().into()))
            }
            Value::Buffer(bytes) => {
                self.core.heap.check(bytes.len())?;
                self.core.heap.add(Data::Buffer(bytes.as_slice().into()))
            }
            Value::Package(elements) => {
                self.core.heap.check(elements.len().saturating_mul(size_of::<Val>()))?;
                let elements = self.deeper(|run| {
                    elements.iter().map(|element| run.import(element)).collect::<Result<Vec<_>, _>>()
                })?;
                self.core.heap.add(Data::Package(elements.into()))
            }
            Value::Reference(path) => {
                let node = self.core.node(path)?;
                Ok(node.map_or(Val::Uninit, Val::Node))
            }
        }
    }

    /// The result of an evaluation: a method's reference to data is the data, as for ACPICA's callers, who could not follow
    /// it. A reference to a device, or from inside a package, stays one.
    pub(crate) fn export_result(&mut self, value: Val) -> Result<Value, Error> {
        let value = match value {
            Val::Ref(Ref::Node(node)) => match *self.core.names.object(node)? {
                Object::Value(data) => data,
                _ => value,
            },
            Val::Ref(reference @ Ref::Index(id, _))
                if matches!(self.core.heap.get(id)?, Data::Package(_)) =>
            {
                self.load_reference(reference)?
            }
            value => value,
        };
        self.export(value)
    }

    /// An object as a caller's value. Each level of packages costs depth and each byte a fraction of a step, so the
    /// export of a package that contains itself by name ends, too.
    pub(crate) fn export(&mut self, value: Val) -> Result<Value, Error> {
        self.step(1)?;
        match value {
            Val::Uninit => Ok(Value::Uninitialized),
            Val::Int(value) => Ok(Value::Integer(value)),
            Val::Node(node) | Val::Ref(crate::model::Ref::Node(node)) => {
                Ok(Value::Reference(self.core.names.path(node)))
            }
            Val::Ref(_) | Val::Debug => Ok(Value::Reference(String::new())),
            Val::Data(id) => {
                let bytes = match self.core.heap.get(id)? {
                    Data::String(bytes) | Data::Buffer(bytes) => bytes.len(),
                    Data::Package(elements) => elements.len().saturating_mul(size_of::<Value>()),
                };
                self.core.heap.check(bytes)?;
                self.step_bytes(bytes)?;
                match self.core.heap.get(id)? {
                    Data::String(text) => {
                        Ok(Value::String(text.iter().map(|&byte| char::from(byte)).collect()))
                    }
                    Data::Buffer(bytes) => Ok(Value::Buffer(bytes.to_vec())),
                    Data::Package(elements) => {
                        let elements = elements.to_vec();
                        self.deeper(|run| {
                            let exported = elements.into_iter().map(|element| run.export(element));
                            exported.collect::<Result<Vec<_>, _>>().map(Value::Package)
                        })
                    }
                }
            }
            Val::Name { table, at, scope } => {
                let path = CodePath::read(&self.core.tables, table, at)?;
                match self.find_from(scope, path) {
                    Some(node) => {
                        let value = self.value_of(node)?;
                        self.deeper(|run| run.export(value))
                    }
                    None => Ok(Value::Reference(path.text(&self.core.tables))),
                }
            }
        }
    }
}
