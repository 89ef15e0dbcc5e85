//! The arguments and results of an evaluation.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The type of an AML object (ACPI 6.5, 19.6.97 ObjectType).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing was stored here, or a plain scope.
    Uninitialized,
    /// An integer of 32 or 64 bits.
    Integer,
    /// A string.
    String,
    /// A buffer of bytes.
    Buffer,
    /// A package of objects.
    Package,
    /// A field of an operation region.
    FieldUnit,
    /// A device.
    Device,
    /// An event.
    Event,
    /// A control method.
    Method,
    /// A mutex.
    Mutex,
    /// An operation region.
    Region,
    /// A power resource.
    PowerResource,
    /// A processor (deprecated since ACPI 6.0, still met).
    Processor,
    /// A thermal zone.
    ThermalZone,
    /// A field of a buffer.
    BufferField,
    /// The debug object.
    Debug,
    /// A reference to an object.
    Reference,
}

impl Kind {
    /// The number that the AML operator `ObjectType` returns.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Uninitialized => 0,
            Self::Integer => 1,
            Self::String => 2,
            Self::Buffer => 3,
            Self::Package => 4,
            Self::FieldUnit => 5,
            Self::Device => 6,
            Self::Event => 7,
            Self::Method => 8,
            Self::Mutex => 9,
            Self::Region => 10,
            Self::PowerResource => 11,
            Self::Processor => 12,
            Self::ThermalZone => 13,
            Self::BufferField => 14,
            Self::Debug => 16,
            Self::Reference => 20,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uninitialized => "an uninitialized object",
            Self::Integer => "an integer",
            Self::String => "a string",
            Self::Buffer => "a buffer",
            Self::Package => "a package",
            Self::FieldUnit => "a field",
            Self::Device => "a device",
            Self::Event => "an event",
            Self::Method => "a method",
            Self::Mutex => "a mutex",
            Self::Region => "an operation region",
            Self::PowerResource => "a power resource",
            Self::Processor => "a processor",
            Self::ThermalZone => "a thermal zone",
            Self::BufferField => "a buffer field",
            Self::Debug => "the debug object",
            Self::Reference => "a reference",
        })
    }
}

/// An argument or a result of an evaluation. It is a copy: it does not change with the AML's objects.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Value {
    /// A method that returned nothing, or a package element without value.
    #[default]
    Uninitialized,
    /// An integer; in tables of revision 1 only the low 32 bits count.
    Integer(u64),
    /// A string. Bytes above 0x7f, which AML does not allow, appear as the Latin-1 characters.
    String(String),
    /// A buffer.
    Buffer(Vec<u8>),
    /// A package.
    Package(Vec<Value>),
    /// A reference to a named object, or the object itself where it has no value (a device, for
    /// instance): its absolute path. Empty for a reference to something without a name.
    Reference(String),
}

impl Value {
    /// The type; a reference is [`Kind::Reference`] whatever it refers to.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Uninitialized => Kind::Uninitialized,
            Self::Integer(_) => Kind::Integer,
            Self::String(_) => Kind::String,
            Self::Buffer(_) => Kind::Buffer,
            Self::Package(_) => Kind::Package,
            Self::Reference(_) => Kind::Reference,
        }
    }

    /// The integer, if it is one.
    #[must_use]
    pub const fn as_integer(&self) -> Option<u64> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is a buffer.
    #[must_use]
    pub fn as_buffer(&self) -> Option<&[u8]> {
        match self {
            Self::Buffer(value) => Some(value),
            _ => None,
        }
    }

    /// The elements, if it is a package.
    #[must_use]
    pub fn as_package(&self) -> Option<&[Value]> {
        match self {
            Self::Package(value) => Some(value),
            _ => None,
        }
    }
}
