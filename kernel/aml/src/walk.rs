//! Parsing byte code without execution: the syntax of all terms, and a walker without recursion.
//!
//! AML is a prefix code: the parts still to be parsed form a stack, and the end of a package restores the bounds of the
//! enclosing block. A name may be followed by arguments, whose number depends on the namespace; the [`Visitor`] returns
//! it. Neighbours: `load` skips broken terms, `notify_reachability` analyses methods.
use alloc::vec::Vec;

use crate::code::{CodePath, Cursor, Tables};
use crate::error::{Error, ErrorKind};
use crate::opcode as op;

/// A part of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Term,
    /// A SuperName or target in which a name is not called.
    Super,
    /// A SuperName in which a method's name is a call.
    SuperCall,
    Name,
    /// A name that the term declares.
    NewName,
    Bytes(u32),
    Text,
    /// Terms to the end of the package.
    Terms,
    /// Package elements to the end of the package: names in it are not called.
    Elements,
    /// Anything to the end of the package.
    Rest,
}

/// Whether a term has a package length, which encloses its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Plain,
    Package,
}

/// The parts of a term; `None` for an unknown opcode and for a term that opens another scope.
pub(crate) fn shape(opcode: u16) -> Option<(Encoding, &'static [Part])> {
    use Part::{Bytes, Elements, Name, NewName, Rest, Super, SuperCall, Term, Terms, Text};
    let parts: &'static [Part] = match opcode {
        op::ZERO | op::ONE | op::ONES | op::LOCAL0..=op::ARG6 | op::REVISION | op::DEBUG | op::TIMER => &[],
        op::NOOP | op::BREAK | op::CONTINUE | op::BREAK_POINT => &[],
        op::BYTE => &[Bytes(1)],
        op::WORD => &[Bytes(2)],
        op::DWORD => &[Bytes(4)],
        op::QWORD => &[Bytes(8)],
        op::STRING => &[Text],
        op::ALIAS => &[Name, NewName],
        op::NAME => &[NewName, Term],
        op::EXTERNAL => &[NewName, Bytes(2)],
        op::MUTEX => &[NewName, Bytes(1)],
        op::EVENT => &[NewName],
        op::REGION => &[NewName, Bytes(1), Term, Term],
        op::DATA_REGION => &[NewName, Term, Term, Term],
        op::CREATE_FIELD => &[Term, Term, Term, NewName],
        op::CREATE_BIT_FIELD
        | op::CREATE_BYTE_FIELD
        | op::CREATE_WORD_FIELD
        | op::CREATE_DWORD_FIELD
        | op::CREATE_QWORD_FIELD => &[Term, Term, NewName],
        op::DIVIDE => &[Term, Term, SuperCall, SuperCall],
        op::NOT | op::FIND_SET_LEFT_BIT | op::FIND_SET_RIGHT_BIT | op::FROM_BCD | op::TO_BCD => {
            &[Term, SuperCall]
        }
        op::COPY_OBJECT => &[Term, Super],
        op::STORE | op::TO_BUFFER | op::TO_DECIMAL_STRING | op::TO_HEX_STRING | op::TO_INTEGER => {
            &[Term, SuperCall]
        }
        op::INCREMENT | op::DECREMENT => &[SuperCall],
        op::REF_OF | op::OBJECT_TYPE | op::UNLOAD => &[Super],
        op::ADD..=op::SUBTRACT | op::MULTIPLY | op::SHIFT_LEFT..=op::XOR | op::MOD => {
            &[Term, Term, SuperCall]
        }
        op::CONCAT_RES | op::INDEX | op::TO_STRING => &[Term, Term, SuperCall],
        op::MID => &[Term, Term, Term, SuperCall],
        op::MATCH => &[Term, Bytes(1), Term, Bytes(1), Term, Term],
        op::COND_REF_OF | op::LOAD => &[Super, SuperCall],
        op::LOAD_TABLE => &[Term, Term, Term, Term, Term, Term],
        op::DEREF_OF | op::L_NOT | op::RETURN | op::STALL | op::SLEEP => &[Term],
        op::L_AND | op::L_OR | op::L_EQUAL | op::L_GREATER | op::L_LESS => &[Term, Term],
        op::NOTIFY | op::WAIT => &[SuperCall, Term],
        op::SIZE_OF | op::SIGNAL | op::RESET | op::RELEASE => &[SuperCall],
        op::ACQUIRE => &[SuperCall, Bytes(2)],
        op::FATAL => &[Bytes(5), Term],
        op::BUFFER => return Some((Encoding::Package, &[Term, Rest])),
        op::PACKAGE => return Some((Encoding::Package, &[Bytes(1), Elements])),
        op::VAR_PACKAGE => return Some((Encoding::Package, &[Term, Elements])),
        op::IF | op::WHILE => return Some((Encoding::Package, &[Term, Terms])),
        op::ELSE => return Some((Encoding::Package, &[Terms])),
        _ => return None,
    };
    Some((Encoding::Plain, parts))
}

