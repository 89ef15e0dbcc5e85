//! Declarations (20.2.5.1, 20.2.5.2): the terms that create named objects, and name lookup from running code.
use alloc::boxed::Box;

use crate::code::{CodePath, Cursor};
use crate::error::{Error, ErrorKind};
use crate::model::{
    BufferField, BufferFieldKind, Data, Deferred, Handle, Method, Mutex, Object, Region, Serialized, Val,
};
use crate::namespace::NODE_BYTES;
use crate::opcode as op;
use crate::run::{BlockKind, Core, Run};
use crate::walk::{Part, Visitor, walk};

impl Run<'_> {
    /// A declaration whose opcode has been read.
    #[inline(never)]
    pub(crate) fn declaration(&mut self, opcode: u16) -> Result<(), Error> {
        match opcode {
            op::NAME => {
                let path = self.name_string()?;
                let value = self.term()?;
                let value = self.copied(value)?;
                self.declare(path, Object::Value(value)).map(drop)
            }
            op::ALIAS => self.alias(),
            op::SCOPE => self.scope(),
            op::METHOD => self.method(),
            op::EXTERNAL => {
                self.name_string()?;
                let (cursor, code) = self.cursor()?;
                cursor.bytes(code, 2).map(drop)
            }
            op::MUTEX => {
                let path = self.name_string()?;
                let (cursor, code) = self.cursor()?;
                let level = cursor.byte(code)? & 0x0f;
                self.declare(path, Object::Mutex(Mutex { level, held: 0, before: 0 })).map(drop)
            }
            op::EVENT => {
                let path = self.name_string()?;
                self.declare(path, Object::Event(0)).map(drop)
            }
            op::DEVICE | op::PROCESSOR | op::POWER_RESOURCE | op::THERMAL_ZONE => self.device(opcode),
            op::REGION => self.region(),
            op::DATA_REGION => Err(ErrorKind::Unsupported("DataTableRegion").into()),
            op::FIELD | op::INDEX_FIELD | op::BANK_FIELD => self.field_list(opcode),
            _ => self.buffer_field(opcode),
        }
    }

    pub(crate) fn name_string(&mut self) -> Result<CodePath, Error> {
        let (cursor, code) = self.cursor()?;
        cursor.name_string(code)
    }

    /// The object that a path in the running code names.
    pub(crate) fn find(&mut self, path: CodePath) -> Result<Option<Handle>, Error> {
        let scope = self.frame()?.scope;
        Ok(self.find_from(scope, path))
    }

    pub(crate) fn find_from(&self, scope: Handle, path: CodePath) -> Option<Handle> {
        let segments = path.segments(&self.core.tables);
        self.core.names.find(scope, path.start, segments, usize::from(path.count()))
    }

    /// The object that the name string ahead names; the cursor moves behind the string.
    #[inline(never)]
    pub(crate) fn named(&mut self) -> Result<Handle, Error> {
        match self.named_before() {
            Some(found) => Ok(found),
            None => self.named_anew(),
        }
    }

    /// The same, if the name was looked up before; else nothing happens.
    #[inline(always)]
    pub(crate) fn named_before(&mut self) -> Option<Handle> {
        let frame = self.frames.last_mut()?;
        let (found, after) = self.core.names.cache.get(frame.cursor, frame.scope)?;
        frame.cursor.at = after;
        Some(found)
    }

    #[inline(never)]
    pub(crate) fn named_anew(&mut self) -> Result<Handle, Error> {
        let frame = self.frame()?;
        let (from, scope) = (frame.cursor, frame.scope);
        let path = self.name_string()?;
        let Some(found) = self.find_from(scope, path) else { return Err(self.not_found(path)) };
        let after = self.frame()?.cursor.at;
        if let Some(last) = path.segments(&self.core.tables).last() {
            self.core.names.cache.put(from, after, last, scope, found);
        }
        Ok(found)
    }

    pub(crate) fn not_found(&self, path: CodePath) -> Error {
        ErrorKind::NotFound(path.text(&self.core.tables)).into()
    }

    /// Creates `object` with the name `path`, whose parent must exist.
    pub(crate) fn declare(&mut self, path: CodePath, object: Object) -> Result<Handle, Error> {
        let scope = self.frame()?.scope;
        let Some(mut parent) = self.core.names.start(scope, path.start) else {
            return Err(self.not_found(path));
        };
        let mut last = None;
        for segment in path.segments(&self.core.tables) {
            if let Some(step) = last.replace(segment) {
                match self.core.names.child(parent, step) {
                    Some(child) => parent = self.core.names.followed(child),
                    None => return Err(self.not_found(path)),
                }
            }
        }
        let last = last.ok_or(ErrorKind::BadName)?;
        self.core.heap.charge(NODE_BYTES)?;
        match self.core.names.add(parent, last, object) {
            Ok(node) => {
                self.frame()?.created.push(node);
                Ok(node)
            }
            Err(error) => {
                self.core.heap.refund(NODE_BYTES);
                Err(error)
            }
        }
    }

    fn alias(&mut self) -> Result<(), Error> {
        let target = self.named()?;
        let path = self.name_string()?;
        self.declare(path, Object::Alias(target)).map(drop)
    }

    fn scope(&mut self) -> Result<(), Error> {
        let (cursor, code) = self.cursor()?;
        let inside = cursor.package(code)?;
        let behind = core::mem::replace(cursor, inside);
        let node = self.named();
        let inside = core::mem::replace(&mut self.frame()?.cursor, behind);
        let node = node?;
        match self.core.names.object(node)? {
            Object::Scope
            | Object::Device
            | Object::Processor
            | Object::PowerResource
            | Object::ThermalZone => {}
            object => {
                return Err(ErrorKind::WrongType { wanted: "a scope", found: object.kind() }.into());
            }
        }
        self.open_scope(inside, node)
    }

    fn open_scope(&mut self, inside: Cursor, node: Handle) -> Result<(), Error> {
        let before = core::mem::replace(&mut self.frame()?.scope, node);
        self.enter_block(inside, BlockKind::Scope(before))
    }

    fn method(&mut self) -> Result<(), Error> {
        let (cursor, code) = self.cursor()?;
        let mut body = cursor.package(code)?;
        let path = body.name_string(code)?;
        let flags = body.byte(code)?;
        let serialized = if flags & 8 == 0 { Serialized::No } else { Serialized::Level(flags >> 4) };
        self.declare(path, Object::Method(Method { arguments: flags & 7, serialized, body })).map(drop)
    }

    /// Devices, processors, power resources and thermal zones; the parameters of the latter are skipped.
    fn device(&mut self, opcode: u16) -> Result<(), Error> {
        let (cursor, code) = self.cursor()?;
        let mut inside = cursor.package(code)?;
        let path = inside.name_string(code)?;
        let object = match opcode {
            op::PROCESSOR => {
                inside.bytes(code, 6)?;
                Object::Processor
            }
            op::POWER_RESOURCE => {
                inside.bytes(code, 3)?;
                Object::PowerResource
            }
            op::THERMAL_ZONE => Object::ThermalZone,
            _ => Object::Device,
        };
        let node = self.declare(path, object)?;
        self.open_scope(inside, node)
    }

    fn region(&mut self) -> Result<(), Error> {
        let path = self.name_string()?;
        let (cursor, code) = self.cursor()?;
        let space = cursor.byte(code)?;
        let terms = *cursor;
        let region = match self.region_bounds() {
            Ok((base, length)) => Region { space, base, length, pci: None, deferred: None },
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => {
                // The name may be declared later: the terms are evaluated at the first access, as in ACPICA.
                let scope = self.frame()?.scope;
                let mut names = AssumeData { core: &*self.core, scope };
                let behind = walk(&self.core.tables, terms, Part::Term, &mut names)?;
                let behind = walk(&self.core.tables, behind, Part::Term, &mut names)?;
                self.frame()?.cursor = behind;
                Region { space, base: 0, length: 0, pci: None, deferred: Some(Deferred { terms, scope }) }
            }
            Err(error) => return Err(error),
        };
        self.core.heap.check(size_of::<Region>())?;
        self.declare(path, Object::Region(Box::new(region))).map(drop)
    }

    pub(crate) fn region_bounds(&mut self) -> Result<(u64, u64), Error> {
        Ok((self.integer()?, self.integer()?))
    }

    fn buffer_field(&mut self, opcode: u16) -> Result<(), Error> {
        let source = self.term()?;
        let index = self.integer()?;
        let (offset, bits, kind) = match opcode {
            op::CREATE_BIT_FIELD => (Some(index), 1, BufferFieldKind::Integer),
            op::CREATE_BYTE_FIELD => (index.checked_mul(8), 8, BufferFieldKind::Integer),
            op::CREATE_WORD_FIELD => (index.checked_mul(8), 16, BufferFieldKind::Integer),
            op::CREATE_DWORD_FIELD => (index.checked_mul(8), 32, BufferFieldKind::Integer),
            op::CREATE_QWORD_FIELD => (index.checked_mul(8), 64, BufferFieldKind::Integer),
            _ => (Some(index), self.integer()?, BufferFieldKind::Sized),
        };
        let path = self.name_string()?;
        let Val::Data(buffer) = source else { return Err(self.wrong_type("a buffer", source)) };
        let Data::Buffer(bytes) = self.core.heap.get(buffer)? else {
            return Err(self.wrong_type("a buffer", source));
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let limit = length.saturating_mul(8);
        let end = offset.and_then(|offset| offset.checked_add(bits)).unwrap_or(u64::MAX);
        if end > limit {
            return Err(ErrorKind::OutOfRange { index: end.div_ceil(8), length }.into());
        }
        if bits == 0 {
            return Err(ErrorKind::Malformed("a buffer field without bits").into());
        }
        let offset = offset.and_then(|offset| u32::try_from(offset).ok()).ok_or(ErrorKind::TooManyBytes)?;
        let bits = u32::try_from(bits).map_err(|_| ErrorKind::TooManyBytes)?;
        self.declare(path, Object::BufferField(BufferField { buffer, offset, bits, kind })).map(drop)
    }
}

/// Skips terms with undeclared names: these are assumed to be data, not methods, so no arguments follow.
pub(crate) struct AssumeData<'a> {
    pub(crate) core: &'a Core,
    pub(crate) scope: Handle,
}

impl Visitor for AssumeData<'_> {
    fn used(&mut self, path: CodePath) -> Result<u8, Error> {
        let segments = path.segments(&self.core.tables);
        let node = self.core.names.find(self.scope, path.start, segments, usize::from(path.count()));
        Ok(match node.map(|node| self.core.names.object(node)).transpose()? {
            Some(Object::Method(method)) => method.arguments,
            Some(Object::Osi) => 1,
            _ => 0,
        })
    }

    fn made(&mut self, _: CodePath) {}

    fn term(&mut self, _: u16, _: Cursor) {}
}
