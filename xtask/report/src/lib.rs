//! `cargo xtask report`: a DIMM comes, is used and goes, as one HTML page.
//!
//! ```text
//!  scenario   boots guests, types and plugs, takes a snapshot between two steps      data   what it found
//!  page       the page: text, tables, style;   map, buddy_chart   its pictures       format  numbers for people
//!  figures    figures to compare: Linux's, which the project keeps, and those of a run of `cargo xtask bench`
//! ```
//!
//! Guests run under QEMU's `-icount shift=0`, where a nanosecond of the guest's clock is an instruction: the page has
//! the same figures on a busy machine as on an idle one. The page needs no network and no script. It is well-formed XML
//! too: the tests parse it.

mod buddy_chart;
pub mod data;
pub mod figures;
mod format;
mod map;
pub mod page;
pub mod scenario;
