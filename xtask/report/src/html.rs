//! What the two pages, `page` and `bench_page`, are made of: the document around a body, and tables of figures.
//!
//! Invariant: a page fetches nothing; its style is inside.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::figure_tables::Table;

/// A page of this title.
pub fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                // Closed as XML has it, which HTML allows.
                (PreEscaped(r#"<meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>"#))
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// A table of figures; code is marked by backquotes.
pub fn html_table(table: &Table, caption: &str) -> Markup {
    let text = |cell: &str| {
        html! {
            @for (index, part) in cell.split('`').enumerate() { @if index % 2 == 1 { code { (part) } } @else { (part) } }
        }
    };
    html! {
        div.wide role="region" tabindex="0" aria-label=(caption) {
            table {
                caption { (caption) }
                thead { tr { @for (column, head) in table.heads.iter().enumerate() { th.n[column > 0] scope="col" { (text(head)) } } } }
                tbody { @for row in &table.rows { tr {
                    @for (column, cell) in row.iter().enumerate() {
                        @if column == 0 { th scope="row" { (text(cell)) } } @else { td.n { (text(cell)) } }
                    }
                } } }
            }
        }
    }
}
