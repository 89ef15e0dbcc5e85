//! The execution state: what outlives an evaluation ([`Core`]) and one evaluation ([`Run`]), which calls methods and
//! executes their statements.
//!
//! Statements do not recurse: If, Else, While and Scope are blocks on the frame's own stack. Native recursion happens
//! only where an expression contains an expression or a method call. Invariant: each level goes through
//! [`Run::deeper`], so [`Limits::depth`](crate::Limits::depth) bounds the native stack. Neighbours: `statement`,
//! `declare` and `expression` execute the terms.
mod budget;
mod frame;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::Limits;
use crate::code::{CodePath, Cursor, Tables};
use crate::error::{Error, ErrorKind};
use crate::heap::Heap;
use crate::host::Host;
use crate::model::{Data, Handle, Method, Object, ROOT, Serialized, Val, Waiting};
use crate::namespace::Namespace;

pub(crate) use budget::BudgetShare;
pub(crate) use frame::{Block, BlockKind, Flow, Frame, MAX_ARGS, MAX_LOCALS, Resume};

/// The state that outlives an evaluation.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) tables: Tables,
    pub(crate) names: Namespace,
    pub(crate) heap: Heap,
    pub(crate) limits: Limits,
    pub(crate) width: IntegerWidth,
    /// The mutex `\_GL`. No table can delete it.
    pub(crate) global_lock: Option<Handle>,
    /// The part of the budget that the next evaluation gets.
    pub(crate) share: BudgetShare,
    /// Declarations that refer to a name which no table has declared yet.
    pub(crate) waiting: Vec<Waiting>,
    /// The devices that are present and whose `_INI` has run.
    pub(crate) initialized: BTreeSet<Handle>,
}

/// The width of integers: 32 bits if the DSDT's revision is below 2 (19.6.28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntegerWidth {
    Bits32,
    Bits64,
}

impl IntegerWidth {
    pub(crate) const fn mask(self) -> u64 {
        match self {
            Self::Bits32 => 0xffff_ffff,
            Self::Bits64 => u64::MAX,
        }
    }

    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Bits32 => 4,
            Self::Bits64 => 8,
        }
    }

    pub(crate) const fn bits(self) -> u32 {
        match self {
            Self::Bits32 => 32,
            Self::Bits64 => 64,
        }
    }
}

/// One load or evaluation.
pub(crate) struct Run<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) host: &'a mut dyn Host,
    pub(crate) frames: Vec<Frame>,
    pub(crate) held: Vec<Handle>,
    /// The current sync level (19.6.88).
    pub(crate) level: u8,
    steps: u32,
    /// Steps reserved for the terms behind one that exhausts the budget.
    reserve: u32,
    depth: u16,
    sleep_ms: u32,
    frame_ids: u32,
}

impl<'a> Run<'a> {
    pub(crate) fn new(core: &'a mut Core, host: &'a mut dyn Host) -> Self {
        let limits = core.limits;
        let (steps, sleep_ms) = (core.share.of(limits.steps), core.share.of(limits.sleep_ms));
        Run {
            core,
            host,
            frames: Vec::new(),
            held: Vec::new(),
            level: 0,
            steps,
            reserve: 0,
            depth: limits.depth,
            sleep_ms,
            frame_ids: 0,
        }
    }

    /// The running frame. There is one whenever byte code is read; without one, the code counts as truncated.
    pub(crate) fn frame(&mut self) -> Result<&mut Frame, Error> {
        self.frames.last_mut().ok_or_else(Error::truncated)
    }

    /// The running frame's cursor and the byte code it is in.
    #[inline]
    pub(crate) fn cursor(&mut self) -> Result<(&mut Cursor, &[u8]), Error> {
        match self.frames.last_mut() {
            Some(frame) => {
                let code = self.core.tables.code(frame.cursor.table);
                Ok((&mut frame.cursor, code))
            }
            None => Err(Error::truncated()),
        }
    }

    /// Calls a method; missing arguments are [`Val::Uninit`].
    #[inline(never)]
    pub(crate) fn call(&mut self, node: Handle, method: Method, args: [Val; MAX_ARGS]) -> Result<Val, Error> {
        self.deeper(|run| {
            let mut level_after = None;
            if let Serialized::Level(wanted) = method.serialized
                && !run.frames.iter().any(|frame| frame.node == node)
            {
                if run.level > wanted {
                    return Err(ErrorKind::MutexOrder(run.core.names.path(node)).into());
                }
                level_after = Some(core::mem::replace(&mut run.level, wanted));
            }
            run.push_frame(node, method.body, &args);
            let result = run.body().and_then(|value| run.with_own_names(value).map(|()| value));
            let result = run.with_location(result);
            run.pop_frame();
            // Mutexes that an unserialized method still holds are passed on to its caller.
            run.level = level_after.unwrap_or(run.level);
            result
        })
    }

