//! Executing the top level of a table, which declares its objects, with recovery from broken terms.
//!
//! A term that fails is left out and the next one is executed, as in ACPICA; names made by a failed method are deleted.
//! If the end of the failed term cannot be determined, the rest of its block is left out, and execution continues behind
//! the block. A declaration that refers to an undeclared name is retried after this table and after each later one, as
//! long as any retry makes progress.
//!
//! ```text
//!  table   | Scope          | Name | ??? ......... |        ??? has no end: the rest of the table is left out
//!          |   | Device | Name | ??? ... |                 here only the rest of the Device, then Name
//! ```
use alloc::vec::Vec;
use core::fmt;

use crate::code::Cursor;
use crate::declare::AssumeData;
use crate::error::{Error, ErrorKind};
use crate::model::{Handle, ROOT, Waiting};
use crate::opcode as op;
use crate::run::{Block, BlockKind, Flow, Run};
use crate::walk::skip_term;

/// The most terms that wait for a retry; more are left out. A few dozen bytes each.
const MAX_WAITING: usize = 256;
/// The most refusals that are reported one by one.
const MAX_REPORTED: usize = 16;

/// The terms that a load has left out; none, for most tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The first refusals, at most 16.
    pub refused: Vec<Refused>,
    /// The number of further refusals.
    pub more: usize,
}

/// A part of a table that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, and where.
    pub error: Error,
    /// How much of the table is left out.
    pub extent: Extent,
}

/// How much of a table is left out for one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The term that failed, with all that is in it.
    Term,
    /// The term and all terms behind it in the same block: its end cannot be determined.
    RestOfBlock,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extent = match self.extent {
            Extent::Term => "this term is left out",
            Extent::RestOfBlock => "the rest of this block is left out",
        };
        write!(f, "{}; {extent}", self.error)
    }
}

impl Loaded {
    fn refuse(&mut self, error: Error, extent: Extent) {
        if self.refused.len() < MAX_REPORTED {
            self.refused.push(Refused { error, extent });
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

impl Run<'_> {
    /// Executes a table in a frame of its own, which is left in place: it lists the names that were made.
    pub(crate) fn table(&mut self, body: Cursor) -> Loaded {
        let mut loaded = Loaded::default();
        self.reserve_steps();
        self.push_frame(ROOT, body, &[]);
        self.terms(&mut loaded);
        loaded
    }

    /// Retries the waiting terms until none makes progress.
    pub(crate) fn try_waiting(&mut self, loaded: &mut Loaded) {
        loop {
            let waiting = core::mem::take(&mut self.core.waiting);
            let tried: Vec<Cursor> = waiting.iter().map(|waiting| waiting.term).collect();
            for Waiting { term, scope, .. } in waiting {
                self.push_frame(ROOT, term, &[]);
                if let Some(frame) = self.frames.last_mut() {
                    frame.scope = scope;
                }
                self.terms(loaded);
                self.pop_frame_and_keep_names();
            }
            // A term that made progress is gone, or is replaced by terms inside it, so the loop ends.
            if self.core.waiting.iter().map(|waiting| waiting.term).eq(tried) {
                return;
            }
        }
    }

    /// Executes the running frame's terms to the end, recovering from errors.
    fn terms(&mut self, loaded: &mut Loaded) {
        loop {
            let Some(frame) = self.frames.last() else { return };
            let (start, scope, depth) = (frame.cursor, frame.scope, frame.blocks.len());
            if start.is_at_end() {
                if depth == 0 {
                    return;
                }
                if let Err(error) = self.leave_block() {
                    let Some(frame) = self.frames.last_mut() else { return };
                    if frame.blocks.len() == depth {
                        self.recover(error, start, scope, depth, loaded);
                    } else {
                        // The block is closed, but an Else with a broken length follows it.
                        frame.cursor.at = frame.cursor.end;
                        let error = error.at(|| self.core.names.path(scope), start.end);
                        loaded.refuse(error, Extent::RestOfBlock);
                    }
                }
                continue;
            }
            match self.statement().and_then(|flow| self.collect_if_due().map(|()| flow)) {
                Ok(Flow::Next) => {}
                Ok(Flow::Return(_)) => return,
                Err(error) => self.recover(error, start, scope, depth, loaded),
            }
        }
    }

    /// Recovers from a failed term: restores the state before it and moves the cursor behind it.
    fn recover(&mut self, error: Error, start: Cursor, scope: Handle, depth: usize, loaded: &mut Loaded) {
        self.release_mutexes();
        let error = error.at(|| self.core.names.path(scope), start.at);
        self.report(&error);
        let Some(frame) = self.frames.last_mut() else { return };
        frame.cursor = start;
        frame.scope = scope;
        frame.blocks.truncate(depth);
        let is_loop = |block: &Block| matches!(block.kind, BlockKind::While(_));
        let outermost_loop = frame.blocks.iter().position(is_loop);
        if *error.kind() == ErrorKind::TooManySteps {
            loaded.refuse(error, Extent::Term);
            let more = self.release_reserve();
            let Some(frame) = self.frames.last_mut() else { return };
            if let Some(first) = outermost_loop {
                // Continuing inside the loop would exhaust the reserve, too.
                frame.leave_blocks(first);
                return;
            }
            if more.is_err() {
                frame.leave_blocks(0);
                frame.cursor.at = frame.cursor.end;
                return;
            }
            self.skip(start, scope);
            return;
        }
        let waits = matches!(error.kind(), ErrorKind::NotFound(_)) && outermost_loop.is_none();
        let waits = waits && self.core.waiting.len() < MAX_WAITING;
        let extent = self.skip(start, scope);
        let Some(frame) = self.frames.last() else { return };
        let opcode = start.peek_opcode(self.core.tables.code(start.table)).unwrap_or_default();
        if waits && extent == Extent::Term && (op::is_declaration(opcode) || opcode == op::IF) {
            let term = Cursor { end: frame.cursor.at, ..start };
            self.core.waiting.push(Waiting { term, scope, error });
        } else {
            loaded.refuse(error, extent);
        }
    }

    /// Moves the cursor behind the term at `start`, or to the end of the block.
    pub(crate) fn skip(&mut self, start: Cursor, scope: Handle) -> Extent {
        let tables = &self.core.tables;
        let behind = skip_term(tables, start, &mut AssumeData { core: &*self.core, scope });
        // The Else of an If is skipped with it.
        let behind = behind.and_then(|mut behind| {
            let code = tables.code(start.table);
            let is_if = start.peek_opcode(code) == Some(op::IF);
            if is_if && !behind.is_at_end() && behind.peek_opcode(code) == Some(op::ELSE) {
                behind.opcode(code)?;
                behind.package(code)?;
            }
            Ok(behind)
        });
        let Some(frame) = self.frames.last_mut() else { return Extent::RestOfBlock };
        match behind {
            Ok(behind) => {
                frame.cursor = behind;
                Extent::Term
            }
            Err(_) => {
                frame.cursor.at = frame.cursor.end;
                Extent::RestOfBlock
            }
        }
    }
}
