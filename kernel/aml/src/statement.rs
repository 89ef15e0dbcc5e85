//! Statements (20.2.5.3): control flow, Sleep and Stall, Notify, Fatal.
use crate::error::{Error, ErrorKind};
use crate::model::{Object, Ref, Val};
use crate::namespace::Notified;
use crate::opcode as op;
use crate::run::{BlockKind, Flow, Run};
use crate::store_target::{Calls, StoreTarget};

/// Stalls count against the sleep budget, rounded up to milliseconds.
const MICROSECONDS_PER_MILLISECOND: u64 = 1000;

impl Run<'_> {
    /// Executes one statement of the running frame.
    ///
    /// The most frequent ones have functions of their own, so that this has no stack frame.
    #[inline(never)]
    pub(crate) fn statement(&mut self) -> Result<Flow, Error> {
        let Some(frame) = self.frames.last_mut() else { return self.other_statement() };
        let start = frame.cursor.at;
        let Some(first) = frame.cursor.ahead(self.core.tables.code(frame.cursor.table)) else {
            return self.other_statement();
        };
        match u16::from(first) {
            opcode @ (op::IF | op::WHILE) => {
                frame.cursor.at = start.saturating_add(1);
                self.branch(opcode, start)
            }
            // Expressions of one byte: all opcodes between these.
            opcode @ op::STORE..=op::MOD => {
                frame.cursor.at = start.saturating_add(1);
                self.unused_expression(opcode)
            }
            _ => self.other_statement(),
        }
    }

    /// An expression whose value is not used; its opcode has been read.
    #[inline(never)]
    fn unused_expression(&mut self, opcode: u16) -> Result<Flow, Error> {
        self.step(1)?;
        self.operation(opcode).map(|_| Flow::Next)
    }

    #[inline(never)]
    fn other_statement(&mut self) -> Result<Flow, Error> {
        self.step(1)?;
        let (cursor, code) = self.cursor()?;
        let mut after = *cursor;
        let opcode = after.opcode(code)?;
        match opcode {
            op::ELSE => {
                // An Else behind its If is consumed there.
                after.package(code)?;
                *cursor = after;
                return Err(ErrorKind::Malformed("Else without If").into());
            }
            op::BREAK | op::CONTINUE => self.leave_loop(opcode)?,
            op::RETURN => {
                *cursor = after;
                return self.term_or_nothing().map(Flow::Return);
            }
            op::NOOP | op::BREAK_POINT => *cursor = after,
            op::NOTIFY => {
                *cursor = after;
                self.notify()?;
            }
            op::SLEEP | op::STALL => {
                *cursor = after;
                self.pause(opcode)?;
            }
            op::SIGNAL | op::RESET | op::RELEASE => {
                *cursor = after;
                self.synchronize(opcode)?;
            }
            op::FATAL => {
                *cursor = after;
                return self.fatal();
            }
            op::LOAD => return Err(ErrorKind::Unsupported("Load").into()),
            op::UNLOAD => return Err(ErrorKind::Unsupported("Unload").into()),
            _ if op::is_declaration(opcode) => {
                *cursor = after;
                self.declaration(opcode)?;
            }
            _ => {
                self.term_or_nothing()?;
            }
        }
        Ok(Flow::Next)
    }

    /// If and While: `start` is where the opcode, which has been read, stands.
    #[inline(never)]
    fn branch(&mut self, opcode: u16, start: u32) -> Result<Flow, Error> {
        self.step(1)?;
        let (cursor, code) = self.cursor()?;
        let mut inside = match cursor.short_package(code) {
            Some(inside) => inside,
            None => cursor.package(code)?,
        };
        let behind = *cursor;
        // The condition must lie within the block.
        *cursor = inside;
        let condition = match u16::from(cursor.peek(code)?) {
            // Most conditions are comparisons.
            comparison @ op::L_EQUAL..=op::L_LESS => {
                cursor.at = cursor.at.saturating_add(1);
                self.step(1)?;
                self.deeper(|run| run.comparison(comparison))?
            }
            _ => self.integer()?,
        };
        let frame = self.frames.last_mut().ok_or_else(Error::truncated)?;
        inside.at = frame.cursor.at;
        frame.cursor = behind;
        if condition != 0 {
            let kind = if opcode == op::IF { BlockKind::If } else { BlockKind::While(start) };
            frame.enter(inside, kind, behind.end)?;
            return Ok(Flow::Next);
        }
        if opcode == op::IF {
            let code = self.core.tables.code(behind.table);
            if behind.ahead(code).map(u16::from) == Some(op::ELSE) {
                frame.cursor.at = behind.at.saturating_add(1);
                let inside = frame.cursor.package(code)?;
                frame.enter(inside, BlockKind::Else, behind.end)?;
            }
        }
        Ok(Flow::Next)
    }

    /// Break and Continue: leaves the blocks up to the innermost While.
    fn leave_loop(&mut self, opcode: u16) -> Result<(), Error> {
        loop {
            let frame = self.frame()?;
            let Some(block) = frame.blocks.last_mut() else {
                return Err(ErrorKind::Malformed("Break or Continue outside of While").into());
            };
            if let BlockKind::While(_) = block.kind {
                if opcode == op::BREAK {
                    // The end of an Else has no effect.
                    block.kind = BlockKind::Else;
                }
                self.leave_block()?;
                return Ok(());
            }
            self.drop_block()?;
        }
    }

    /// Leaves a block without skipping an Else behind it.
    fn drop_block(&mut self) -> Result<(), Error> {
        if let Some(block) = self.frame()?.blocks.last_mut()
            && block.kind == BlockKind::If
        {
            block.kind = BlockKind::Else;
        }
        self.leave_block()
    }

    fn notify(&mut self) -> Result<(), Error> {
        let place = self.super_name(Calls::Yes)?;
        let value = self.integer()?;
        let mut node = match place {
            StoreTarget::Node(node) => node,
            place => match self.load(place)? {
                Val::Node(node) | Val::Ref(Ref::Node(node)) => node,
                other => return Err(self.wrong_type("a device", other)),
            },
        };
        // A name that holds a reference to a device.
        if let Object::Value(value) = *self.core.names.object(node)?
            && let Val::Node(target) | Val::Ref(Ref::Node(target)) = value
        {
            node = target;
        }
        if !self.core.is_notifiable(node)? {
            return Err(self.wrong_type("a device", Val::Node(node)));
        }
        self.host.notify(Notified { names: &self.core.names, handle: node }, value);
        Ok(())
    }

    fn pause(&mut self, opcode: u16) -> Result<(), Error> {
        let time = self.integer()?;
        let too_long = ErrorKind::TooMuchSleep;
        if opcode == op::SLEEP {
            let milliseconds = u32::try_from(time).map_err(|_| too_long)?;
            self.spend_sleep(milliseconds)?;
            self.host.sleep(milliseconds);
        } else {
            let microseconds = u32::try_from(time).map_err(|_| too_long.clone())?;
            let milliseconds = time.div_ceil(MICROSECONDS_PER_MILLISECOND);
            self.spend_sleep(u32::try_from(milliseconds).map_err(|_| too_long)?)?;
            self.host.stall(microseconds);
        }
        Ok(())
    }

    fn fatal(&mut self) -> Result<Flow, Error> {
        let (cursor, code) = self.cursor()?;
        let class = cursor.byte(code)?;
        let code = u32::try_from(cursor.number(code, 4)?).unwrap_or_default();
        let argument = self.integer()?;
        Err(ErrorKind::Fatal { class, code, argument }.into())
    }
}
