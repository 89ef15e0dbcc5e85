//! The public interface of the interpreter: loading tables, evaluating objects, inspecting the namespace.
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use crate::code::{Cursor, Tables};
use crate::error::{Error, ErrorKind};
use crate::heap::Heap;
use crate::host::Host;
use crate::load::Loaded;
use crate::model::{Data, Handle, Mutex, Object, ROOT, Val};
use crate::name::{NameSeg, Start, TextPath};
use crate::namespace::Namespace;
use crate::run::{BudgetShare, Core, IntegerWidth, MAX_ARGS, Run};
use crate::value::{Kind, Value};
use crate::{Limits, Reach};

/// The header of a table (5.2.6): its length and the offsets of the fields used here.
const HEADER_BYTES: usize = 36;
const LENGTH_OFFSET: usize = 4;
const REVISION_OFFSET: usize = 8;
/// The largest table that is loaded.
const MAX_TABLE_BYTES: usize = 16 << 20;

/// Steps that a load has per byte of its table, beside [`Limits::steps`]: a large table has more declarations. Real ones
/// take at most one.
const STEPS_PER_BYTE: usize = 4;

/// The divisor of [`Limits::bytes`] that must be left for evaluations.
const MEMORY_LEFT: usize = 16;

/// The interpreter: the namespace of all loaded tables.
#[derive(Debug)]
pub struct Aml {
    pub(crate) core: Core,
}

