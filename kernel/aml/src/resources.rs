//! The decoder of resource buffers (`_CRS`), ACPI 6.5 section 6.4. It is total (any bytes yield descriptors and then at
//! most one error) and independent of the interpreter.
//!
//! Memory descriptors and extended interrupts are decoded; every other kind is skipped by its length and reported as [`Resource::Other`].
use core::fmt;

/// One descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A memory range as an address space descriptor, or one of the fixed memory descriptors.
    Memory(MemoryRange),
    /// An address space descriptor of another type: 1 I/O, 2 bus numbers, 192.. defined by the vendor.
    AddressSpace {
        /// The resource type byte.
        class: u8,
        /// The range.
        range: MemoryRange,
    },
    /// An extended interrupt descriptor.
    Interrupts(Interrupts),
    /// Any other descriptor: its tag (small ones as 0x00..=0x7f with the length masked off, large ones as 0x80..=0xff).
    Other {
        /// The tag.
        tag: u8,
    },
}

/// A range of addresses as a descriptor states it. Nothing is checked beyond the form: `length` may
/// disagree with `min` and `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryRange {
    /// The kind of descriptor it came from.
    pub form: RangeForm,
    /// Whether the device consumes the range or passes it on to its children.
    pub role: RangeRole,
    /// The mask of address bits that are decoded, less one (0 where the descriptor has none).
    pub granularity: u64,
    /// First byte address.
    pub min: u64,
    /// Last byte address.
    pub max: u64,
    /// The offset from an address on the secondary side to the one on the primary side.
    pub translation: u64,
    /// Length in bytes.
    pub length: u64,
}

/// The interrupts of one descriptor; [`Interrupts::numbers`] has their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupts {
    /// What raises them.
    pub trigger: Trigger,
    /// Which level is active.
    pub polarity: Polarity,
    /// Where the numbers are in the buffer, and how many.
    at: usize,
    count: u8,
}

impl Interrupts {
    /// The numbers, global system interrupts; `buffer` is the one that was decoded.
    pub fn numbers(self, buffer: &[u8]) -> impl Iterator<Item = u32> {
        let (numbers, _) = buffer.get(self.at..).unwrap_or_default().as_chunks::<4>();
        numbers.iter().take(self.count.into()).map(|&number| u32::from_le_bytes(number))
    }
}

/// What raises an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The active level.
    Level,
    /// The change to it.
    Edge,
}

/// The active level of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polarity {
    /// High.
    High,
    /// Low.
    Low,
}

/// Which descriptor a range came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeForm {
    /// 24-bit memory range descriptor (addresses given in units of 256 bytes; bytes here).
    Memory24,
    /// 32-bit memory range descriptor.
    Memory32,
    /// 32-bit fixed location memory range descriptor.
    Memory32Fixed,
    /// WORD address space descriptor.
    Word,
    /// DWORD address space descriptor.
    DWord,
    /// QWORD address space descriptor.
    QWord,
    /// Extended address space descriptor.
    Extended,
}

/// The consumer/producer bit of an address space descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRole {
    /// The device uses the range itself.
    Consumer,
    /// The device passes the range on to its children. QEMU's memory devices have this bit set although they consume it.
    Producer,
}

/// Why a resource buffer cannot be decoded further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResourceError {
    /// A descriptor reaches beyond the end of the buffer.
    Truncated {
        /// Its byte offset in the buffer.
        offset: usize,
    },
    /// A descriptor is shorter than its kind needs.
    TooShort {
        /// Its tag.
        tag: u8,
        /// Its byte offset in the buffer.
        offset: usize,
    },
    /// The end tag's checksum is neither 0 nor right.
    Checksum,
    /// The buffer ends without an end tag.
    NoEndTag,
}

impl fmt::Display for ResourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset } => {
                write!(f, "the descriptor at byte {offset} reaches beyond the resource buffer")
            }
            Self::TooShort { tag, offset } => {
                write!(f, "the descriptor at byte {offset} (tag {tag:#04x}) is too short for its kind")
            }
            Self::Checksum => write!(f, "the resource buffer's checksum is wrong"),
            Self::NoEndTag => write!(f, "the resource buffer has no end tag"),
        }
    }
}

impl core::error::Error for ResourceError {}

/// Decodes a `_CRS` buffer. The iterator ends after the end tag or after the first error.
#[must_use]
pub fn decode(buffer: &[u8]) -> Resources<'_> {
    Resources { buffer, offset: 0, state: State::Running }
}

/// The iterator that [`decode`] returns.
#[derive(Clone, Debug)]
pub struct Resources<'a> {
    buffer: &'a [u8],
    offset: usize,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Running,
    Ended,
}

const SMALL_END_TAG: u8 = 0x78;
const MEMORY_24: u8 = 0x81;
const MEMORY_32: u8 = 0x85;
const MEMORY_32_FIXED: u8 = 0x86;
const DWORD_SPACE: u8 = 0x87;
const WORD_SPACE: u8 = 0x88;
const INTERRUPT: u8 = 0x89;
const QWORD_SPACE: u8 = 0x8a;
const EXTENDED_SPACE: u8 = 0x8b;
const TYPE_MEMORY: u8 = 0;

impl Iterator for Resources<'_> {
    type Item = Result<Resource, ResourceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::Ended {
            return None;
        }
        match self.descriptor() {
            Ok(Some(resource)) => Some(Ok(resource)),
            Ok(None) => {
                self.state = State::Ended;
                None
            }
            Err(error) => {
                self.state = State::Ended;
                Some(Err(error))
            }
        }
    }
}

