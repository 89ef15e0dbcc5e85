//! What an object is: ObjectType and SizeOf (19.6.97, 19.6.128).
use crate::error::{Error, ErrorKind};
use crate::namespace::{NodeId, Thing};
use crate::object::{Obj, Ref, Val};
use crate::place::Place;
use crate::run::Run;
use crate::value::Kind;

impl Run<'_> {
    pub(crate) fn size_of(&mut self, place: Place) -> Result<Val, Error> {
        if let Place::Node(node) = place
            && let thing @ (Thing::Field(_) | Thing::BufferField(_)) = self.core.names.thing(node)?
        {
            let found = thing.kind();
            return Err(ErrorKind::WrongType { wanted: "a package, a buffer or a string", found }.into());
        }
        let mut value = self.load(place)?;
        if let Val::Ref(reference) = value {
            if let Ref::Index(id, _) = reference
                && !matches!(self.core.heap.get(id)?, Obj::Package(_))
            {
                return Err(self.wrong_type("a package, a buffer or a string", value));
            }
            value = self.load_reference(reference)?;
        }
        if let Val::Int(_) = value {
            // Not among the types of 19.6.128, but what ACPICA answers.
            return Ok(self.int(u64::try_from(self.core.width.bytes()).unwrap_or_default()));
        }
        let Val::Obj(id) = value else {
            return Err(self.wrong_type("a package, a buffer or a string", value));
        };
        let size = match self.core.heap.get(id)? {
            Obj::Package(elements) => elements.len(),
            Obj::Buffer(bytes) | Obj::String(bytes) => bytes.len(),
            Obj::Name { .. } => 0,
        };
        Ok(self.int(u64::try_from(size).unwrap_or(u64::MAX)))
    }

    /// ObjectType: of what a reference refers to.
    pub(crate) fn kind_of(&mut self, place: Place) -> Result<Kind, Error> {
        let value = match place {
            Place::None => return Ok(Kind::Uninitialized),
            Place::Debug => return Ok(Kind::Debug),
            Place::Node(node) | Place::Ref(Ref::Node(node)) => return self.kind_of_node(node),
            Place::Var(slot) => self.frame()?.vars.get(usize::from(slot)).copied().unwrap_or_default(),
            Place::Ref(Ref::Index(id, index)) => match self.core.heap.get(id)? {
                Obj::Package(elements) => {
                    elements.get(crate::code::to_usize(index)).copied().unwrap_or_default()
                }
                _ => return Ok(Kind::BufferField),
            },
            Place::Ref(reference) => *self.variable_of(reference)?,
            Place::Value(value) => value,
        };
        match value {
            Val::Ref(reference) => self.deeper(|run| run.kind_of(Place::Ref(reference))),
            Val::Node(node) => self.kind_of_node(node),
            Val::Obj(id) => match *self.core.heap.get(id)? {
                Obj::Name { scope, path } => match self.find_from(scope, path)? {
                    Some(node) => self.kind_of_node(node),
                    None => Err(self.not_found(path)),
                },
                ref object => Ok(object.kind()),
            },
            Val::Uninit => Ok(Kind::Uninitialized),
            Val::Int(_) => Ok(Kind::Integer),
            Val::Debug => Ok(Kind::Debug),
        }
    }

    fn kind_of_node(&mut self, node: NodeId) -> Result<Kind, Error> {
        match *self.core.names.thing(node)? {
            Thing::Value(Val::Ref(Ref::Node(target))) => self.deeper(|run| run.kind_of_node(target)),
            Thing::Value(value) => Ok(self.kind_of_value(value)),
            ref thing => Ok(thing.kind()),
        }
    }

    pub(crate) fn kind_of_value(&self, value: Val) -> Kind {
        match value {
            Val::Uninit => Kind::Uninitialized,
            Val::Int(_) => Kind::Integer,
            Val::Obj(id) => self.core.heap.get(id).map_or(Kind::Uninitialized, Obj::kind),
            Val::Ref(_) => Kind::Reference,
            Val::Node(node) => self.core.names.thing(node).map_or(Kind::Uninitialized, Thing::kind),
            Val::Debug => Kind::Debug,
        }
    }

    pub(crate) fn wrong_type(&self, wanted: &'static str, found: Val) -> Error {
        ErrorKind::WrongType { wanted, found: self.kind_of_value(found) }.into()
    }
}
