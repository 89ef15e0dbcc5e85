//! `cargo xtask report`: a DIMM comes, is used and goes, as one HTML page.
//!
//! ```text
//!  scenario   boots guests, types and plugs, takes a snapshot between two steps      data   what it found
//!  page       the page: text, tables, style;   map, buddy_chart   its pictures       format  numbers for people
//!  figures    what others cost: Linux's figures that the project keeps, and a run of `cargo xtask bench`
//! ```
//!
//! Guests run under QEMU's `-icount shift=0`, where a nanosecond of the guest's clock is an instruction: the page
//! says the same on a busy machine as on an idle one. The page needs no network and no script. It is well-formed XML
//! too, which is how the tests read it.

mod buddy_chart;
pub mod data;
pub mod figures;
mod format;
mod map;
pub mod page;
pub mod scenario;