impl Resources<'_> {
    fn descriptor(&mut self) -> Result<Option<Resource>, ResourceError> {
        let offset = self.offset;
        let truncated = ResourceError::Truncated { offset };
        let rest = self.buffer.get(offset..).unwrap_or_default();
        let Some(&first) = rest.first() else { return Err(ResourceError::NoEndTag) };
        let (tag, header, length) = if first & 0x80 == 0 {
            (first & 0x78, 1, usize::from(first & 7))
        } else {
            let (Some(&low), Some(&high)) = (rest.get(1), rest.get(2)) else { return Err(truncated) };
            (first, 3, usize::from(u16::from_le_bytes([low, high])))
        };
        let end = length.saturating_add(header);
        let body = Body { bytes: rest.get(header..end).ok_or(truncated)?, tag, offset };
        self.offset = offset.saturating_add(end);
        match tag {
            SMALL_END_TAG => self.end_tag(&body),
            MEMORY_24 => body.short_range(RangeForm::Memory24).map(Some),
            MEMORY_32 => body.short_range(RangeForm::Memory32).map(Some),
            MEMORY_32_FIXED => body.fixed().map(Some),
            WORD_SPACE => body.space(RangeForm::Word, 3, 2).map(Some),
            DWORD_SPACE => body.space(RangeForm::DWord, 3, 4).map(Some),
            QWORD_SPACE => body.space(RangeForm::QWord, 3, 8).map(Some),
            // A malformed one does not hide the memory behind it: it counts as another kind.
            INTERRUPT => {
                Ok(Some(body.interrupts(offset.saturating_add(header)).unwrap_or(Resource::Other { tag })))
            }
            EXTENDED_SPACE => body.space(RangeForm::Extended, 5, 8).map(Some),
            _ => Ok(Some(Resource::Other { tag })),
        }
    }

    /// A checksum of 0 means that there is none (6.4.2.9).
    fn end_tag(&self, body: &Body<'_>) -> Result<Option<Resource>, ResourceError> {
        let checksum =
            *body.bytes.first().ok_or(ResourceError::TooShort { tag: body.tag, offset: body.offset })?;
        let summed = self.buffer.get(..self.offset).unwrap_or_default();
        let sum = summed.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
        if checksum == 0 || sum == 0 { Ok(None) } else { Err(ResourceError::Checksum) }
    }
}

/// A descriptor without its header.
struct Body<'a> {
    bytes: &'a [u8],
    tag: u8,
    offset: usize,
}

impl Body<'_> {
    /// The little-endian number of `width` bytes at byte `at`.
    fn number(&self, at: usize, width: usize) -> Result<u64, ResourceError> {
        let too_short = ResourceError::TooShort { tag: self.tag, offset: self.offset };
        let bytes = self.bytes.get(at..at.saturating_add(width)).ok_or(too_short)?;
        Ok(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// Memory24 and Memory32: minimum, maximum, alignment, length.
    fn short_range(&self, form: RangeForm) -> Result<Resource, ResourceError> {
        let (width, shift): (usize, u32) = match form {
            RangeForm::Memory24 => (2, 8),
            _ => (4, 0),
        };
        let length = self.number(width.saturating_mul(3).saturating_add(1), width)? << shift;
        let base_of_last = self.number(width.saturating_add(1), width)? << shift;
        Ok(Resource::Memory(MemoryRange {
            form,
            role: RangeRole::Consumer,
            granularity: 0,
            min: self.number(1, width)? << shift,
            // The descriptor states the highest base address, not the last byte.
            max: base_of_last.saturating_add(length.saturating_sub(1)),
            translation: 0,
            length,
        }))
    }

    /// Flags, the count, and the numbers; `start` is the body's offset in the buffer.
    fn interrupts(&self, start: usize) -> Result<Resource, ResourceError> {
        let (flags, count) = (self.number(0, 1)?, self.number(1, 1)?);
        let count = u8::try_from(count).unwrap_or_default();
        if let Some(last) = count.checked_sub(1) {
            self.number(usize::from(last).saturating_mul(4).saturating_add(2), 4)?;
        }
        Ok(Resource::Interrupts(Interrupts {
            trigger: if flags & 2 == 0 { Trigger::Level } else { Trigger::Edge },
            polarity: if flags & 4 == 0 { Polarity::High } else { Polarity::Low },
            at: start.saturating_add(2),
            count,
        }))
    }

    fn fixed(&self) -> Result<Resource, ResourceError> {
        let (min, length) = (self.number(1, 4)?, self.number(5, 4)?);
        Ok(Resource::Memory(MemoryRange {
            form: RangeForm::Memory32Fixed,
            role: RangeRole::Consumer,
            granularity: 0,
            min,
            max: min.saturating_add(length.saturating_sub(1)),
            translation: 0,
            length,
        }))
    }

    /// The address space descriptors: type, flags, then five numbers of `width` bytes from byte `start`.
    fn space(&self, form: RangeForm, start: usize, width: usize) -> Result<Resource, ResourceError> {
        let at = |index: usize| self.number(start.saturating_add(index.saturating_mul(width)), width);
        let class = u8::try_from(self.number(0, 1)?).unwrap_or_default();
        let role = if self.number(1, 1)? & 1 == 0 { RangeRole::Producer } else { RangeRole::Consumer };
        let range = MemoryRange {
            form,
            role,
            granularity: at(0)?,
            min: at(1)?,
            max: at(2)?,
            translation: at(3)?,
            length: at(4)?,
        };
        Ok(match class {
            TYPE_MEMORY => Resource::Memory(range),
            class => Resource::AddressSpace { class, range },
        })
    }
}
