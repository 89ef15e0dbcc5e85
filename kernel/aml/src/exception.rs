//! Execution that goes on after an error, where the host and AML's own `\_ERR` want it (`Host::exception`).
//!
//! Invariant: each resumption takes the steps of a call, so [`Limits::steps`](crate::Limits::steps) bounds their number.
//! Neighbours: `run` executes the statements, `load` recovers from the broken terms of a table in its own way.
use crate::error::Error;
use crate::host::Exception;
use crate::model::{Data, Object, ROOT, Val};
use crate::name::NameSeg;
use crate::run::{MAX_ARGS, Resume, Run};

impl Run<'_> {
    /// Moves behind the statement that failed, if `\_ERR` maps the error to success.
    ///
    /// # Errors
    /// It does not, or there is no such method, or the host does not ask for it: the error itself.
    #[cold]
    #[inline(never)]
    pub(crate) fn resume_after(&mut self, error: Error, start: Resume) -> Result<(), Error> {
        let error = match self.frames.last() {
            Some(frame) => error.at(|| self.core.names.path(frame.node), start.cursor.at),
            None => error,
        };
        let Some(exception) = self.host.exception(&error) else { return Err(error) };
        if !self.handled(exception).unwrap_or(false) {
            return Err(error);
        }
        let frame = self.frame()?;
        frame.cursor = start.cursor;
        frame.scope = start.scope;
        frame.blocks.truncate(start.blocks);
        self.skip(start.cursor, start.scope);
        Ok(())
    }

    /// Reports the error of a term outside of methods, which is left out in any case.
    #[cold]
    #[inline(never)]
    pub(crate) fn report(&mut self, error: &Error) {
        if let Some(exception) = self.host.exception(error) {
            let _left_out = self.handled(exception);
        }
    }

    /// Whether `\_ERR` exists and returns 0.
    fn handled(&mut self, exception: Exception) -> Result<bool, Error> {
        let Some(node) = self.core.names.child(ROOT, NameSeg::literal(*b"_ERR")) else { return Ok(false) };
        let Object::Method(method) = *self.core.names.object(node)? else { return Ok(false) };
        let mut args = [Val::Uninit; MAX_ARGS];
        let name = self.core.heap.add(Data::String(exception.name.as_bytes().into()))?;
        for (to, from) in args.iter_mut().zip([self.int(exception.code.into()), name, Val::Int(0)]) {
            *to = from;
        }
        let result = self.call(node, method, args)?;
        Ok(self.to_integer(result)? == 0)
    }
}
