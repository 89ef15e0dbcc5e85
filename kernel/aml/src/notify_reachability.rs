//! Static analysis of which devices a method can notify: a walk over the call graph, without execution.
//!
//! Undecidable are: a Notify on an expression other than a name, a name that is not in the namespace, code that opens
//! scopes of its own. A Notify on a target decides at once. Neighbours: `walk` parses the code; the kernel's
//! `acpi::gpe` enables events by the result.
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::Reach;
use crate::code::{CodePath, Cursor};
use crate::error::{Error, ErrorKind};
use crate::model::{Handle, Method, Object};
use crate::name::NameSeg;
use crate::opcode as op;
use crate::run::Core;
use crate::walk::{Part, Visitor, walk};

pub(crate) fn reaches_notify(core: &Core, start: Handle, is_target: &dyn Fn(Handle) -> bool) -> Reach {
    let mut seen = BTreeSet::from([start]);
    let mut pending = alloc::vec![start];
    let mut undecidable = false;
    while let Some(node) = pending.pop() {
        let Ok(Object::Method(Method { body, .. })) = core.names.object(node) else { continue };
        let mut search = Search {
            core,
            is_target,
            scope: node,
            found: Reach::No,
            made: Vec::new(),
            fields: Fields::None,
            calls: Vec::new(),
        };
        let walked = walk(&core.tables, *body, Part::Terms, &mut search);
        match search.found {
            Reach::Yes => return Reach::Yes,
            Reach::Undecidable => undecidable = true,
            Reach::No => undecidable |= walked.is_err(),
        }
        pending.extend(search.calls.into_iter().filter(|&called| seen.insert(called)));
    }
    if undecidable { Reach::Undecidable } else { Reach::No }
}

/// Whether the method declares fields of its own; their names are not collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    None,
    Some,
}

/// The walk over one method.
struct Search<'a> {
    core: &'a Core,
    is_target: &'a dyn Fn(Handle) -> bool,
    scope: Handle,
    found: Reach,
    /// Names that the method creates when it runs.
    made: Vec<NameSeg>,
    fields: Fields,
    calls: Vec<Handle>,
}

impl Search<'_> {
    fn find(&self, path: CodePath) -> Option<Handle> {
        let segments = path.segments(&self.core.tables);
        self.core.names.find(self.scope, path.start, segments, usize::from(path.count()))
    }

    fn notify(&mut self, after: Cursor) {
        let mut cursor = after;
        let code = self.core.tables.code(cursor.table);
        let target = if cursor.is_at_name(code) { cursor.name_string(code).ok() } else { None };
        let target = target.and_then(|path| self.find(path));
        let target = target.filter(|&node| self.core.is_notifiable(node).unwrap_or(false));
        match target.map(|node| (self.is_target)(node)) {
            Some(true) => self.found = Reach::Yes,
            Some(false) => {}
            None if self.found == Reach::No => self.found = Reach::Undecidable,
            None => {}
        }
    }
}

impl Visitor for Search<'_> {
    fn used(&mut self, path: CodePath) -> Result<u8, Error> {
        let last = path.segments(&self.core.tables).last();
        if path.count() == 1 && last.is_some_and(|last| self.made.contains(&last)) {
            return Ok(0);
        }
        match self.find(path) {
            Some(node) => match self.core.names.object(node)? {
                Object::Method(method) => {
                    self.calls.push(node);
                    Ok(method.arguments)
                }
                Object::Osi => Ok(1),
                _ => Ok(0),
            },
            None if self.fields == Fields::Some && path.count() == 1 => Ok(0),
            None => Err(ErrorKind::NotFound(path.text(&self.core.tables)).into()),
        }
    }

    fn made(&mut self, path: CodePath) {
        self.made.extend(path.segments(&self.core.tables).last());
    }

    fn term(&mut self, opcode: u16, after: Cursor) {
        match opcode {
            op::NOTIFY => self.notify(after),
            op::FIELD | op::INDEX_FIELD | op::BANK_FIELD => self.fields = Fields::Some,
            _ => {}
        }
    }
}
