//! The part of Markdown that the runbooks use, as HTML: headings, paragraphs, lists, tables, code and links.

use crate::api::html::{Html, html};

/// Returns a runbook as HTML.
pub(super) fn html_of(text: &'static str) -> Html {
    let lines: Vec<&str> = text.lines().collect();
    blocks(&lines)
}

/// Turns lines into blocks, one after the other.
fn blocks(lines: &[&str]) -> Html {
    let mut out = Html::default();
    let mut at = 0;
    while at < lines.len() {
        let (block, taken) = block(&lines[at..]);
        out.fill("{}", &[&block]);
        at += taken.max(1);
    }
    out
}

/// The first block of some lines, and the number of its lines.
fn block(lines: &[&str]) -> (Html, usize) {
    let Some(first) = lines.first().copied() else { return (Html::default(), 0) };
    if first.trim().is_empty() {
        (Html::default(), 1)
    } else if first.starts_with("```") {
        code(lines)
    } else if let Some(title) = first.strip_prefix("# ") {
        (html("<h1>{}</h1>", &[&inline(title)]), 1)
    } else if let Some(title) = first.strip_prefix("## ") {
        (html("<h2>{}</h2>", &[&inline(title)]), 1)
    } else if first.starts_with('|') {
        table(lines)
    } else if mark(first).is_some() {
        list(lines)
    } else {
        paragraph(lines)
    }
}

fn code(lines: &[&str]) -> (Html, usize) {
    let body = lines[1..].iter().take_while(|line| !line.starts_with("```"));
    let body: Vec<&str> = body.copied().collect();
    let code: Html = body.iter().map(|line| html("{}\n", &[line])).collect();
    (html("<pre tabindex=\"0\"><code>{}</code></pre>", &[&code]), body.len() + 2)
}

fn table(lines: &[&str]) -> (Html, usize) {
    let rows: Vec<&str> = lines.iter().take_while(|line| line.starts_with('|')).copied().collect();
    let cells = |row: &str| -> Vec<String> {
        row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head: Html = cells(rows[0])
        .iter()
        .map(|cell| html("<th scope=\"col\">{}</th>", &[&inline(cell)]))
        .collect();
    let body: Html = rows
        .iter()
        .skip(2)
        .map(|row| {
            let cells: Html = cells(row)
                .iter()
                .map(|cell| html("<td class=\"long\">{}</td>", &[&inline(cell)]))
                .collect();
            html("<tr>{}</tr>", &[&cells])
        })
        .collect();
    let table = html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", &[&head, &body]);
    (table, rows.len())
}

/// The width of a list item's mark, and whether items are numbered; `None` for other lines.
fn mark(line: &str) -> Option<(usize, ListKind)> {
    if line.starts_with("- ") {
        return Some((2, ListKind::Plain));
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && line[digits..].starts_with(". ")).then_some((digits + 2, ListKind::Numbered))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ListKind {
    Plain,
    Numbered,
}

fn list(lines: &[&str]) -> (Html, usize) {
    let Some((_, kind)) = mark(lines[0]) else { return (Html::default(), 1) };
    let (mut items, mut at) = (Html::default(), 0);
    while let Some((width, _)) = lines.get(at).copied().and_then(mark).filter(|(_, k)| *k == kind) {
        let mut inner = vec![&lines[at][width..]];
        at += 1;
        // What is indented belongs to the item, and empty lines between such lines do too.
        while let Some(line) = lines.get(at) {
            let next = lines.get(at + 1).copied().unwrap_or_default();
            if line.starts_with("  ") {
                inner.push(line.get(width..).unwrap_or_default());
            } else if line.trim().is_empty() && next.starts_with("  ") {
                inner.push("");
            } else {
                break;
            }
            at += 1;
        }
        items.fill("<li>{}</li>", &[&blocks(&inner)]);
    }
    let list = match kind {
        ListKind::Plain => html("<ul>{}</ul>", &[&items]),
        ListKind::Numbered => html("<ol>{}</ol>", &[&items]),
    };
    (list, at)
}

fn paragraph(lines: &[&str]) -> (Html, usize) {
    let is_part = |line: &&&str| {
        let line: &str = line;
        !line.trim().is_empty() && !line.starts_with("```") && !line.starts_with('|')
    };
    let mut taken: Vec<&str> = lines.iter().take_while(is_part).copied().collect();
    let end = taken.iter().skip(1).position(|line| mark(line).is_some() || line.starts_with('#'));
    taken.truncate(end.map_or(taken.len(), |n| n + 1));
    (html("<p>{}</p>", &[&inline(&taken.join(" "))]), taken.len())
}

/// Code, links and bold text within a line.
fn inline(text: &str) -> Html {
    let mut out = Html::default();
    for (n, piece) in text.split('`').enumerate() {
        if n % 2 == 1 {
            out.fill("<code>{}</code>", &[&piece]);
        } else {
            links(piece, &mut out);
        }
    }
    out
}

fn links(text: &str, out: &mut Html) {
    let mut rest = text;
    while let Some((before, title, address, after)) = link(rest) {
        out.fill("{}", &[&bold(before)]);
        match address.strip_suffix(".md").filter(|name| !name.contains('/')) {
            Some(name) => out.fill("<a href=\"?name={}\">{}</a>", &[&name, &title]),
            // Other pages of the documentation are not built in.
            None if !address.contains("://") => {
                out.fill("{} (docs/{})", &[&title, &address.trim_start_matches("../")])
            }
            None => out.fill("<a href=\"{}\">{}</a>", &[&address, &title]),
        }
        rest = after;
    }
    out.fill("{}", &[&bold(rest)]);
}

/// The first link of a text: what is before it, its title, its address, and what is after it.
fn link(text: &str) -> Option<(&str, &str, &str, &str)> {
    let middle = text.find("](")?;
    let start = text[..middle].rfind('[')?;
    let end = middle + text[middle..].find(')')?;
    Some((&text[..start], &text[start + 1..middle], &text[middle + 2..end], &text[end + 1..]))
}

fn bold(text: &str) -> Html {
    let mut out = Html::default();
    for (n, piece) in text.split("**").enumerate() {
        if n % 2 == 1 { out.fill("<b>{}</b>", &[&piece]) } else { out.fill("{}", &[&piece]) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_that_runbooks_use_become_html() {
        let text = "# T\n\nOne `a < b`\ntwo [see](X.md).\n\n1. First:\n\n   ```sql\n   SELECT 1;\n   ```\n2. **Second**\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n";
        let expected = "<h1>T</h1><p>One <code>a &lt; b</code> two <a href=\"?name=X\">see</a>.</p>\
            <ol><li><p>First:</p><pre tabindex=\"0\"><code>SELECT 1;\n</code></pre></li><li><p><b>Second</b></p></li></ol>\
            <table><thead><tr><th scope=\"col\">a</th><th scope=\"col\">b</th></tr></thead>\
            <tbody><tr><td class=\"long\">1</td><td class=\"long\">2</td></tr></tbody></table>";
        assert_eq!(html_of(text).into_string(), expected);
    }
}
