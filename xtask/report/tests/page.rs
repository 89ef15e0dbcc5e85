//! The page, from canned data: a scenario that was played once (`cargo xtask report` keeps its data beside the page).

use report::data::{Data, Event};
use report::{bench_page, figures, page};
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::BTreeSet;

const CANNED: &str = include_str!("canned.json");

fn canned() -> Data {
    serde_json::from_str(CANNED).expect("data of a report")
}

fn rendered(data: &Data) -> String {
    page::render(data, &figures::kept().expect("kept figures"), None)
}

/// The report, and the page of `bench --all`.
fn pages() -> [String; 2] {
    [rendered(&canned()), bench_page::render(&figures::kept().expect("kept figures"))]
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("well-formed")
}

fn elements<'a>(document: &'a Document<'_>, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.tag_name().name() == name)
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|node| node.text().filter(|_| node.is_text())).collect()
}

/// Proves that the pages are well-formed, and that nothing in them is fetched from anywhere or runs: no script, no link out
/// of the page, no attribute or style that loads something.
#[test]
fn well_formed_and_self_contained() {
    pages().iter().for_each(|page| is_self_contained(&parsed(page)));
}

fn is_self_contained(document: &Document<'_>) {
    let ids: Vec<_> = document.descendants().filter_map(|node| node.attribute("id")).collect();
    let known: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), known.len(), "an id stands for one element");
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(!["script", "link", "img", "iframe", "object", "use", "base"].contains(&name), "<{name}>");
        for attribute in node.attributes() {
            let (key, value) = (attribute.name(), attribute.value());
            assert!(key != "src" && !key.starts_with("on"), "{key} in <{name}>");
            let inside = value.strip_prefix('#').is_some_and(|id| ids.contains(&id));
            assert!(key != "href" || inside, "a link leads to {value}");
            for id in value.split(' ').filter(|_| key == "aria-labelledby") {
                assert!(ids.contains(&id), "{id} labels something and is not there");
            }
        }
    }
    for style in elements(document, "style") {
        assert!(!text(style).contains("url(") && !text(style).contains("@import"));
    }
}

/// Proves that the pages suit a screen reader: each has a language, one first heading, no skipped level, pictures with
/// title and description, tables with a caption and headers with a scope.
#[test]
fn accessible() {
    pages().iter().for_each(|page| is_accessible(&parsed(page)));
    let page = rendered(&canned());
    assert!(elements(&parsed(&page), "svg").count() > 2 * canned().steps.len());
}

fn is_accessible(document: &Document<'_>) {
    assert!(document.root_element().has_attribute("lang"));
    let levels: Vec<u32> = document
        .descendants()
        .filter_map(|node| node.tag_name().name().strip_prefix('h')?.parse().ok())
        .collect();
    assert_eq!(levels.iter().filter(|&&level| level == 1).count(), 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    for picture in elements(document, "svg") {
        assert_eq!(picture.attribute("role"), Some("img"));
        for name in ["title", "desc"] {
            let found = picture.children().find(|node| node.tag_name().name() == name);
            assert!(found.is_some_and(|node| text(node).len() > 10), "a picture without {name}");
        }
    }
    for table in elements(document, "table") {
        assert!(table.children().any(|node| node.tag_name().name() == "caption"));
        let heads: Vec<_> = table.descendants().filter(|node| node.tag_name().name() == "th").collect();
        assert!(heads.iter().all(|head| head.has_attribute("scope")) && heads.len() > 3);
    }
}

/// Proves that the example's figures are in the page, and that each is the data's: other data, other figures.
#[test]
fn figures_come_from_the_data() {
    let mut data = canned();
    let page = rendered(&data);
    for figure in ["64,512 frames", "1,024 frames (4 MiB)", "0 frames", "51,200 frames", "512 GiB"] {
        assert!(page.contains(figure), "{figure}");
    }
    let Event::Plugged(resource) = &mut data.steps[0].event else { panic!("the first step plugs") };
    (resource.usable_pages, resource.add.answer_ns) = (64_511, 1_234_567);
    let changed = rendered(&data);
    assert!(changed.contains("64,511 frames") && changed.contains("1,234,567 instructions"));
    assert!(!page.contains("64,511 frames"));
}

/// Proves that text from outside cannot become markup.
#[test]
fn text_is_escaped() {
    let mut data = canned();
    data.kernel = "<script>&\"".to_owned();
    data.steps[0].said = vec!["</pre><b>".to_owned()];
    let page = rendered(&data);
    parsed(&page);
    assert!(!page.contains("<script>") && !page.contains("<b>\n"));
}