/// What a walk does at a term with a package length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packages {
    /// Walks over its contents.
    Enter,
    /// Skips its contents.
    Skip,
}

/// The callbacks of a walk.
pub(crate) trait Visitor {
    /// A name is used where a method would be called; returns the number of arguments that follow.
    ///
    /// # Errors
    /// Ends the walk.
    fn used(&mut self, path: CodePath) -> Result<u8, Error>;

    /// A name is declared.
    fn made(&mut self, path: CodePath);

    /// A term starts; `after` is behind its opcode.
    fn term(&mut self, opcode: u16, after: Cursor);
}

enum Todo {
    Part(Part),
    /// The end of a package: the end of the enclosing block.
    Leave(u32),
}

/// Walks over `first` (one term, or terms to the cursor's end) and returns the cursor behind it. It ends, because every
/// step consumes a byte or a part that a byte has pushed.
pub(crate) fn walk(
    tables: &Tables,
    cursor: Cursor,
    first: Part,
    visitor: &mut dyn Visitor,
) -> Result<Cursor, Error> {
    walk_with(tables, cursor, first, Packages::Enter, visitor)
}

/// The cursor behind one term of any kind; its contents are parsed only as far as necessary to find its end.
pub(crate) fn skip_term(tables: &Tables, cursor: Cursor, visitor: &mut dyn Visitor) -> Result<Cursor, Error> {
    walk_with(tables, cursor, Part::Term, Packages::Skip, visitor)
}

fn walk_with(
    tables: &Tables,
    mut cursor: Cursor,
    first: Part,
    packages: Packages,
    visitor: &mut dyn Visitor,
) -> Result<Cursor, Error> {
    let code = tables.code(cursor.table);
    let mut todo = alloc::vec![Todo::Part(first)];
    while let Some(next) = todo.pop() {
        let part = match next {
            Todo::Leave(end) => {
                cursor.at = cursor.end;
                cursor.end = end;
                continue;
            }
            Todo::Part(part) => part,
        };
        match part {
            Part::Terms | Part::Elements if cursor.is_at_end() => {}
            Part::Terms => {
                todo.push(Todo::Part(part));
                todo.push(Todo::Part(Part::Term));
            }
            Part::Elements => {
                todo.push(Todo::Part(part));
                todo.push(Todo::Part(Part::Super));
            }
            Part::Rest => cursor.at = cursor.end,
            Part::Bytes(count) => {
                cursor.bytes(code, count)?;
            }
            Part::Text => {
                cursor.string(code)?;
            }
            Part::Name => {
                cursor.name_string(code)?;
            }
            Part::NewName => visitor.made(cursor.name_string(code)?),
            Part::Super if cursor.is_at_name(code) => {
                cursor.name_string(code)?;
            }
            Part::Term | Part::SuperCall if cursor.is_at_name(code) => {
                let arguments = visitor.used(cursor.name_string(code)?)?;
                todo.extend((0..arguments).map(|_| Todo::Part(Part::Term)));
            }
            Part::Term | Part::Super | Part::SuperCall => {
                let opcode = cursor.opcode(code)?;
                visitor.term(opcode, cursor);
                open(code, &mut cursor, opcode, packages, &mut todo)?;
            }
        }
    }
    Ok(cursor)
}

fn open(
    code: &[u8],
    cursor: &mut Cursor,
    opcode: u16,
    packages: Packages,
    todo: &mut Vec<Todo>,
) -> Result<(), Error> {
    let (encoding, parts) = match opcode {
        // Field lists declare their names without terms; only a bank's value could contain a call.
        op::FIELD | op::INDEX_FIELD | op::BANK_FIELD => (Encoding::Package, [Part::Rest].as_slice()),
        _ if packages == Packages::Skip && op::opens_scope(opcode) => (Encoding::Package, [].as_slice()),
        _ => shape(opcode).ok_or(ErrorKind::BadOpcode(opcode))?,
    };
    if encoding == Encoding::Package {
        let inside = cursor.package(code)?;
        if packages == Packages::Skip {
            return Ok(());
        }
        // `cursor` is behind the package: continue inside, and return at its end.
        todo.push(Todo::Leave(cursor.end));
        *cursor = inside;
    }
    todo.extend(parts.iter().rev().map(|&part| Todo::Part(part)));
    Ok(())
}