    /// Replaces names in a package by the values of what they name, if a running method made that: the method returns
    /// the package, and its names end with it. Other names stay names.
    pub(crate) fn with_own_names(&mut self, value: Val) -> Result<(), Error> {
        let Val::Data(id) = value else { return Ok(()) };
        let Data::Package(elements) = self.core.heap.get(id)? else { return Ok(()) };
        let count = elements.len();
        self.step(count)?;
        for index in 0..count {
            let Data::Package(elements) = self.core.heap.get(id)? else { return Ok(()) };
            match elements.get(index).copied().unwrap_or_default() {
                inner @ Val::Data(_) => self.deeper(|run| run.with_own_names(inner))?,
                name @ Val::Name { .. } if self.is_own_name(name)? => {
                    let value = self.resolved(name)?;
                    let value = self.copied(value)?;
                    if let Data::Package(elements) = self.core.heap.get_mut(id)?
                        && let Some(element) = elements.get_mut(index)
                    {
                        *element = value;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a package's name is that of data that a running method made.
    pub(crate) fn is_own_name(&mut self, name: Val) -> Result<bool, Error> {
        let Val::Name { table, at, scope } = name else { return Ok(false) };
        let is_method = |frame: &Frame| frame.node != ROOT;
        if !self.frames.iter().any(|frame| is_method(frame) && !frame.created.is_empty()) {
            return Ok(false);
        }
        let path = CodePath::read(&self.core.tables, table, at)?;
        let Some(node) = self.find_from(scope, path) else { return Ok(false) };
        let is_data = matches!(
            self.core.names.object(node)?,
            Object::Value(_) | Object::Field(_) | Object::BufferField(_)
        );
        Ok(is_data && self.frames.iter().any(|frame| is_method(frame) && frame.created.contains(&node)))
    }

    /// Adds the running frame's location to an error that has none.
    pub(crate) fn with_location<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| match self.frames.last() {
            Some(frame) => error.at(|| self.core.names.path(frame.node), frame.cursor.at),
            None => error,
        })
    }

    /// Executes the running frame's statements to its end or its Return.
    #[inline(never)]
    pub(crate) fn body(&mut self) -> Result<Val, Error> {
        loop {
            let frame = self.frame()?;
            if frame.cursor.is_at_end() {
                if frame.blocks.is_empty() {
                    return Ok(Val::Uninit);
                }
                self.leave_block()?;
                continue;
            }
            let start = Resume { cursor: frame.cursor, scope: frame.scope, blocks: frame.blocks.len() };
            match self.statement() {
                Ok(Flow::Next) => {}
                Ok(Flow::Return(value)) => return Ok(value),
                Err(error) => self.resume_after(error, start)?,
            }
            self.collect_if_due()?;
        }
    }

    /// Collects garbage if enough was allocated. Call it between two statements of the running frame.
    #[inline]
    pub(crate) fn collect_if_due(&mut self) -> Result<(), Error> {
        if self.core.heap.wants_collection() { self.collect() } else { Ok(()) }
    }

    /// Between two statements of the running frame, data younger than the frame is reachable only through variables of
    /// frames, names, and older data. What is older than the frame may be in an expression of its caller: that one collects it
    /// at the end of its statement, for the heap goes on counting it.
    #[cold]
    fn collect(&mut self) -> Result<(), Error> {
        let frame = self.frame()?;
        let frame = (frame.since, frame.before);
        // Marking and sweeping touch a part of the bytes only: what the slots and the packages are.
        self.step_bytes(self.core.heap.bytes() / 8)?;
        let vars = self.frames.iter().flat_map(|frame| frame.vars.iter().copied());
        let Core { heap, names, .. } = &mut *self.core;
        heap.collect(Some(frame), &mut names.values().chain(vars));
        Ok(())
    }

    /// Ends an evaluation, successful or not: drops all frames and releases all mutexes.
    pub(crate) fn finish(&mut self) {
        while !self.frames.is_empty() {
            self.pop_frame();
        }
        self.release_mutexes();
    }

    /// Releases all mutexes, as at the end of a thread of execution.
    pub(crate) fn release_mutexes(&mut self) {
        if self.held.iter().any(|&id| Some(id) == self.core.global_lock) {
            self.host.release_global_lock();
        }
        let held = core::mem::take(&mut self.held);
        self.core.names.release_all(held.into_iter());
        self.level = 0;
    }
}

impl Core {
    /// Frees unreachable data after an evaluation, if enough was allocated.
    pub(crate) fn collect(&mut self) {
        if self.heap.wants_collection() {
            self.heap.collect(None, &mut self.names.values());
        }
    }

    /// Whether the node is a device-like scope that can be notified.
    pub(crate) fn is_notifiable(&self, node: Handle) -> Result<bool, Error> {
        self.names.object(node).map(Object::is_device_like)
    }
}