impl Aml {
    /// An interpreter with the predefined names (5.3.1) and no table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let mut names = Namespace::new();
        let mut heap = Heap::new(limits.bytes);
        let text = heap.add(Data::String(Box::from(*b"Microsoft Windows NT"))).unwrap_or_default();
        let predefined = [
            (*b"_GPE", Object::Scope),
            (*b"_PR_", Object::Scope),
            (*b"_SB_", Object::Device),
            (*b"_SI_", Object::Scope),
            (*b"_TZ_", Object::Device),
            (*b"_REV", Object::Value(Val::Int(2))),
            (*b"_OS_", Object::Value(text)),
            (*b"_GL_", Object::Mutex(Mutex { level: 0, held: 0, before: 0 })),
            (*b"_OSI", Object::Osi),
        ];
        for (name, object) in predefined {
            // The namespace is empty: no name is taken.
            let _added = names.add(ROOT, NameSeg::literal(name), object);
        }
        let global_lock = names.child(ROOT, NameSeg::literal(*b"_GL_"));
        let core = Core {
            tables: Tables::default(),
            names,
            heap,
            limits,
            width: IntegerWidth::Bits64,
            global_lock,
            share: BudgetShare::new(),
            waiting: Vec::new(),
            initialized: BTreeSet::new(),
        };
        Self { core }
    }

    /// Loads a definition block (DSDT first, then SSDTs): the whole table with its header, whose checksum
    /// the caller has verified. The first table's revision fixes the width of integers for all tables.
    ///
    /// Broken terms are left out and reported. A declaration that refers to a name declared later, in this table or in
    /// another, is retried then (see [`Aml::waiting`]).
    ///
    /// # Errors
    /// The table is not a definition block, or it takes so much memory that too little is left. Such a table leaves no
    /// names behind.
    pub fn load(&mut self, host: &mut dyn Host, table: &[u8]) -> Result<Loaded, Error> {
        let length = table.get(LENGTH_OFFSET..REVISION_OFFSET).and_then(|bytes| bytes.try_into().ok());
        let length = length.map_or(0, u32::from_le_bytes);
        let revision = table.get(REVISION_OFFSET).copied();
        let (Some(revision), true) = (revision, table.len() >= HEADER_BYTES) else {
            return Err(ErrorKind::BadTable("shorter than its header").into());
        };
        if usize::try_from(length) != Ok(table.len()) {
            return Err(ErrorKind::BadTable("the length in its header is not its length").into());
        }
        if table.len() > MAX_TABLE_BYTES || self.core.tables.len() >= usize::from(u16::MAX) {
            return Err(ErrorKind::BadTable("too large, or too many tables").into());
        }
        if self.core.tables.is_empty() {
            self.core.width = if revision < 2 { IntegerWidth::Bits32 } else { IntegerWidth::Bits64 };
        }
        self.core.heap.charge(table.len())?;
        let index = self.core.tables.push(table.to_vec());
        let body = Cursor { table: index, at: 36, end: length };
        let mut run = Run::new(&mut self.core, host);
        run.add_steps(table.len().saturating_mul(STEPS_PER_BYTE));
        let mut loaded = run.table(body);
        run.core.heap.collect(None, &mut run.core.names.values());
        let enough = run.core.heap.check(run.core.limits.bytes / MEMORY_LEFT);
        if enough.is_ok() {
            run.try_waiting(&mut loaded);
            if let Ok(frame) = run.frame() {
                frame.created.clear();
            }
        }
        run.finish();
        if enough.is_err() {
            self.core.waiting.retain(|waiting| waiting.term.table != index);
            self.core.tables.clear(index);
            self.core.heap.refund(table.len());
            self.core.heap.collect(None, &mut self.core.names.values());
        }
        self.core.collect();
        enough.map(|()| loaded)
    }

    /// The errors of the declarations that still wait: each refers to a name that no table has declared so far.
    pub fn waiting(&self) -> impl Iterator<Item = &Error> {
        self.core.waiting.iter().map(|waiting| &waiting.error)
    }

    /// From now on `bytes` more than are held now may be allocated. Call it after the last table: what the tables take
    /// depends on them, what an evaluation takes must fit into the memory that is kept for it.
    pub fn limit_further(&mut self, bytes: usize) {
        self.core.heap.limit_further(bytes);
    }

    /// Frees the data that no name reaches any more. An evaluation does that only once a lot has been allocated; call
    /// this when there is time.
    pub fn tidy(&mut self) {
        self.core.heap.collect(None, &mut self.core.names.values());
    }

    /// Evaluates an object: calls a method, reads a field, or takes a name's value. The result is a copy.
    ///
    /// # Errors
    /// There is no such object, or the evaluation fails; the error names the AML path where it happened.
    pub fn evaluate(
        &mut self,
        host: &mut dyn Host,
        object: impl ToHandle,
        args: &[Value],
    ) -> Result<Value, Error> {
        let node = object.to_handle(self)?;
        let mut run = Run::new(&mut self.core, host);
        let result = run.top_level(node, args);
        run.finish();
        self.core.collect();
        self.core.share.update(result.as_ref().map(drop).map_err(Error::kind));
        result.map_err(|error| error.at(|| self.core.names.path(node), 0))
    }

    /// The object with the absolute path `path`; `None` if there is none.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Handle> {
        path.to_handle(self).ok()
    }

    /// Whether the object exists.
    #[must_use]
    pub fn exists(&self, object: impl ToHandle) -> bool {
        object.to_handle(self).is_ok_and(|node| self.core.names.object(node).is_ok())
    }

    /// The absolute path of an object.
    #[must_use]
    pub fn path(&self, object: Handle) -> String {
        self.core.names.path(object)
    }

    /// The object named `name` directly below `parent`.
    #[must_use]
    pub fn child(&self, parent: Handle, name: NameSeg) -> Option<Handle> {
        self.core.names.child(parent, name).map(|child| self.core.names.followed(child))
    }

    /// The objects that enclose `object`, from its parent up; the root is left out.
    pub fn ancestors(&self, object: Handle) -> impl Iterator<Item = Handle> {
        let parent = |node: Handle| self.core.names.parent(node).filter(|&parent| parent != ROOT);
        core::iter::successors(parent(object), move |&node| parent(node))
    }

    /// The type of an object.
    #[must_use]
    pub fn kind(&self, object: impl ToHandle) -> Option<Kind> {
        let node = object.to_handle(self).ok()?;
        match *self.core.names.object(node).ok()? {
            Object::Value(Val::Data(id)) => self.core.heap.get(id).ok().map(Data::kind),
            Object::Value(Val::Int(_)) => Some(Kind::Integer),
            Object::Value(Val::Ref(_) | Val::Node(_)) => Some(Kind::Reference),
            ref object => Some(object.kind()),
        }
    }

    /// How many arguments a method takes; `None` for anything but a method.
    #[must_use]
    pub fn arguments(&self, method: impl ToHandle) -> Option<u8> {
        let node = method.to_handle(self).ok()?;
        match self.core.names.object(node).ok()? {
            Object::Method(method) => Some(method.arguments),
            Object::Osi => Some(1),
            _ => None,
        }
    }

    /// The direct children of an object, sorted by name; none if the object does not exist.
    #[must_use]
    pub fn children(&self, object: impl ToHandle) -> Vec<Handle> {
        let Ok(node) = object.to_handle(self) else { return Vec::new() };
        self.core.names.children(node).map(|(_, child)| child).collect()
    }

    /// All devices (`\_SB` and `\_TZ` are none), parents first, siblings by name.
    #[must_use]
    pub fn devices(&self) -> Vec<Handle> {
        self.core.device_nodes()
    }

    /// All processors that are declared as such (`Processor`, not as a device), parents first.
    #[must_use]
    pub fn processors(&self) -> Vec<Handle> {
        self.core.nodes(&|object| matches!(object, Object::Processor))
    }

    /// The `_HID` of a device as text: an EISA id is decoded ("PNP0C80"), a string is returned unchanged.
    ///
    /// # Errors
    /// Evaluating `_HID` failed; a device without one is `Ok(None)`.
    pub fn hid(&mut self, host: &mut dyn Host, device: impl ToHandle) -> Result<Option<String>, Error> {
        let device = device.to_handle(self)?;
        let Some(hid) = self.child(device, NameSeg::literal(*b"_HID")) else { return Ok(None) };
        match self.evaluate(host, hid, &[])? {
            Value::String(id) => Ok(Some(id)),
            Value::Integer(id) => Ok(Some(eisa_id(id))),
            other => Err(ErrorKind::WrongType { wanted: "a hardware id", found: other.kind() }.into()),
        }
    }

    /// Whether the method can execute a Notify on a device for which `is_target` returns true. The analysis follows
    /// every call in the code, whether or not its condition can hold.
    #[must_use]
    pub fn reaches_notify(&self, method: impl ToHandle, is_target: &dyn Fn(Handle) -> bool) -> Reach {
        let Ok(method) = method.to_handle(self) else { return Reach::No };
        crate::notify_reachability::reaches_notify(&self.core, method, is_target)
    }

    /// Bytes of objects, names and tables held now, as they count against [`Limits::bytes`].
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        self.core.heap.bytes()
    }
}

