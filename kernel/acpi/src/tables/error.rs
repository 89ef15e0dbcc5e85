//! Why a table is unusable or left out, in words.
//!
//! Neighbour: `tables` reads them.

use super::{MAX_POINTERS, MAX_TABLES, Signature};
use crate::fadt;
use crate::madt::BadMadtEntry;
use carapace_mm::addr::PhysAddr;
use core::fmt;

/// Why a table is unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError<R> {
    /// The loader found no RSDP.
    NoRsdp,
    /// The RSDP has a wrong signature or checksum.
    BadRsdp(PhysAddr),
    /// The table's memory cannot be read.
    Map(PhysAddr, R),
    /// The table at the root's address has another signature than the RSDP's revision implies.
    NotARoot(PhysAddr, Signature),
    /// The length in the header is shorter than the header, or too large.
    BadLength(Signature, PhysAddr, u32),
    /// The table's bytes do not sum up to zero.
    BadChecksum(Signature, PhysAddr),
    /// There is no valid table of this signature.
    Missing(Signature),
    /// The FADT's DSDT pointer leads to a table of another signature.
    NotADsdt(PhysAddr, Signature),
    /// The FADT is unusable.
    BadFadt(fadt::FadtError),
    /// The MADT is malformed.
    BadMadt(BadMadtEntry),
}

impl<R: fmt::Display> fmt::Display for TableError<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::NoRsdp => f.write_str("the loader found no ACPI tables (no RSDP)"),
            TableError::BadRsdp(at) => write!(f, "no valid RSDP at {at}: wrong signature or checksum"),
            TableError::Map(at, error) => write!(f, "the table at {at} cannot be mapped: {error}"),
            TableError::NotARoot(at, found) => write!(f, "the root table at {at} has signature {found}"),
            TableError::BadLength(signature, at, length) => {
                write!(f, "{signature} at {at} claims a length of {length} bytes")
            }
            TableError::BadChecksum(signature, at) => write!(f, "{signature} at {at} has a wrong checksum"),
            TableError::Missing(signature) => write!(f, "the firmware has no {signature} table"),
            TableError::NotADsdt(at, found) => write!(f, "the FADT's DSDT pointer {at} leads to {found}"),
            TableError::BadFadt(error) => error.fmt(f),
            TableError::BadMadt(error) => error.fmt(f),
        }
    }
}

/// A table, or pointers, that the list leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut<R> {
    /// An unusable table.
    Broken(TableError<R>),
    /// Pointers of the root table beyond `MAX_POINTERS`.
    Pointers(Signature, PhysAddr),
    /// A table beyond [`MAX_TABLES`].
    TooMany(Signature, PhysAddr),
}

impl<R: fmt::Display> fmt::Display for LeftOut<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::Broken(error) => write!(f, "{error}; left out"),
            LeftOut::Pointers(kind, at) => {
                write!(f, "{kind} at {at}: only the first {MAX_POINTERS} pointers are followed")
            }
            LeftOut::TooMany(signature, at) => {
                write!(f, "{signature} at {at}: more than {MAX_TABLES} tables; left out")
            }
        }
    }
}
