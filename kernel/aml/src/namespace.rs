//! The namespace: a tree of named objects.
//!
//! Nodes live in numbered slots; one ordered map from (parent, segment) to slot makes every step of a
//! lookup one search, and the children of a node one range. A slot that is used again has a new
//! generation, so that a reference to a deleted name is noticed.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::code::{Cursor, to_usize};
use crate::error::{Error, ErrorKind};
use crate::field::{BufferField, FieldUnit, Region};
use crate::name::{NameSeg, Start};
use crate::object::Val;
use crate::value::Kind;

/// The number of a node and the generation of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeId {
    index: u32,
    generation: u32,
}

/// The root of the namespace.
pub(crate) const ROOT: NodeId = NodeId { index: 0, generation: 0 };

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) enum Thing {
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
    Region(Region),
    Field(FieldUnit),
    BufferField(BufferField),
    /// Another name for a node.
    Alias(NodeId),
}

/// A control method.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    pub(crate) arguments: u8,
    pub(crate) serialized: Serialized,
    pub(crate) body: Cursor,
}

/// Whether a method runs under a lock of its own.
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
    /// The sync level before the first acquisition, to return to.
    pub(crate) before: u8,
}

#[derive(Debug)]
struct Node {
    parent: NodeId,
    segment: NameSeg,
    generation: u32,
    /// Levels below the root; bounded, since every search walks up.
    level: u8,
    thing: Option<Thing>,
}

/// What a node costs: the slot, its place in the map, and the allocator's overhead.
pub(crate) const NODE_BYTES: usize = size_of::<Node>() + 48;

/// The tree of names.
#[derive(Debug)]
pub(crate) struct Namespace {
    nodes: Vec<Node>,
    free: Vec<u32>,
    children: BTreeMap<(u32, u32), u32>,
}

impl Namespace {
    /// Only the root.
    pub(crate) fn new() -> Self {
        let root = Node {
            parent: ROOT,
            segment: NameSeg::predefined(*b"____"),
            generation: 0,
            level: 0,
            thing: Some(Thing::Scope),
        };
        Self { nodes: alloc::vec![root], free: Vec::new(), children: BTreeMap::new() }
    }

    fn node(&self, id: NodeId) -> Result<&Node, Error> {
        match self.nodes.get(to_usize(id.index)) {
            Some(node) if node.generation == id.generation && node.thing.is_some() => Ok(node),
            _ => Err(ErrorKind::Dangling.into()),
        }
    }

    /// What the name stands for; never an alias if `id` came from a lookup.
    pub(crate) fn thing(&self, id: NodeId) -> Result<&Thing, Error> {
        self.node(id)?.thing.as_ref().ok_or_else(|| ErrorKind::Dangling.into())
    }

    pub(crate) fn thing_mut(&mut self, id: NodeId) -> Result<&mut Thing, Error> {
        match self.nodes.get_mut(to_usize(id.index)) {
            Some(node) if node.generation == id.generation => {
                node.thing.as_mut().ok_or_else(|| ErrorKind::Dangling.into())
            }
            _ => Err(ErrorKind::Dangling.into()),
        }
    }

    pub(crate) fn parent(&self, id: NodeId) -> Option<NodeId> {
        if id == ROOT { None } else { self.node(id).ok().map(|node| node.parent) }
    }

    /// Makes a child; `Err` with the path if the name is taken.
    pub(crate) fn add(&mut self, parent: NodeId, segment: NameSeg, thing: Thing) -> Result<NodeId, Error> {
        let level = self.node(parent)?.level.checked_add(1).ok_or(ErrorKind::TooDeep)?;
        let key = (parent.index, segment.key());
        if self.children.contains_key(&key) {
            let mut path = self.path(parent);
            if parent != ROOT {
                path.push('.');
            }
            segment.push_to(&mut path);
            return Err(ErrorKind::AlreadyExists(path).into());
        }
        let id = match self.free.pop() {
            Some(index) => {
                let generation = match self.nodes.get_mut(to_usize(index)) {
                    Some(node) => {
                        let generation = node.generation;
                        *node = Node { parent, segment, generation, level, thing: Some(thing) };
                        generation
                    }
                    None => return Err(ErrorKind::Dangling.into()),
                };
                NodeId { index, generation }
            }
            None => {
                let index = u32::try_from(self.nodes.len()).map_err(|_| ErrorKind::TooManyBytes)?;
                self.nodes.push(Node { parent, segment, generation: 0, level, thing: Some(thing) });
                NodeId { index, generation: 0 }
            }
        };
        self.children.insert(key, id.index);
        Ok(id)
    }