/// How a caller refers to an object: by an absolute path, or by a handle from an earlier lookup.
pub trait ToHandle {
    /// The object's handle.
    ///
    /// # Errors
    /// The path is malformed, or no object has it. A handle is returned unchecked.
    fn to_handle(&self, aml: &Aml) -> Result<Handle, Error>;
}

impl ToHandle for Handle {
    fn to_handle(&self, _: &Aml) -> Result<Handle, Error> {
        Ok(*self)
    }
}

impl ToHandle for str {
    fn to_handle(&self, aml: &Aml) -> Result<Handle, Error> {
        aml.core.node(self)?.ok_or_else(|| ErrorKind::NotFound(self.into()).into())
    }
}

impl ToHandle for String {
    fn to_handle(&self, aml: &Aml) -> Result<Handle, Error> {
        self.as_str().to_handle(aml)
    }
}

impl<T: ToHandle + ?Sized> ToHandle for &T {
    fn to_handle(&self, aml: &Aml) -> Result<Handle, Error> {
        (*self).to_handle(aml)
    }
}

/// An EISA id (19.3.4): three letters and four hexadecimal digits in a big-endian number.
fn eisa_id(id: u64) -> String {
    let [a, b, c, d, ..] = id.to_le_bytes();
    let id = u32::from_be_bytes([a, b, c, d]);
    let letter = |shift: u32| char::from(u8::try_from(id >> shift & 0x1f).unwrap_or_default() | 0x40);
    alloc::format!("{}{}{}{:04X}", letter(26), letter(21), letter(16), id & 0xffff)
}

impl Core {
    /// The node with an absolute path.
    pub(crate) fn node(&self, path: &str) -> Result<Option<Handle>, Error> {
        let path = TextPath::parse(path)?;
        if path.start != Start::Root {
            return Err(ErrorKind::BadName.into());
        }
        let count = path.segments.len();
        Ok(self.names.find(ROOT, Start::Root, path.segments.into_iter(), count))
    }

    /// All nodes for which `wanted` returns true, parents first, siblings by name.
    pub(crate) fn nodes(&self, wanted: &dyn Fn(&Object) -> bool) -> Vec<Handle> {
        self.nodes_below(ROOT, wanted)
    }

    /// The same, of `scope` and what is below it.
    pub(crate) fn nodes_below(&self, scope: Handle, wanted: &dyn Fn(&Object) -> bool) -> Vec<Handle> {
        let mut found = Vec::new();
        let mut pending = alloc::vec![scope];
        while let Some(node) = pending.pop() {
            if self.names.object(node).is_ok_and(wanted) {
                found.push(node);
            }
            if self.names.is_parent(node) {
                pending.extend(self.names.children(node).rev().map(|(_, child)| child));
            }
        }
        found
    }

    /// All devices, without the predefined ones at the root (`\_SB`, `\_TZ`).
    fn device_nodes(&self) -> Vec<Handle> {
        let mut devices = self.nodes(&|object| matches!(object, Object::Device));
        devices.retain(|&device| self.names.parent(device) != Some(ROOT));
        devices
    }
}

impl Run<'_> {
    fn top_level(&mut self, node: Handle, args: &[Value]) -> Result<Value, Error> {
        let mut vals = [Val::Uninit; MAX_ARGS];
        let wanted = match self.core.names.object(node)? {
            Object::Method(method) => method.arguments,
            Object::Osi => 1,
            _ => 0,
        };
        if args.len() != usize::from(wanted) {
            return Err(ErrorKind::ArgumentCount { wanted, given: args.len() }.into());
        }
        for (to, from) in vals.iter_mut().zip(args) {
            *to = self.import(from)?;
        }
        let value = match *self.core.names.object(node)? {
            Object::Method(method) => self.call(node, method, vals)?,
            Object::Osi => self.osi(vals[0])?,
            _ => self.value_of(node)?,
        };
        self.export_result(value)
    }
}
