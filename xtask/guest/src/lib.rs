//! The one harness for guests: what `cargo xtask`, the tests, `bench`, `watch` and `report` use to start a guest, find
//! a running one, and talk to it.
//!
//! ```text
//!  boot        a guest of our own: planned, booted, typed to, plugged into       launch  QEMU as a child process
//!  shape       a guest's memory, nodes, processors, CPU model      qemu    the QEMU command of a guest, composed
//!  task        the command that `cargo xtask run` would start
//!  discovery   running guests, and where their sockets are
//!  serial      the first serial line: a person's shell              schema  its answers (crate `carapace-schema`)
//!  rpc         the second serial line: requests, answers, events
//!  relay       the same for several programs at once                desk    DIMMs that the guest's shell asks for
//!  qmp         QEMU's monitor                                       dimm    DIMMs added, listed and removed
//!  size        sizes as people write them
//! ```
//!
//! Invariant: nothing here prints or ends the process; what happened is a value.

pub mod boot;
pub mod desk;
pub mod dimm;
pub mod discovery;
pub mod launch;
pub mod qemu;
pub mod qmp;
pub mod relay;
pub mod rpc;
pub mod serial;
pub mod shape;
pub mod size;
pub mod task;
pub mod virtio_mem;

pub use boot::{Guest, Plan};
pub use carapace_schema as schema;
pub use qemu::Machine;
