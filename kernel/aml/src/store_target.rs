//! Store targets and SuperNames: parsing them, loading from them, storing to them, references to elements.
use crate::code::{CodePath, is_name};
use crate::error::{Error, ErrorKind};
use crate::model::{Data, Handle, Object, Ref, Region, Val};
use crate::opcode as op;
use crate::run::{MAX_LOCALS, Run};

/// A location that can be stored to, loaded from, or referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreTarget {
    /// The null target: the value is discarded.
    None,
    Debug,
    /// A local (0..=7) or argument (8..=14) of the running frame.
    Var(u8),
    Node(Handle),
    Ref(Ref),
    /// A plain value, from an expression that returns no reference.
    Value(Val),
}

/// Whether a method's name as a SuperName is a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    Yes,
    No,
}

impl Run<'_> {
    /// A target: a SuperName or the null target. A method there is called, and what it returns refers to the target
    /// (20.2.5, Type6Opcode).
    pub(crate) fn target(&mut self) -> Result<StoreTarget, Error> {
        self.target_with(Calls::Yes)
    }

    /// CopyObject's target: a SimpleName, so a method there is replaced.
    pub(crate) fn copy_target(&mut self) -> Result<StoreTarget, Error> {
        self.target_with(Calls::No)
    }

    fn target_with(&mut self, calls: Calls) -> Result<StoreTarget, Error> {
        let (cursor, code) = self.cursor()?;
        if cursor.peek(code)? == 0 {
            cursor.at = cursor.at.saturating_add(1);
            return Ok(StoreTarget::None);
        }
        self.super_name(calls)
    }

    pub(crate) fn super_name(&mut self, calls: Calls) -> Result<StoreTarget, Error> {
        let (cursor, code) = self.cursor()?;
        let start = *cursor;
        let first = cursor.peek(code)?;
        if is_name(first) {
            let node = self.named()?;
            if calls == Calls::No || !matches!(self.core.names.object(node)?, Object::Method(_)) {
                return Ok(StoreTarget::Node(node));
            }
            self.frame()?.cursor = start;
        } else if let variable @ op::LOCAL0..=op::ARG6 = u16::from(first) {
            cursor.at = cursor.at.saturating_add(1);
            return Ok(StoreTarget::Var(slot_of(variable)));
        } else if cursor.peek_opcode(code) == Some(op::DEBUG) {
            cursor.opcode(code)?;
            return Ok(StoreTarget::Debug);
        }
        let value = self.term()?;
        Ok(Self::target_of(value))
    }

    /// For CondRefOf: `None` if the name does not exist.
    pub(crate) fn super_name_if_any(&mut self) -> Result<Option<StoreTarget>, Error> {
        let (cursor, code) = self.cursor()?;
        if cursor.is_at_name(code) {
            let path = cursor.name_string(code)?;
            return Ok(self.find(path)?.map(StoreTarget::Node));
        }
        self.super_name(Calls::No).map(Some)
    }

    fn target_of(value: Val) -> StoreTarget {
        match value {
            Val::Ref(reference) => StoreTarget::Ref(reference),
            Val::Node(node) => StoreTarget::Node(node),
            other => StoreTarget::Value(other),
        }
    }

    /// The value of a target.
    pub(crate) fn load(&mut self, place: StoreTarget) -> Result<Val, Error> {
        match place {
            StoreTarget::None => Err(ErrorKind::Uninitialized.into()),
            StoreTarget::Debug => Ok(Val::Debug),
            StoreTarget::Var(slot) => match self.frame()?.vars.get(usize::from(slot)) {
                Some(Val::Uninit) | None => Err(ErrorKind::Uninitialized.into()),
                Some(&value) => Ok(value),
            },
            StoreTarget::Node(node) => self.value_of(node),
            StoreTarget::Ref(reference) => self.load_reference(reference),
            StoreTarget::Value(value) => Ok(value),
        }
    }

    /// The value that a reference refers to (DerefOf).
    pub(crate) fn load_reference(&mut self, reference: Ref) -> Result<Val, Error> {
        match reference {
            Ref::Var { .. } => match *self.variable_of(reference)? {
                Val::Uninit => Err(ErrorKind::Uninitialized.into()),
                value => Ok(value),
            },
            Ref::Node(node) => self.value_of(node),
            Ref::Index(id, index) => {
                let index = crate::code::to_usize(index);
                let element = match self.core.heap.get(id)? {
                    Data::Package(elements) => elements.get(index).copied(),
                    Data::Buffer(bytes) | Data::String(bytes) => {
                        bytes.get(index).map(|&byte| Val::Int(u64::from(byte)))
                    }
                };
                match element.ok_or(ErrorKind::Dangling)? {
                    Val::Uninit => Err(ErrorKind::Uninitialized.into()),
                    element => self.resolved(element),
                }
            }
        }
    }

    /// Resolves a name in a package to the object's value.
    pub(crate) fn resolved(&mut self, value: Val) -> Result<Val, Error> {
        let Val::Name { table, at, scope } = value else { return Ok(value) };
        let path = CodePath::read(&self.core.tables, table, at)?;
        match self.find_from(scope, path) {
            Some(node) => self.value_of(node),
            None => Err(self.not_found(path)),
        }
    }

    pub(crate) fn variable_of(&mut self, reference: Ref) -> Result<&mut Val, Error> {
        let Ref::Var { frame, slot } = reference else { return Err(ErrorKind::Dangling.into()) };
        let frame = self.frames.iter_mut().find(|running| running.id == frame).ok_or(ErrorKind::Dangling)?;
        frame.vars.get_mut(usize::from(slot)).ok_or_else(|| ErrorKind::Dangling.into())
    }

    /// DerefOf, of a reference or of a string with an object's path.
    pub(crate) fn dereferenced(&mut self, value: Val) -> Result<Val, Error> {
        match value {
            Val::Ref(reference) => self.load_reference(reference),
            Val::Node(node) => self.value_of(node),
            Val::Data(id) => {
                let Data::String(text) = self.core.heap.get(id)? else {
                    return Err(self.wrong_type("a reference", value));
                };
                let text: alloc::string::String = text.iter().map(|&byte| char::from(byte)).collect();
                let path = crate::name::TextPath::parse(&text)?;
                let scope = self.frame()?.scope;
                let count = path.segments.len();
                if text.is_empty() {
                    return Err(ErrorKind::NotFound(text).into());
                }
                let segments = path.segments.into_iter();
                match self.core.names.find(scope, path.start, segments, count) {
                    Some(node) => self.value_of(node),
                    None => Err(ErrorKind::NotFound(text).into()),
                }
            }
            _ => Err(self.wrong_type("a reference", value)),
        }
    }

    /// Store (19.6.133): a named object keeps its type and the value is converted; any other target gets a copy.
    pub(crate) fn store(&mut self, place: StoreTarget, value: Val) -> Result<(), Error> {
        match place {
            StoreTarget::None => Ok(()),
            StoreTarget::Debug => self.debug(value),
            StoreTarget::Var(slot) => self.set_variable(slot, value),
            StoreTarget::Node(node) | StoreTarget::Ref(Ref::Node(node)) => self.store_named(node, value),
            StoreTarget::Ref(reference) => self.store_reference(reference, value),
            // Stores to Zero, One and Ones have no effect (19.6.157): an element of a package may be one.
            StoreTarget::Value(Val::Int(constant))
                if constant <= 1 || Val::Int(constant) == self.int(u64::MAX) =>
            {
                Ok(())
            }
            StoreTarget::Value(value) => Err(self.wrong_type("a target", value)),
        }
    }

    fn set_variable(&mut self, slot: u8, value: Val) -> Result<(), Error> {
        // Storing to an argument that is a reference stores to its object (19.3.5.8).
        let old = self.frame()?.vars.get(usize::from(slot)).copied();
        if usize::from(slot) >= MAX_LOCALS
            && let Some(Val::Ref(reference @ (Ref::Var { .. } | Ref::Node(_)))) = old
        {
            return self.copy_object(StoreTarget::Ref(reference), value);
        }
        let value = self.copied(value)?;
        if let Some(var) = self.frame()?.vars.get_mut(usize::from(slot)) {
            *var = value;
        }
        Ok(())
    }

    /// CopyObject (19.6.17): the target takes the value's type; only fields convert.
    pub(crate) fn copy_object(&mut self, place: StoreTarget, value: Val) -> Result<(), Error> {
        match place {
            StoreTarget::Var(slot) => self.set_variable(slot, value),
            StoreTarget::Node(node) | StoreTarget::Ref(Ref::Node(node)) => {
                match *self.core.names.object(node)? {
                    Object::Field(_) | Object::BufferField(_) => self.store_named(node, value),
                    // An object of any other type is replaced. What refers to it finds data there.
                    _ => self.replace(node, value),
                }
            }
            StoreTarget::Ref(reference) => self.store_reference(reference, value),
            StoreTarget::None | StoreTarget::Debug | StoreTarget::Value(_) => self.store(place, value),
        }
    }

    /// Puts a copy of the value in the place of the object: of a region or a method, another one.
    fn replace(&mut self, node: Handle, value: Val) -> Result<(), Error> {
        let copy = match value {
            Val::Node(source) => match self.core.names.object(source)? {
                copy @ (Object::Region(_) | Object::Method(_)) => {
                    self.core.heap.check(size_of::<Region>())?;
                    copy.clone()
                }
                _ => Object::Value(value),
            },
            value => Object::Value(self.copied_out(value)?),
        };
        *self.core.names.object_mut(node)? = copy;
        Ok(())
    }

    fn store_reference(&mut self, reference: Ref, value: Val) -> Result<(), Error> {
        match reference {
            Ref::Var { .. } => {
                let value = self.copied_out(value)?;
                *self.variable_of(reference)? = value;
                Ok(())
            }
            Ref::Node(node) => self.store_named(node, value),
            Ref::Index(id, index) => {
                let index = crate::code::to_usize(index);
                if let Data::Package(_) = self.core.heap.get(id)? {
                    let value = self.copied_out(value)?;
                    if let Data::Package(elements) = self.core.heap.get_mut(id)? {
                        *elements.get_mut(index).ok_or(ErrorKind::Dangling)? = value;
                    }
                    return Ok(());
                }
                let byte = self.first_byte(value)?;
                if let Data::Buffer(bytes) | Data::String(bytes) = self.core.heap.get_mut(id)? {
                    *bytes.get_mut(index).ok_or(ErrorKind::Dangling)? = byte;
                }
                Ok(())
            }
        }
    }

    /// The byte to store into a buffer's element: an integer's low byte, or the first byte.
    fn first_byte(&mut self, value: Val) -> Result<u8, Error> {
        match value {
            Val::Int(value) => Ok(value.to_le_bytes()[0]),
            Val::Data(id) => match self.core.heap.get(id)? {
                Data::Buffer(bytes) | Data::String(bytes) => Ok(bytes.first().copied().unwrap_or_default()),
                _ => Err(self.wrong_type("an integer, a string or a buffer", value)),
            },
            _ => Err(self.wrong_type("an integer, a string or a buffer", value)),
        }
    }

    fn store_named(&mut self, node: Handle, value: Val) -> Result<(), Error> {
        let old = match *self.core.names.object(node)? {
            Object::Value(old) => old,
            Object::Field(unit) => return self.write_unit(&unit, value),
            Object::BufferField(field) => return self.write_buffer_field(field, value),
            // As in ACPICA: unlike devices, regions and synchronisers, a method is replaced.
            Object::Method(_) => return self.replace(node, value),
            ref object => {
                let found = object.kind();
                return Err(ErrorKind::WrongType { wanted: "a target that can be stored to", found }.into());
            }
        };
        let new = match old {
            Val::Int(_) => {
                let number = self.to_integer(value)?;
                self.int(number)
            }
            Val::Data(id) => match self.core.heap.get(id)? {
                Data::String(_) => {
                    let text = self.string_bytes(value)?;
                    return self.core.heap.replace(id, Data::String(text.into()));
                }
                Data::Buffer(_) => return self.store_buffer(id, value),
                _ => match value {
                    Val::Data(source) if matches!(self.core.heap.get(source)?, Data::Package(_)) => {
                        self.copied_out(value)?
                    }
                    _ => return Err(self.wrong_type("a package", value)),
                },
            },
            // A copy of a method or a device behaves as that itself.
            Val::Node(copied) => match *self.core.names.object(copied)? {
                Object::Method(_) => self.copied_out(value)?,
                ref object => {
                    let found = object.kind();
                    return Err(
                        ErrorKind::WrongType { wanted: "a target that can be stored to", found }.into()
                    );
                }
            },
            _ => self.copied_out(value)?,
        };
        *self.core.names.object_mut(node)? = Object::Value(new);
        Ok(())
    }

    /// A named buffer keeps its length, unless that is 0; excess bytes are dropped.
    fn store_buffer(&mut self, id: crate::model::DataId, value: Val) -> Result<(), Error> {
        let source = self.buffer_bytes(value)?;
        self.step_bytes(source.len())?;
        let Data::Buffer(bytes) = self.core.heap.get_mut(id)? else {
            return Err(ErrorKind::Dangling.into());
        };
        if bytes.is_empty() {
            return self.core.heap.replace(id, Data::Buffer(source.into()));
        }
        bytes.fill(0);
        for (to, from) in bytes.iter_mut().zip(source) {
            *to = from;
        }
        Ok(())
    }

    /// Index: a reference to an element.
    pub(crate) fn element(&mut self, source: Val, index: u64) -> Result<Val, Error> {
        let source = match source {
            Val::Ref(reference) => self.load_reference(reference)?,
            source => source,
        };
        let Val::Data(id) = source else {
            return Err(self.wrong_type("a package, a buffer or a string", source));
        };
        let length = match self.core.heap.get(id)? {
            Data::Package(elements) => elements.len(),
            Data::Buffer(bytes) | Data::String(bytes) => bytes.len(),
        };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        match u32::try_from(index) {
            Ok(short) if index < length => Ok(Val::Ref(Ref::Index(id, short))),
            _ => Err(ErrorKind::OutOfRange { index, length }.into()),
        }
    }
}

/// The variable of an opcode: locals first, then arguments.
pub(crate) fn slot_of(opcode: u16) -> u8 {
    u8::try_from(opcode.saturating_sub(op::LOCAL0)).unwrap_or(u8::MAX)
}
