//! Checks a YAML file before it is loaded: syntax, duplicate keys, depth and size.
//!
//! The `config` crate reports neither place nor cause of an error without quoting the file, and its loader is
//! recursive and copies whatever an alias names. So the parser's events are looked at first.

use std::collections::BTreeSet;

use yaml_rust2::parser::Parser;
use yaml_rust2::scanner::Marker;
use yaml_rust2::{Event, ScanError};

use super::names::{join, printable};

const DEEPEST: usize = 32;

/// The most nodes, each alias counted with all nodes that it copies.
const MOST_NODES: usize = 100_000;

/// Checks a text.
///
/// # Errors
/// The first mistake, with its line, column and path. No text of the file is quoted, except plain keys.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut parser = Parser::new_from_str(text);
    let mut walk = Walk::default();
    loop {
        let (event, mark) = parser.next_token().map_err(|error| walk.syntax(&error))?;
        if event == Event::StreamEnd {
            return Ok(());
        }
        walk.step(&event, mark)?;
    }
}

/// The position in the document.
#[derive(Default)]
struct Walk {
    open: Vec<Collection>,
    documents: usize,
    /// Nodes so far.
    nodes: usize,
    /// The nodes of each anchor, by the parser's number of it.
    anchors: Vec<(usize, usize)>,
}

/// A mapping or a sequence that is not closed yet.
struct Collection {
    anchor: usize,
    /// The nodes before it.
    before: usize,
    keys: Option<Keys>,
}

/// The keys of a mapping.
#[derive(Default)]
struct Keys {
    seen: BTreeSet<String>,
    /// The key of the value that comes next.
    current: Option<String>,
}

impl Walk {
    fn step(&mut self, event: &Event, mark: Marker) -> Result<(), String> {
        match event {
            Event::DocumentStart => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.at(mark, "holds more than one document"));
                }
            }
            Event::MappingStart(anchor, _) => self.open(*anchor, Some(Keys::default()), mark)?,
            Event::SequenceStart(anchor, _) => self.open(*anchor, None, mark)?,
            Event::MappingEnd | Event::SequenceEnd => self.close(),
            Event::Scalar(text, _, anchor, _) => self.scalar(text, *anchor, mark)?,
            Event::Alias(anchor) => {
                let copied = self.anchors.iter().rev().find(|(known, _)| known == anchor);
                self.nodes += copied.map_or(1, |(_, nodes)| *nodes);
                self.value_ends();
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        if self.nodes > MOST_NODES {
            return Err(self.at(mark, "holds too many values, or too many aliases"));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, keys: Option<Keys>, mark: Marker) -> Result<(), String> {
        self.nodes += 1;
        self.open.push(Collection { anchor, before: self.nodes, keys });
        if self.open.len() > DEEPEST { Err(self.at(mark, "is nested too deeply")) } else { Ok(()) }
    }

    fn close(&mut self) {
        if let Some(Collection { anchor, before, .. }) = self.open.pop() {
            self.anchors.push((anchor, self.nodes - before + 1));
        }
        self.value_ends();
    }

    fn scalar(&mut self, text: &str, anchor: usize, mark: Marker) -> Result<(), String> {
        self.nodes += 1;
        self.anchors.push((anchor, 1));
        match self.open.last_mut().and_then(|collection| collection.keys.as_mut()) {
            Some(keys) if keys.current.is_none() => {
                let is_new = keys.seen.insert(text.to_owned());
                keys.current = Some(text.to_owned());
                if is_new { Ok(()) } else { Err(self.at(mark, "this key is there a second time")) }
            }
            Some(_) | None => {
                self.value_ends();
                Ok(())
            }
        }
    }

    /// After a value of a mapping the next node is a key.
    fn value_ends(&mut self) {
        if let Some(keys) = self.open.last_mut().and_then(|collection| collection.keys.as_mut()) {
            // A collection as a key counts as a key without a name.
            keys.current = if keys.current.is_some() { None } else { Some(String::new()) };
        }
    }

    fn syntax(&self, error: &ScanError) -> String {
        // The only text of the parser that quotes the file.
        let cause = match error.info() {
            info if info.starts_with("unexpected character") => "unexpected character",
            info => info,
        };
        self.at(*error.marker(), cause)
    }

    fn at(&self, mark: Marker, cause: &str) -> String {
        let keys = self.open.iter().filter_map(|collection| collection.keys.as_ref());
        let keys = keys.filter_map(|keys| keys.current.as_deref());
        let path = keys.fold(String::new(), |path, key| join(&path, &printable(key)));
        let within = if path.is_empty() { path } else { format!(", at {path}") };
        format!("line {}, column {}{within}: {cause}", mark.line(), mark.col() + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_line_column_path_and_cause() {
        for (text, expected) in [
            ("a: 1\nb:\n\tc: 1\n", "line 3, column 2, at b: tabs disallowed"),
            (
                "a: {b: 1\nc: 2\n",
                "line 2, column 2, at a: while parsing a flow mapping, did not find",
            ),
            ("a: {b: 1\n", "line 2, column 1, at a"),
            ("a: 1\nb: 2\na: 3\n", "line 3, column 1, at a: this key is there a second time"),
            ("t:\n  x: {u: 1}\n  y: {u: 1, u: 2}\n", "line 3, column 13, at t.y.u: this key"),
            ("a: 1\n---\nb: 1\n", "line 2, column 1: holds more than one document"),
            ("a: @b\n", "line 1, column 4, at a: unexpected character"),
        ] {
            let message = check(text).expect_err(text);
            assert!(message.starts_with(expected), "{text:?}: {message}");
        }
        for text in ["a: &x [1]\nb: *x\nc: {d: 1}\n", "- a\n- a\n", "a: 1", "? [x]\n: 1\na: 2\n"] {
            assert_eq!(check(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn depth_and_copies_are_bounded() {
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (before, name) in ["a", "b", "c", "d", "e"].iter().zip(["b", "c", "d", "e", "f"]) {
            let aliases = [format!("*{before}").as_str(); 10].join(",");
            bomb += &format!("{name}: &{name} [{aliases}]\n");
        }
        for text in ["- ".repeat(100_000), "[".repeat(300), "{a: ".repeat(300), bomb] {
            assert!(check(&text).is_err());
        }
    }
}