    /// Deletes a node and all below it; returns how many nodes went.
    pub(crate) fn remove(&mut self, id: NodeId) -> usize {
        let mut pending = alloc::vec![id];
        let mut removed = 0usize;
        while let Some(id) = pending.pop() {
            if self.node(id).is_err() || id == ROOT {
                continue;
            }
            pending.extend(self.children(id).map(|(_, child)| child));
            if let Some(node) = self.nodes.get_mut(to_usize(id.index)) {
                self.children.remove(&(node.parent.index, node.segment.key()));
                node.thing = None;
                // A slot whose generations are used up is never used again.
                if let Some(next) = node.generation.checked_add(1) {
                    node.generation = next;
                    self.free.push(id.index);
                }
                removed = removed.saturating_add(1);
            }
        }
        removed
    }

    fn id(&self, index: u32) -> NodeId {
        let generation = self.nodes.get(to_usize(index)).map_or(0, |node| node.generation);
        NodeId { index, generation }
    }

    /// The child as it is, an alias too.
    pub(crate) fn child(&self, parent: NodeId, segment: NameSeg) -> Option<NodeId> {
        self.children.get(&(parent.index, segment.key())).map(|&index| self.id(index))
    }

    /// The children sorted by name.
    pub(crate) fn children(&self, parent: NodeId) -> impl DoubleEndedIterator<Item = (NameSeg, NodeId)> + '_ {
        let range = (parent.index, 0)..=(parent.index, u32::MAX);
        self.children
            .range(range)
            .map(|((_, key), &index)| (NameSeg::predefined(key.to_be_bytes()), self.id(index)))
    }

    /// Follows aliases; one step is enough, since an alias is made of a followed node.
    pub(crate) fn followed(&self, id: NodeId) -> NodeId {
        match self.thing(id) {
            Ok(&Thing::Alias(target)) => target,
            _ => id,
        }
    }

    /// The node where a path starts.
    pub(crate) fn start(&self, scope: NodeId, start: Start) -> Option<NodeId> {
        match start {
            Start::Root => Some(ROOT),
            Start::Up(levels) => {
                let mut node = scope;
                for _ in 0..levels {
                    node = self.parent(node)?;
                }
                Some(node)
            }
        }
    }

    /// Looks a path up (5.3): a single segment without prefix is searched for in the enclosing scopes too.
    pub(crate) fn find(
        &self,
        scope: NodeId,
        start: Start,
        mut segments: impl Iterator<Item = Result<NameSeg, Error>>,
        count: usize,
    ) -> Result<Option<NodeId>, Error> {
        let Some(mut node) = self.start(scope, start) else { return Ok(None) };
        if start == Start::Up(0)
            && count == 1
            && let Some(segment) = segments.next()
        {
            let segment = segment?;
            loop {
                if let Some(found) = self.child(node, segment) {
                    return Ok(Some(self.followed(found)));
                }
                match self.parent(node) {
                    Some(parent) => node = parent,
                    None => return Ok(None),
                }
            }
        }
        let mut found = 0;
        for segment in segments {
            match self.child(node, segment?) {
                Some(child) => node = self.followed(child),
                None => return Ok(None),
            }
            found = usize::saturating_add(found, 1);
        }
        // Fewer segments than stated: the table is gone.
        Ok(if found == count { Some(node) } else { None })
    }

    /// The absolute path.
    pub(crate) fn path(&self, id: NodeId) -> String {
        let mut segments = Vec::new();
        let mut node = id;
        while node != ROOT {
            let Ok(found) = self.node(node) else { break };
            segments.push(found.segment);
            node = found.parent;
        }
        let mut text = String::from("\\");
        for (index, segment) in segments.iter().rev().enumerate() {
            if index > 0 {
                text.push('.');
            }
            segment.push_to(&mut text);
        }
        text
    }

    /// All values held by names: the roots of what is alive.
    pub(crate) fn values(&self) -> impl Iterator<Item = Val> + '_ {
        self.nodes.iter().filter_map(|node| match &node.thing {
            Some(Thing::Value(value)) => Some(*value),
            Some(Thing::BufferField(field)) => Some(Val::Obj(field.buffer)),
            _ => None,
        })
    }

    /// Every mutex free again, as after the end of a thread of execution.
    pub(crate) fn release_all(&mut self, held: impl Iterator<Item = NodeId>) {
        for id in held {
            if let Ok(Thing::Mutex(mutex)) = self.thing_mut(id) {
                mutex.held = 0;
            }
        }
    }
}

impl Thing {
    /// What can be present or absent, and be notified.
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
