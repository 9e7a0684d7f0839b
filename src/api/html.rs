//! HTML that cannot be broken by what others write into it.
//!
//! Markup is a `&'static str`, so it comes from this program's source. Everything else goes through
//! [`Part`], which escapes text: names, messages and queries are chosen by clients and servers.

use std::fmt::Write as _;

use crate::text;

/// Finished markup.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Html(String);

/// A value that can stand in markup, also within an attribute in double quotes.
pub(super) trait Part {
    /// Appends it, escaped where it is text.
    fn write(&self, out: &mut String);
}

/// Fills the `{}` of a template, in their order. There must be as many parts as places.
pub(super) fn html(template: &'static str, parts: &[&dyn Part]) -> Html {
    let mut out = Html::default();
    out.fill(template, parts);
    out
}

impl Html {
    /// Appends a template with its parts.
    pub(super) fn fill(&mut self, template: &'static str, parts: &[&dyn Part]) {
        let mut pieces = template.split("{}");
        self.0.push_str(pieces.next().unwrap_or_default());
        let mut parts = parts.iter();
        for piece in pieces {
            let part = parts.next();
            debug_assert!(part.is_some(), "a place without a part: {template}");
            if let Some(part) = part {
                part.write(&mut self.0);
            }
            self.0.push_str(piece);
        }
        debug_assert!(parts.next().is_none(), "a part without a place: {template}");
    }

    /// Reports whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl FromIterator<Html> for Html {
    fn from_iter<I: IntoIterator<Item = Html>>(all: I) -> Self {
        let mut out = String::new();
        all.into_iter().for_each(|one| out.push_str(&one.0));
        Self(out)
    }
}

impl Part for Html {
    fn write(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

impl Part for str {
    fn write(&self, out: &mut String) {
        for c in text::printable(self).chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '"' => out.push_str("&quot;"),
                '\'' => out.push_str("&#39;"),
                _ => out.push(c),
            }
        }
    }
}

impl Part for &str {
    fn write(&self, out: &mut String) {
        (**self).write(out);
    }
}

impl Part for String {
    fn write(&self, out: &mut String) {
        self.as_str().write(out);
    }
}

/// Nothing where there is none.
impl<P: Part> Part for Option<P> {
    fn write(&self, out: &mut String) {
        if let Some(part) = self {
            part.write(out);
        }
    }
}

/// Writes a number without a needless fraction.
impl Part for f64 {
    fn write(&self, out: &mut String) {
        let rounded = (self * 100.0).round() / 100.0;
        // Writing to a String cannot fail.
        let _ = write!(out, "{rounded}");
    }
}

macro_rules! numbers {
    ($($kind:ty),*) => {$(
        impl Part for $kind {
            fn write(&self, out: &mut String) {
                let _ = write!(out, "{self}");
            }
        }
    )*};
}
numbers!(u32, u64, usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_markup_is_not() {
        let inner = html("<b>{}</b>", &[&"<script>alert('1')</script>"]);
        let all = html("<p title=\"{}\">{} {}</p>", &[&"\" onclick=\"x", &inner, &1.5]);
        assert_eq!(
            all.into_string(),
            "<p title=\"&quot; onclick=&quot;x\"><b>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;</b> 1.5</p>"
        );
    }

    #[test]
    fn controls_and_bidirectional_marks_are_shown_as_escapes() {
        let all = html("{}", &[&"a\u{202e}b\u{1b}[2J\n"]);
        assert_eq!(all.into_string(), "a\\u{202e}b\\u{1b}[2J\\n");
    }
}
