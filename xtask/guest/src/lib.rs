//! A running guest, from outside: found by its sockets, its DIMMs plugged and unplugged by QMP. What `cargo xtask` and
//! `cargo xtask watch` share.
//!
//! ```text
//!  guests   which guests run, and where their sockets are
//!  dimm     QMP: DIMMs added, listed and removed, and what the kernel answered
//!  size     sizes as people write them
//! ```
//!
//! Invariant: nothing here prints or ends the process; what happened is a value.

pub mod dimm;
pub mod guests;
pub mod size;
