//! Free blocks by order, as lying bars: how much of a resource's free memory lies in blocks of each size.

use guest::schema::{Buddyinfo, PAGE};
use maud::{Markup, html};

use crate::format;

const WIDTH: f64 = 360.0;
const LEFT: f64 = 118.0;
/// Room for the number of blocks behind the longest bar.
const RIGHT: f64 = 66.0;
const BAR: f64 = 12.0;
const STEP: f64 = 16.0;

/// The bars of one buddy. `id` tells it from the page's other pictures, `title` says whose and when.
pub fn draw(buddy: &Buddyinfo, id: &str, title: &str) -> Markup {
    let bytes = |order: usize| buddy.free[order].saturating_mul(PAGE << order);
    let with_blocks = |order: &usize| buddy.free[*order] > 0;
    let first = (0..buddy.free.len()).find(with_blocks);
    let last = (0..buddy.free.len()).rev().find(with_blocks);
    let orders: Vec<usize> = first.zip(last).map_or_else(Vec::new, |(first, last)| (first..=last).collect());
    let most = orders.iter().map(|&order| bytes(order)).max().unwrap_or(0).max(1);
    let width = |order: usize| bytes(order) as f64 / most as f64 * (WIDTH - LEFT - RIGHT);
    let height = STEP * orders.len().max(1) as f64 + 2.0;
    let blocks = |order: usize| format::count(buddy.free[order], "block", "blocks");
    let described: Vec<String> = orders
        .iter()
        .filter(|order| with_blocks(order))
        .map(|&order| format!("order {order}: {} of {}", blocks(order), format::size(PAGE << order)))
        .collect();
    html! {
        svg.orders viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{id}-t {id}-d")) xmlns="http://www.w3.org/2000/svg" {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) {
                @if described.is_empty() { "No block is free." } @else { (described.join("; ")) "." }
            }
            @if orders.is_empty() { text.head x="0" y="11" { "no block is free" } }
            @for (row, &order) in orders.iter().enumerate() {
                @let y = row as f64 * STEP + 1.0;
                text.address x=(LEFT - 5.0) y=(y + 9.5) { "order " (order) ", " (format::size(PAGE << order)) }
                rect.free x=(LEFT) y=(y) width=(format!("{:.2}", width(order).max(if buddy.free[order] > 0 { 1.0 } else { 0.0 }))) height=(BAR) {}
                text.count x=(format!("{:.2}", LEFT + width(order) + 5.0)) y=(y + 9.5) { (blocks(order)) }
            }
        }
    }
}
