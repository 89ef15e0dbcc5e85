//! Frames of running methods and the blocks of statements in them.
//!
//! ```text
//!  Run::frames: [table] [method] [method]     the last one runs
//!  Frame::blocks: [While] [If]                the cursor is in the innermost one
//! ```
//!
//! Invariants: a block is inside its enclosing one, and leaving it moves the cursor to its end, or, for a While, to its
//! opcode. The number of open blocks is bounded. Names that a method's frame created end with it. Neighbours:
//! `statement` opens blocks, `exception` leaves them after an error, `load` keeps a table's names.

use alloc::vec::Vec;

use super::Run;
use crate::code::Cursor;
use crate::error::{Error, ErrorKind};
use crate::heap::Before;
use crate::model::{Handle, Val};
use crate::namespace::NODE_BYTES;

const ELSE: u8 = 0xa1;
/// Open blocks of one frame: an ElseIf opens two, so this is a chain of 256 cases; 8 KiB.
const MAX_BLOCKS: usize = 512;

/// Arguments of a method.
pub(crate) const MAX_ARGS: usize = 7;
/// Locals of a method; in a frame's variables the arguments follow them.
pub(crate) const MAX_LOCALS: usize = 8;

/// A running method, or a table being loaded.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The method, or the root for a table.
    pub(crate) node: Handle,
    pub(crate) scope: Handle,
    pub(crate) cursor: Cursor,
    pub(crate) blocks: Vec<Block>,
    pub(crate) vars: [Val; MAX_LOCALS + MAX_ARGS],
    /// Names created by this frame; a method's are deleted when it ends.
    pub(crate) created: Vec<Handle>,
    pub(crate) id: u32,
    /// The heap's clock when the frame began.
    pub(crate) since: u32,
    /// What the heap counted then.
    pub(super) before: Before,
}

impl Frame {
    /// Opens a block over `inside`; the enclosing one ends at `outer_end`.
    pub(crate) fn enter(&mut self, inside: Cursor, kind: BlockKind, outer_end: u32) -> Result<(), Error> {
        self.cursor = inside;
        self.blocks.push(Block { outer_end, kind });
        // Not counted in `Limits::bytes`, so bounded here.
        if self.blocks.len() > MAX_BLOCKS { Err(ErrorKind::TooDeep.into()) } else { Ok(()) }
    }

    /// Leaves all blocks but the outermost `kept`; the cursor moves behind the last one left.
    pub(crate) fn leave_blocks(&mut self, kept: usize) {
        while self.blocks.len() > kept
            && let Some(block) = self.blocks.pop()
        {
            self.cursor.at = self.cursor.end;
            self.cursor.end = block.outer_end;
            if let BlockKind::Scope(scope) = block.kind {
                self.scope = scope;
            }
        }
    }
}

/// An open block: the end of the enclosing one, and what happens at this block's end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) outer_end: u32,
    pub(crate) kind: BlockKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// An Else that follows is skipped.
    If,
    Else,
    /// Jumps back to its opcode at this offset.
    While(u32),
    /// Restores this scope.
    Scope(Handle),
}

/// Where a statement of the running frame began.
pub(crate) struct Resume {
    pub(crate) cursor: Cursor,
    pub(crate) scope: Handle,
    pub(crate) blocks: usize,
}

/// How a statement ends.
pub(crate) enum Flow {
    Next,
    Return(Val),
}

impl Run<'_> {
    /// Begins a frame with these arguments; all other variables are [`Val::Uninit`].
    pub(crate) fn push_frame(&mut self, node: Handle, body: Cursor, args: &[Val]) {
        let mut vars = [Val::Uninit; MAX_LOCALS + MAX_ARGS];
        for (to, &from) in vars.iter_mut().skip(MAX_LOCALS).zip(args) {
            *to = from;
        }
        self.frame_ids = self.frame_ids.saturating_add(1);
        self.frames.push(Frame {
            node,
            scope: node,
            cursor: body,
            blocks: Vec::new(),
            vars,
            created: Vec::new(),
            id: self.frame_ids,
            since: self.core.heap.clock(),
            before: self.core.heap.begin_frame(),
        });
    }

    /// Ends a frame and deletes the names it created.
    pub(crate) fn pop_frame(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        self.core.heap.end_frame(frame.before);
        for &name in frame.created.iter().rev() {
            let removed = self.core.names.remove(name);
            self.core.heap.refund(removed.saturating_mul(NODE_BYTES));
        }
    }

    /// Ends the frame of a table's term; the names it created become the table's.
    pub(crate) fn pop_frame_and_keep_names(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        self.core.heap.end_frame(frame.before);
        if let Some(table) = self.frames.last_mut() {
            table.created.extend(frame.created);
        }
    }

    /// Opens a block over `inside`; the cursor is behind it when this is called.
    pub(crate) fn enter_block(&mut self, inside: Cursor, kind: BlockKind) -> Result<(), Error> {
        let frame = self.frame()?;
        let outer_end = frame.cursor.end;
        frame.enter(inside, kind, outer_end)
    }

    /// Leaves the innermost block; the cursor moves to its end, or to the start of a While.
    pub(crate) fn leave_block(&mut self) -> Result<(), Error> {
        self.step(1)?;
        let frame = self.frames.last_mut().ok_or_else(Error::truncated)?;
        let Some(block) = frame.blocks.pop() else { return Ok(()) };
        let cursor = &mut frame.cursor;
        cursor.at = cursor.end;
        cursor.end = block.outer_end;
        match block.kind {
            BlockKind::If => {
                let code = self.core.tables.code(cursor.table);
                if !cursor.is_at_end() && cursor.peek(code)? == ELSE {
                    cursor.byte(code)?;
                    cursor.package(code)?;
                }
            }
            BlockKind::Else => {}
            BlockKind::While(start) => cursor.at = start,
            BlockKind::Scope(scope) => frame.scope = scope,
        }
        Ok(())
    }
}
