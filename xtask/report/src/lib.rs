//! `cargo xtask report`: a DIMM comes, is used and goes, as one HTML page.
//!
//! ```text
//!  scenario   boots guests, types and plugs, takes a snapshot between two steps      data   what it found
//!  page       the page: text, tables, style;   map, buddy_chart, locations   its pictures       format  numbers for people
//!  figures    what `cargo xtask bench --all` measured: the file, its rows;   figure_tables, curves   what they show
//!  bench_page that program's page;   documents   the same figures in README and docs;   html   what both pages are made of
//! ```
//!
//! Guests run under QEMU's `-icount shift=0`, where a nanosecond of the guest's clock is an instruction: the page has
//! the same figures on a busy machine as on an idle one. The page needs no network and no script. It is well-formed XML
//! too: the tests parse it.

pub mod bench_page;
mod buddy_chart;
mod curves;
pub mod data;
pub mod documents;
mod figure_tables;
pub mod figures;
mod format;
mod html;
mod locations;
mod map;
pub mod page;
pub mod scenario;
