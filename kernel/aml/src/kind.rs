//! ObjectType and SizeOf (19.6.97, 19.6.128), and the type of a value for errors.
use crate::code::CodePath;
use crate::error::{Error, ErrorKind};
use crate::model::{BufferField, BufferFieldKind, Data, Handle, Object, Ref, Val};
use crate::run::Run;
use crate::store_target::StoreTarget;
use crate::value::Kind;

impl Run<'_> {
    pub(crate) fn size_of(&mut self, place: StoreTarget) -> Result<Val, Error> {
        if let StoreTarget::Node(node) = place
            && let object @ (Object::Field(_) | Object::BufferField(_)) = self.core.names.object(node)?
        {
            let found = object.kind();
            return Err(ErrorKind::WrongType { wanted: "a package, a buffer or a string", found }.into());
        }
        let mut value = self.load(place)?;
        if let Val::Ref(reference) = value {
            if let Ref::Index(id, _) = reference
                && !matches!(self.core.heap.get(id)?, Data::Package(_))
            {
                return Err(self.wrong_type("a package, a buffer or a string", value));
            }
            value = self.load_reference(reference)?;
        }
        if let Val::Int(_) = value {
            // Not among the types of 19.6.128, but ACPICA's answer.
            return Ok(self.int(u64::try_from(self.core.width.bytes()).unwrap_or_default()));
        }
        let Val::Data(id) = value else {
            return Err(self.wrong_type("a package, a buffer or a string", value));
        };
        let size = match self.core.heap.get(id)? {
            Data::Package(elements) => elements.len(),
            Data::Buffer(bytes) | Data::String(bytes) => bytes.len(),
        };
        Ok(self.int(u64::try_from(size).unwrap_or(u64::MAX)))
    }

    /// ObjectType; of a reference, the type of the object it refers to.
    pub(crate) fn kind_of(&mut self, place: StoreTarget) -> Result<Kind, Error> {
        let value = match place {
            StoreTarget::None => return Ok(Kind::Uninitialized),
            StoreTarget::Debug => return Ok(Kind::Debug),
            StoreTarget::Node(node) | StoreTarget::Ref(Ref::Node(node)) => return self.kind_of_node(node),
            StoreTarget::Var(slot) => self.frame()?.vars.get(usize::from(slot)).copied().unwrap_or_default(),
            StoreTarget::Ref(Ref::Index(id, index)) => match self.core.heap.get(id)? {
                Data::Package(elements) => {
                    elements.get(crate::code::to_usize(index)).copied().unwrap_or_default()
                }
                _ => return Ok(Kind::BufferField),
            },
            StoreTarget::Ref(reference) => *self.variable_of(reference)?,
            StoreTarget::Value(value) => value,
        };
        match value {
            Val::Ref(reference) => self.deeper(|run| run.kind_of(StoreTarget::Ref(reference))),
            Val::Node(node) => self.kind_of_node(node),
            Val::Data(id) => Ok(self.core.heap.get(id)?.kind()),
            Val::Name { table, at, scope } => {
                let path = CodePath::read(&self.core.tables, table, at)?;
                match self.find_from(scope, path) {
                    Some(node) => Ok(match self.kind_of_node(node)? {
                        // Such an element is the field's value.
                        Kind::FieldUnit | Kind::BufferField => self.kind_of_bits(node)?,
                        kind => kind,
                    }),
                    None => Err(self.not_found(path)),
                }
            }
            Val::Uninit => Ok(Kind::Uninitialized),
            Val::Int(_) => Ok(Kind::Integer),
            Val::Debug => Ok(Kind::Debug),
        }
    }

    fn kind_of_node(&mut self, node: Handle) -> Result<Kind, Error> {
        match *self.core.names.object(node)? {
            Object::Value(Val::Ref(Ref::Node(target))) => self.deeper(|run| run.kind_of_node(target)),
            Object::Value(value) => Ok(self.kind_of_value(value)),
            ref object => Ok(object.kind()),
        }
    }

    /// The type that a field is read as.
    fn kind_of_bits(&self, node: Handle) -> Result<Kind, Error> {
        let bits = match *self.core.names.object(node)? {
            Object::Field(unit) => unit.bits,
            Object::BufferField(BufferField { bits, kind: BufferFieldKind::Integer, .. }) => bits,
            _ => u32::MAX,
        };
        Ok(if bits <= self.core.width.bits() { Kind::Integer } else { Kind::Buffer })
    }

    pub(crate) fn kind_of_value(&self, value: Val) -> Kind {
        match value {
            Val::Uninit => Kind::Uninitialized,
            Val::Int(_) => Kind::Integer,
            Val::Data(id) => self.core.heap.get(id).map_or(Kind::Uninitialized, Data::kind),
            Val::Ref(_) | Val::Name { .. } => Kind::Reference,
            Val::Node(node) => self.core.names.object(node).map_or(Kind::Uninitialized, Object::kind),
            Val::Debug => Kind::Debug,
        }
    }

    pub(crate) fn wrong_type(&self, wanted: &'static str, found: Val) -> Error {
        ErrorKind::WrongType { wanted, found: self.kind_of_value(found) }.into()
    }
}
