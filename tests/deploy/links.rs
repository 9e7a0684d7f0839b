//! The documentation: every link inside the repository has a target, and the book has every page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::{files, read, root};

/// The pages that users read.
fn pages() -> Vec<PathBuf> {
    let mut pages = files(&root("docs"), ".md");
    for folder in ["deploy", "alerts", "dashboards"] {
        pages.extend(files(&root(folder), ".md"));
    }
    let top = std::fs::read_dir(root("")).expect("the repository");
    pages.extend(
        top.map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "md")),
    );
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// The targets of a page's links, except those in code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        }
        if code {
            continue;
        }
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("x");
        for rest in plain.split("](").skip(1) {
            found.extend(rest.split([')', ' ']).next().map(str::to_owned));
        }
    }
    found
}

/// The anchors of a page's headings, by the rules of mdbook and the forges.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
        }
        if !code && line.starts_with('#') {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

fn leads_somewhere(page: &Path, link: &str) -> bool {
    if link.starts_with("https://") || link.starts_with("http://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => page.to_owned(),
        path => page.parent().expect("a folder").join(path),
    };
    if !target.exists() {
        return false;
    }
    anchor.is_empty() || anchors(&read(target)).contains(anchor)
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for link in links(&read(&page)) {
            seen += 1;
            if !leads_somewhere(&page, &link) {
                dead.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(seen > 20, "{seen} links");
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn pages_of_the_book_link_to_pages_of_the_book() {
    for page in files(&root("docs"), ".md") {
        for link in links(&read(&page)) {
            let path = link.split('#').next().unwrap_or_default();
            let target = page.parent().expect("a folder").join(path);
            let inside = target.canonicalize().is_ok_and(|path| path.starts_with(root("docs")));
            let inside = inside || link.contains("://");
            assert!(inside, "{}: {link} is not in the book", page.display());
        }
    }
}

#[test]
fn the_book_holds_every_page() {
    let summary: BTreeSet<String> = links(&read(root("docs/SUMMARY.md"))).into_iter().collect();
    for page in files(&root("docs"), ".md") {
        let name =
            page.strip_prefix(root("docs")).expect("below docs").to_string_lossy().into_owned();
        let is_listed = name == "SUMMARY.md" || summary.contains(&name);
        assert!(is_listed, "{name} is not in docs/SUMMARY.md");
    }
}

#[test]
fn a_heading_makes_the_anchor_that_links_use() {
    let found = anchors("# High availability\n```\n# not this\n```\n## `DB_POOL_SIZE`, and more");
    let wanted = ["db_pool_size-and-more", "high-availability"];
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
    assert!(!leads_somewhere(&root("README.md"), "docs/no-such-page.md"));
    assert!(!leads_somewhere(&root("README.md"), "README.md#no-such-heading"));
}
