//! The data model of the interpreter: named objects, values, and the handles that refer to them.
//!
//! ```text
//!  Handle ──> Namespace node ──> Object: Device, Method, Region, Field, ... or a Name's Val
//!                                          Val ── DataId ──> Heap slot ──> Data: string, buffer, package
//! ```
//!
//! Handles and ids are numbers, so the model has no pointers and no cycles in ownership. Invariant: this module depends
//! on no other part of the interpreter, only on positions in byte code (`code`) and the public types. Neighbours:
//! `namespace` stores the objects, `heap` the data; `run` and its fellow modules change both.
use alloc::boxed::Box;

use crate::access::{PciAddress, Width};
use crate::code::Cursor;
use crate::error::Error;
use crate::value::Kind;

/// A handle of a named object (ACPICA: `acpi_handle`): the number of its namespace node and the generation of that slot.
/// Objects of tables keep their handles; a handle of an object that a method made is stale when the method ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// The root of the namespace.
pub(crate) const ROOT: Handle = Handle { index: 0, generation: 0 };

/// A named object.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    /// A plain scope, such as `\_SB`.
    Scope,
    /// A Name: its present value.
    Value(Val),
    Method(Method),
    /// A method of the interpreter itself: `\_OSI`.
    Osi,
    Device,
    Processor,
    PowerResource,
    ThermalZone,
    Mutex(Mutex),
    /// An event and how often it is signalled.
    Event(u32),
    Region(Box<Region>),
    Field(FieldUnit),
    BufferField(BufferField),
    /// Another name for a node.
    Alias(Handle),
}

/// A control method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    pub(crate) arguments: u8,
    pub(crate) serialized: Serialized,
    pub(crate) body: Cursor,
}

/// Whether a method is serialized by a lock of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serialized {
    No,
    /// With this sync level.
    Level(u8),
}

/// A mutex: its level, and how often it is held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutex {
    pub(crate) level: u8,
    pub(crate) held: u32,
    /// The sync level before the first acquisition, restored at the last release.
    pub(crate) before: u8,
}

impl Object {
    /// Whether it can be present or absent, and notified.
    pub(crate) fn is_device_like(&self) -> bool {
        matches!(self, Self::Device | Self::Processor | Self::ThermalZone)
    }

    /// The type; for a Name the caller asks its value.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Scope | Self::Value(_) | Self::Alias(_) => Kind::Uninitialized,
            Self::Method(_) | Self::Osi => Kind::Method,
            Self::Device => Kind::Device,
            Self::Processor => Kind::Processor,
            Self::PowerResource => Kind::PowerResource,
            Self::ThermalZone => Kind::ThermalZone,
            Self::Mutex(_) => Kind::Mutex,
            Self::Event(_) => Kind::Event,
            Self::Region(_) => Kind::Region,
            Self::Field(_) => Kind::FieldUnit,
            Self::BufferField(_) => Kind::BufferField,
        }
    }
}
/// A value. Copying it copies the reference to a string, buffer or package, not the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Val {
    /// Nothing stored here.
    #[default]
    Uninit,
    Int(u64),
    /// A string, a buffer or a package.
    Data(DataId),
    /// A reference: what RefOf and Index return.
    Ref(Ref),
    /// A named object without a value of its own: a device, a mutex, a method...
    Node(Handle),
    /// The Debug object.
    Debug,
    /// Inside packages only: a name, resolved when it is used, because it may be declared later (19.6.102). The
    /// position of its name string in a table, and the scope it is looked up from. As a value of its own, it takes no
    /// slot: packages of names are the larger part of real tables.
    Name {
        table: u16,
        at: u32,
        scope: Handle,
    },
}

const _: () = assert!(size_of::<Val>() == 16);

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataId(pub(crate) u32);

/// The target of a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ref {
    /// A local (0..=7) or an argument (8..=14) of a running method.
    Var { frame: u32, slot: u8 },
    /// A named object.
    Node(Handle),
    /// An element of a package or a byte of a buffer or string.
    Index(DataId, u32),
}

/// The content of a slot of the heap.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    String(Box<[u8]>),
    Buffer(Box<[u8]>),
    Package(Box<[Val]>),
}

impl Data {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::String(_) => Kind::String,
            Self::Buffer(_) => Kind::Buffer,
            Self::Package(_) => Kind::Package,
        }
    }
}

/// An operation region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) space: u8,
    pub(crate) base: u64,
    pub(crate) length: u64,
    /// The function whose configuration space it is in, once found.
    pub(crate) pci: Option<PciAddress>,
    /// Where its base and length still have to be evaluated.
    pub(crate) deferred: Option<Deferred>,
}

/// The terms of a region's base and length, which name something that did not exist at the declaration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deferred {
    pub(crate) terms: Cursor,
    pub(crate) scope: Handle,
}

/// A field of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldUnit {
    pub(crate) home: Home,
    /// Offset and length in bits.
    pub(crate) offset: u32,
    pub(crate) bits: u32,
    pub(crate) width: Width,
    pub(crate) update: Update,
    pub(crate) lock: Lock,
}

/// How the bits of a field are accessed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home {
    Region(Handle),
    /// Written with the byte offset before `data` is accessed.
    Index {
        index: Handle,
        data: Handle,
    },
    /// A region, after `value` was written to `bank`.
    Bank {
        region: Handle,
        bank: Handle,
        /// No wider than a bank register, as in ACPICA.
        value: u32,
    },
}

/// What a write stores to the bits of a datum that do not belong to the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Preserve,
    WriteAsOnes,
    WriteAsZeros,
}

/// Whether the global lock is held during an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    No,
    Global,
}

/// A field of a buffer, made by one of the CreateField operators.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferField {
    pub(crate) buffer: DataId,
    /// Offset and length in bits.
    pub(crate) offset: u32,
    pub(crate) bits: u32,
    pub(crate) kind: BufferFieldKind,
}

/// The type that a field of a buffer is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferFieldKind {
    /// An integer where it fits one, else a buffer.
    Integer,
    /// A buffer, whatever its size: those of CreateField (19.6.19).
    Sized,
}

/// A declaration that waits until a name is declared.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The term alone.
    pub(crate) term: Cursor,
    pub(crate) scope: Handle,
    /// The error with the missing name.
    pub(crate) error: Error,
}
