//! Errors: the reason, and the AML object where it occurred.
//!
//! Invariant: a failed evaluation leaves no state behind: its mutexes are released, and the names that its methods
//! created are deleted.
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::access::HostError;
use crate::value::Kind;

/// An evaluation or a load that failed: the reason and the AML path where it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Failure>);

/// What an [`Error`] consists of: behind one pointer, since every step of the interpreter returns one or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    kind: ErrorKind,
    location: Option<Location>,
}

/// Where an error happened.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Location {
    path: String,
    offset: u32,
}

/// The reason of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The table's header is not that of a definition block (length, or shorter than 36 bytes).
    BadTable(&'static str),
    /// The byte code ends in the middle of a term.
    Truncated,
    /// A byte that starts no term (an extended opcode is 0x5bXX).
    BadOpcode(u16),
    /// A name or a path with characters that AML does not allow.
    BadName,
    /// A package length that reaches beyond the enclosing one.
    BadLength,
    /// A malformed declaration, with the reason.
    Malformed(&'static str),
    /// No object has this name.
    NotFound(String),
    /// The name is taken.
    AlreadyExists(String),
    /// An operand of a type that the operator cannot take.
    WrongType {
        /// The required type.
        wanted: &'static str,
        /// The type found.
        found: Kind,
    },
    /// A local, an argument or a package element that nothing was stored in.
    Uninitialized,
    /// A reference to an object that no longer exists.
    Dangling,
    /// An index, an offset or a length beyond the end of its object.
    OutOfRange {
        /// The index or the first byte beyond.
        index: u64,
        /// The object's length in elements or bytes.
        length: u64,
    },
    /// Division by zero.
    DivideByZero,
    /// A string that is no number where one is needed.
    BadNumber,
    /// A mutex acquired or released against the order of sync levels.
    MutexOrder(String),
    /// A mutex released that is not held.
    MutexNotHeld(String),
    /// A wait without a timeout for an event that cannot be signalled.
    Deadlock(String),
    /// A field access outside of its operation region.
    RegionLimit {
        /// First byte beyond the access.
        end: u64,
        /// The region's length in bytes.
        length: u64,
    },
    /// An operation region in an address space without a handler.
    NoHandler(u8),
    /// The wrong number of arguments for a method.
    ArgumentCount {
        /// The method's number of arguments.
        wanted: u8,
        /// The given number.
        given: usize,
    },
    /// The host refused an access.
    Host(HostError),
    /// The AML executed `Fatal`.
    Fatal {
        /// The firmware's type.
        class: u8,
        /// The firmware's code.
        code: u32,
        /// The firmware's argument.
        argument: u64,
    },
    /// A term that this interpreter does not execute.
    Unsupported(&'static str),
    /// [`Limits::steps`](crate::Limits::steps) is used up.
    TooManySteps,
    /// [`Limits::depth`](crate::Limits::depth) is reached.
    TooDeep,
    /// [`Limits::bytes`](crate::Limits::bytes) is reached.
    TooManyBytes,
    /// [`Limits::sleep_ms`](crate::Limits::sleep_ms) is used up.
    TooMuchSleep,
}

impl Error {
    /// The reason.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The byte code ends in the middle of a term.
    #[cold]
    #[inline(never)]
    pub(crate) fn truncated() -> Self {
        ErrorKind::Truncated.into()
    }

    /// The budget of steps is used up.
    #[cold]
    #[inline(never)]
    pub(crate) fn too_many_steps() -> Self {
        ErrorKind::TooManySteps.into()
    }

    /// The absolute path of the method or object being evaluated, where known.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.location.as_ref().map(|location| location.path.as_str())
    }

    /// Adds the location, if none is known yet: the innermost one counts.
    pub(crate) fn at(mut self, path: impl FnOnce() -> String, offset: u32) -> Self {
        if self.0.location.is_none() {
            self.0.location = Some(Location { path: path(), offset });
        }
        self
    }
}

impl From<ErrorKind> for Error {
    #[cold]
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(Failure { kind, location: None }))
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        ErrorKind::Host(error).into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { kind, location } = &*self.0;
        match location {
            Some(location) => {
                write!(f, "{kind} (in {} at table offset {:#x})", location.path, location.offset)
            }
            None => write!(f, "{kind}"),
        }
    }
}

impl core::error::Error for Error {}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadTable(what) => write!(f, "not a usable AML table: {what}"),
            Self::Truncated => write!(f, "the AML ends in the middle of a term"),
            Self::BadOpcode(op) => write!(f, "unknown AML opcode {op:#04x}"),
            Self::BadName => write!(f, "malformed name"),
            Self::BadLength => write!(f, "a package length reaches beyond its enclosing block"),
            Self::Malformed(what) => write!(f, "malformed AML: {what}"),
            Self::NotFound(name) => write!(f, "no object named {name}"),
            Self::AlreadyExists(name) => write!(f, "{name} exists already"),
            Self::WrongType { wanted, found } => write!(f, "{found} where {wanted} is needed"),
            Self::Uninitialized => write!(f, "use of an object that nothing was stored in"),
            Self::Dangling => write!(f, "a reference to an object that no longer exists"),
            Self::OutOfRange { index, length } => write!(f, "index {index} beyond the length {length}"),
            Self::DivideByZero => write!(f, "division by zero"),
            Self::BadNumber => write!(f, "a string that is no number"),
            Self::MutexOrder(name) => write!(f, "mutex {name} taken or released out of its order"),
            Self::MutexNotHeld(name) => write!(f, "mutex {name} released without being held"),
            Self::Deadlock(name) => {
                write!(f, "waits without a timeout for event {name}, which cannot be signalled")
            }
            Self::RegionLimit { end, length } => {
                write!(f, "field access up to byte {end} of a region of {length} bytes")
            }
            Self::NoHandler(space) => write!(f, "no access to operation regions of address space {space:#x}"),
            Self::ArgumentCount { wanted, given } => {
                write!(f, "the method takes {wanted} arguments, {given} were given")
            }
            Self::Host(error) => write!(f, "{error}"),
            Self::Fatal { class, code, argument } => {
                write!(
                    f,
                    "the firmware reports a fatal error: type {class:#x} code {code:#x} argument {argument:#x}"
                )
            }
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::TooManySteps => write!(f, "the evaluation takes too many steps"),
            Self::TooDeep => write!(f, "the evaluation is nested too deeply"),
            Self::TooManyBytes => write!(f, "the evaluation needs too much memory"),
            Self::TooMuchSleep => write!(f, "the evaluation sleeps too long"),
        }
    }
}
