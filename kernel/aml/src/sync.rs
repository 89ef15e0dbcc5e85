//! Mutexes and events (19.6.2, 19.6.115, 19.6.147). Only one thread executes AML, so no operation blocks: one that would
//! block lasts until its timeout, or without a timeout is a deadlock error.
use crate::error::{Error, ErrorKind};
use crate::model::{Handle, Object, Val};
use crate::opcode as op;
use crate::run::Run;
use crate::store_target::{Calls, StoreTarget};

/// The timeout value for an unlimited wait.
const FOR_EVER: u64 = 0xffff;

impl Run<'_> {
    fn synchronizer(&mut self) -> Result<Handle, Error> {
        let place = self.super_name(Calls::Yes)?;
        match place {
            StoreTarget::Node(node) => Ok(node),
            place => match self.load(place)? {
                Val::Node(node) => Ok(node),
                Val::Ref(crate::model::Ref::Node(node)) => Ok(node),
                other => Err(self.wrong_type("a mutex or an event", other)),
            },
        }
    }

    /// Acquire and Wait: True on a timeout.
    #[inline(never)]
    pub(crate) fn blocking(&mut self, opcode: u16) -> Result<Val, Error> {
        let node = self.synchronizer()?;
        if opcode == op::ACQUIRE {
            let (cursor, code) = self.cursor()?;
            cursor.bytes(code, 2)?;
            self.acquire(node)?;
            return Ok(Val::Int(0));
        }
        let timeout = self.integer()?;
        let path = self.core.names.path(node);
        match self.core.names.object_mut(node)? {
            Object::Event(count) if *count > 0 => {
                *count = count.saturating_sub(1);
                Ok(Val::Int(0))
            }
            Object::Event(_) if timeout >= FOR_EVER => Err(ErrorKind::Deadlock(path).into()),
            Object::Event(_) => {
                // Nothing signals it meanwhile: firmware waits as a delay.
                let milliseconds = u32::try_from(timeout).map_err(|_| ErrorKind::TooMuchSleep)?;
                self.spend_sleep(milliseconds)?;
                self.host.sleep(milliseconds);
                Ok(self.int(u64::MAX))
            }
            object => Err(ErrorKind::WrongType { wanted: "an event", found: object.kind() }.into()),
        }
    }

    /// Signal, Reset, Release.
    pub(crate) fn synchronize(&mut self, opcode: u16) -> Result<(), Error> {
        let node = self.synchronizer()?;
        if opcode == op::RELEASE {
            return self.release(node);
        }
        match self.core.names.object_mut(node)? {
            Object::Event(count) => {
                *count = if opcode == op::SIGNAL { count.saturating_add(1) } else { 0 };
                Ok(())
            }
            object => Err(ErrorKind::WrongType { wanted: "an event", found: object.kind() }.into()),
        }
    }

    fn acquire(&mut self, node: Handle) -> Result<(), Error> {
        let level = self.level;
        let is_global = self.core.global_lock == Some(node);
        match self.core.names.object_mut(node)? {
            Object::Mutex(mutex) if mutex.held > 0 => mutex.held = mutex.held.saturating_add(1),
            Object::Mutex(mutex) if level > mutex.level => {
                return Err(ErrorKind::MutexOrder(self.core.names.path(node)).into());
            }
            Object::Mutex(mutex) => {
                mutex.held = 1;
                mutex.before = level;
                self.level = mutex.level;
                self.held.push(node);
                if is_global && let Err(error) = self.host.acquire_global_lock() {
                    self.held.pop();
                    self.core.names.release_all(core::iter::once(node));
                    return Err(error.into());
                }
            }
            object => {
                return Err(ErrorKind::WrongType { wanted: "a mutex", found: object.kind() }.into());
            }
        }
        Ok(())
    }

    fn release(&mut self, node: Handle) -> Result<(), Error> {
        let level = self.level;
        let is_global = self.core.global_lock == Some(node);
        match self.core.names.object_mut(node)? {
            Object::Mutex(mutex) if mutex.held == 0 => {
                return Err(ErrorKind::MutexNotHeld(self.core.names.path(node)).into());
            }
            Object::Mutex(mutex) if mutex.level != level => {
                return Err(ErrorKind::MutexOrder(self.core.names.path(node)).into());
            }
            Object::Mutex(mutex) if mutex.held > 1 => mutex.held = mutex.held.saturating_sub(1),
            Object::Mutex(mutex) => {
                mutex.held = 0;
                let before = mutex.before;
                // Mutexes of one level may be released in any order (ACPI 19.6.116 orders levels only): the level falls
                // to what it was before the last one acquired, and the one acquired next inherits this one's.
                let at = self.held.iter().position(|&held| held == node).unwrap_or_default();
                let later = self.held.get(at.saturating_add(1)).copied();
                self.level = self.held.last().map_or(before, |&last| self.core.names.level_before(last));
                if let Some(later) = later
                    && let Ok(Object::Mutex(mutex)) = self.core.names.object_mut(later)
                {
                    mutex.before = before;
                }
                self.held.retain(|&held| held != node);
                if is_global {
                    self.host.release_global_lock();
                }
            }
            object => {
                return Err(ErrorKind::WrongType { wanted: "a mutex", found: object.kind() }.into());
            }
        }
        Ok(())
    }

    /// Stores to the Debug object; an unreadable value is printed as its error.
    pub(crate) fn debug(&mut self, value: Val) -> Result<(), Error> {
        let text = match self.export(value) {
            Ok(value) => alloc::format!("{value:?}"),
            Err(error) if *error.kind() == ErrorKind::TooManySteps => return Err(error),
            Err(error) => alloc::format!("{error}"),
        };
        self.host.debug(&text);
        Ok(())
    }
}
