//! The namespace (5.3): the tree of named objects.
//!
//! Nodes are stored in numbered slots. One ordered map from (parent, segment) to slot makes each step of a lookup one
//! search, and the children of a node one range. Invariant: a reused slot has a new generation, so a handle of a deleted
//! name is detected ([`ErrorKind::Dangling`]). Neighbours: `model` has the types, `declare` adds names.
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::string::String;
use alloc::vec::Vec;

use crate::arena::Arena;
use crate::error::{Error, ErrorKind};
use crate::model::{Handle, Object, ROOT, Val};
use crate::name::{NameSeg, Start};
use crate::name_cache::NameCache;

#[derive(Debug)]
struct Node {
    /// The parent's slot: a parent outlives its children. In an empty slot, the next empty one.
    parent: u32,
    segment: NameSeg,
    generation: u32,
    /// Levels below the root; bounded, because a search walks up.
    level: u8,
    /// Whether it has had a child since the slot was taken.
    is_parent: bool,
    object: Option<Object>,
}

/// The cost of a node: the slot and its entry in the map, whose nodes are at least half full.
pub(crate) const NODE_BYTES: usize = size_of::<Node>() + 32;
const _: () = assert!(size_of::<Node>() <= 56);

/// The end of the list of empty slots.
const NO_SLOT: u32 = u32::MAX;

/// The children's order: parents by slot, names below one by segment. One number is compared in one step.
fn key(parent: u32, segment: u32) -> u64 {
    u64::from(parent) << 32 | u64::from(segment)
}

/// The tree of names.
#[derive(Debug)]
pub(crate) struct Namespace {
    nodes: Arena<Node>,
    /// The first empty slot, or [`NO_SLOT`].
    free: u32,
    /// Slots by [`key`].
    children: BTreeMap<u64, u32>,
    /// Names of running code that were looked up.
    pub(crate) cache: NameCache,
}

impl Namespace {
    /// Only the root.
    pub(crate) fn new() -> Self {
        let root = Node {
            parent: ROOT.index,
            segment: NameSeg::literal(*b"____"),
            generation: 0,
            level: 0,
            is_parent: false,
            object: Some(Object::Scope),
        };
        let mut nodes = Arena::new();
        // The first slot has number 0, as in `ROOT`.
        let _root = nodes.push(root);
        Self { nodes, free: NO_SLOT, children: BTreeMap::new(), cache: NameCache::new() }
    }

    fn live(&self, id: Handle) -> Option<&Node> {
        self.nodes.get(id.index).filter(|node| node.generation == id.generation && node.object.is_some())
    }

    fn node(&self, id: Handle) -> Result<&Node, Error> {
        self.live(id).ok_or_else(|| ErrorKind::Dangling.into())
    }

    /// The object of a node; never an alias if `id` is the result of a lookup.
    pub(crate) fn object(&self, id: Handle) -> Result<&Object, Error> {
        self.node(id)?.object.as_ref().ok_or_else(|| ErrorKind::Dangling.into())
    }

    pub(crate) fn object_mut(&mut self, id: Handle) -> Result<&mut Object, Error> {
        match self.nodes.get_mut(id.index) {
            Some(node) if node.generation == id.generation => {
                node.object.as_mut().ok_or_else(|| ErrorKind::Dangling.into())
            }
            _ => Err(ErrorKind::Dangling.into()),
        }
    }

    #[inline(never)] // a search up the tree is code enough for a call
    pub(crate) fn parent(&self, id: Handle) -> Option<Handle> {
        if id == ROOT { None } else { self.node(id).ok().map(|node| self.id(node.parent)) }
    }

    /// Adds a child.
    ///
    /// # Errors
    /// The name is taken (the error has its path), or the tree is too deep.
    pub(crate) fn add(&mut self, parent: Handle, segment: NameSeg, object: Object) -> Result<Handle, Error> {
        let level = self.node(parent)?.level.checked_add(1).ok_or(ErrorKind::TooDeep)?;
        let Entry::Vacant(entry) = self.children.entry(key(parent.index, segment.key())) else {
            let mut path = self.path(parent);
            if parent != ROOT {
                path.push('.');
            }
            segment.push_to(&mut path);
            return Err(ErrorKind::AlreadyExists(path).into());
        };
        self.cache.changed(segment, &object);
        let object = Some(object);
        let mut node = Node { parent: parent.index, segment, generation: 0, level, is_parent: false, object };
        let index = self.free;
        let id = match self.nodes.get_mut(index) {
            Some(place) => {
                self.free = place.parent;
                node.generation = place.generation;
                let generation = node.generation;
                *place = node;
                Handle { index, generation }
            }
            None => {
                let index = self.nodes.push(node).filter(|&index| index != NO_SLOT);
                Handle { index: index.ok_or(ErrorKind::TooManyBytes)?, generation: 0 }
            }
        };
        entry.insert(id.index);
        if let Some(parent) = self.nodes.get_mut(parent.index) {
            parent.is_parent = true;
        }
        Ok(id)
    }

