//! Free blocks by order, as lying bars: how much of a resource's free memory lies in blocks of each size.
//!
//! Charts that a reader compares, those before and after a step, have one [`Scale`]: bars of the same length for the same
//! memory, and the same rows for the same resource.

use guest::schema::{Buddyinfo, PAGE};
use maud::{Markup, html};

use crate::format;

const WIDTH: f64 = 360.0;
const LEFT: f64 = 118.0;
/// Space for the number of blocks behind the longest bar.
const RIGHT: f64 = 66.0;
const BAR: f64 = 12.0;
const STEP: f64 = 16.0;

/// The rows of a resource's charts, and the memory of the longest bar of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// All orders between the least and the largest of which the resource has blocks in one of the charts.
    orders: Vec<usize>,
    most: u64,
}

impl Scale {
    /// The scale of a resource's charts among these.
    pub fn of<'a>(resource: u32, buddies: impl Iterator<Item = &'a Buddyinfo>) -> Scale {
        let (mut first, mut end, mut most) = (usize::MAX, 0, 1);
        for buddy in buddies {
            for order in (0..buddy.free.len()).filter(|order| buddy.free[*order] > 0) {
                if buddy.resource == resource {
                    (first, end) = (first.min(order), end.max(order + 1));
                }
                most = most.max(bytes(buddy, order));
            }
        }
        Scale { orders: (first..end).collect(), most }
    }

    fn width(&self, bytes: u64) -> f64 {
        // A block that is there is seen.
        let least = if bytes > 0 { 1.0 } else { 0.0 };
        (bytes as f64 / self.most as f64 * (WIDTH - LEFT - RIGHT)).max(least)
    }
}

fn bytes(buddy: &Buddyinfo, order: usize) -> u64 {
    free(buddy, order).saturating_mul(PAGE << order)
}

fn free(buddy: &Buddyinfo, order: usize) -> u64 {
    buddy.free.get(order).copied().unwrap_or(0)
}

/// The bars of one buddy. `id` tells it from the page's other pictures, `title` says whose and when.
pub fn draw(buddy: &Buddyinfo, scale: &Scale, id: &str, title: &str) -> Markup {
    let width = |order: usize| scale.width(bytes(buddy, order));
    let height = STEP * scale.orders.len().max(1) as f64 + 2.0;
    let blocks = |order: usize| format::count(free(buddy, order), "block", "blocks");
    let described: Vec<String> = scale
        .orders
        .iter()
        .filter(|order| free(buddy, **order) > 0)
        .map(|&order| format!("order {order}: {} of {}", blocks(order), format::size(PAGE << order)))
        .collect();
    html! {
        svg.orders viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-labelledby=(format!("{id}-t {id}-d")) xmlns="http://www.w3.org/2000/svg" {
            title id=(format!("{id}-t")) { (title) }
            desc id=(format!("{id}-d")) {
                @if described.is_empty() { "No block is free." } @else { (described.join("; ")) "." }
            }
            @if described.is_empty() { text.head x="0" y="11" { "no block is free" } }
            @else {
                @for (row, &order) in scale.orders.iter().enumerate() {
                    @let y = row as f64 * STEP + 1.0;
                    text.address x=(LEFT - 5.0) y=(y + 9.5) { "order " (order) ", " (format::size(PAGE << order)) }
                    rect.free x=(LEFT) y=(y) width=(format!("{:.2}", width(order))) height=(BAR) {}
                    @if free(buddy, order) > 0 {
                        text.count x=(format!("{:.2}", LEFT + width(order) + 5.0)) y=(y + 9.5) { (blocks(order)) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buddy(free: &[u64]) -> Buddyinfo {
        let text = format!(r#"{{"resource":1,"node":1,"zone":"any","free":{free:?}}}"#);
        serde_json::from_str(&text).expect("a row of buddyinfo")
    }

    /// Proves that charts of one scale have the same rows, and bars as long as their memory. Fails when each chart's longest bar
    /// fills its width.
    #[test]
    fn one_scale_for_both() {
        let (before, after) = (buddy(&[0, 0, 8, 0, 4]), buddy(&[0, 1, 0, 0, 2]));
        let scale = Scale::of(1, [&before, &after].into_iter());
        assert_eq!(scale.orders, [1, 2, 3, 4]);
        let widths = |buddy: &Buddyinfo| -> Vec<f64> {
            let drawn = draw(buddy, &scale, "id", "title").into_string();
            let widths = drawn.split(" width=\"").skip(1);
            widths
                .map(|rest| rest.split('"').next().and_then(|width| width.parse().ok()).expect("a number"))
                .collect()
        };
        let (first, second) = (widths(&before), widths(&after));
        assert_eq!((first.len(), second.len()), (4, 4));
        assert!((first[3] - 2.0 * second[3]).abs() < 0.1 && (first[3] - 2.0 * first[1]).abs() < 0.1);
        assert_eq!(Scale::of(2, [&before].into_iter()), Scale { orders: Vec::new(), most: scale.most });
        assert_eq!(Scale::of(1, std::iter::empty()).orders, Vec::<usize>::new());
    }
}