    /// Deletes a node and its descendants; returns the number of deleted nodes.
    pub(crate) fn remove(&mut self, id: Handle) -> usize {
        let mut pending = Vec::new();
        let mut next = Some(id);
        let mut removed = 0usize;
        while let Some(id) = next {
            if self.is_parent(id) && self.node(id).is_ok() {
                pending.extend(self.children(id).map(|(_, child)| child));
            }
            if id != ROOT
                && let Some(node) = self.nodes.get_mut(id.index)
                && node.generation == id.generation
                && node.object.is_some()
            {
                self.children.remove(&key(node.parent, node.segment.key()));
                if let Some(object) = node.object.take() {
                    self.cache.changed(node.segment, &object);
                }
                // A slot whose generations are exhausted is never reused.
                if let Some(next) = node.generation.checked_add(1) {
                    node.generation = next;
                    node.parent = self.free;
                    self.free = id.index;
                }
                removed = removed.saturating_add(1);
            }
            next = pending.pop();
        }
        removed
    }

    fn id(&self, index: u32) -> Handle {
        let generation = self.nodes.get(index).map_or(0, |node| node.generation);
        Handle { index, generation }
    }

    /// The child; an alias is not followed.
    #[inline(never)]
    pub(crate) fn child(&self, parent: Handle, segment: NameSeg) -> Option<Handle> {
        // Methods, where most searches begin, rarely have any.
        if !self.is_parent(parent) {
            return None;
        }
        self.children.get(&key(parent.index, segment.key())).map(|&index| self.id(index))
    }

    /// Whether it may have children. Most nodes have none, and the answer takes no search.
    pub(crate) fn is_parent(&self, id: Handle) -> bool {
        self.nodes.get(id.index).is_some_and(|node| node.is_parent)
    }

    /// The children sorted by name.
    pub(crate) fn children(&self, parent: Handle) -> impl DoubleEndedIterator<Item = (NameSeg, Handle)> + '_ {
        let range = key(parent.index, 0)..=key(parent.index, u32::MAX);
        self.children.range(range).map(|(key, &index)| {
            let [_, _, _, _, segment @ ..] = key.to_be_bytes();
            (NameSeg::literal(segment), self.id(index))
        })
    }

    /// Follows an alias; one step suffices, because an alias is created for a followed node.
    pub(crate) fn followed(&self, id: Handle) -> Handle {
        match self.object(id) {
            Ok(&Object::Alias(target)) => target,
            _ => id,
        }
    }

    /// The node at which a path starts.
    pub(crate) fn start(&self, scope: Handle, start: Start) -> Option<Handle> {
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

    /// Looks up a path (5.3): a single segment without a prefix is searched for in the enclosing scopes, too.
    pub(crate) fn find(
        &self,
        scope: Handle,
        start: Start,
        mut segments: impl Iterator<Item = NameSeg>,
        count: usize,
    ) -> Option<Handle> {
        let mut node = self.start(scope, start)?;
        if start == Start::Up(0)
            && count == 1
            && let Some(segment) = segments.next()
        {
            loop {
                if let Some(found) = self.child(node, segment) {
                    return Some(self.followed(found));
                }
                node = self.parent(node)?;
            }
        }
        let mut found = 0;
        for segment in segments {
            node = self.followed(self.child(node, segment)?);
            found = usize::saturating_add(found, 1);
        }
        // Fewer segments than stated: the table has been dropped.
        (found == count).then_some(node)
    }

    /// The absolute path.
    pub(crate) fn path(&self, id: Handle) -> String {
        let mut segments = Vec::new();
        let mut node = id;
        while node != ROOT {
            let Ok(found) = self.node(node) else { break };
            segments.push(found.segment);
            node = self.id(found.parent);
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

    /// All values of names: the roots of the collection.
    pub(crate) fn values(&self) -> impl Iterator<Item = Val> + '_ {
        self.nodes.iter().filter_map(|node| match &node.object {
            Some(Object::Value(value)) => Some(*value),
            Some(Object::BufferField(field)) => Some(Val::Data(field.buffer)),
            _ => None,
        })
    }

    /// The sync level before a mutex was acquired.
    pub(crate) fn level_before(&self, id: Handle) -> u8 {
        match self.object(id) {
            Ok(Object::Mutex(mutex)) => mutex.before,
            _ => 0,
        }
    }

    /// Releases the given mutexes, as at the end of a thread of execution.
    pub(crate) fn release_all(&mut self, held: impl Iterator<Item = Handle>) {
        for id in held {
            if let Ok(Object::Mutex(mutex)) = self.object_mut(id) {
                mutex.held = 0;
            }
        }
    }
}

/// A device that AML notifies.
#[derive(Clone, Copy, Debug)]
pub struct Notified<'a> {
    pub(crate) names: &'a Namespace,
    pub(crate) handle: Handle,
}

impl Notified<'_> {
    /// The device's handle.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> String {
        self.names.path(self.handle)
    }
}
