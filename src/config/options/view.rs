//! The switches of the views: one option for each view of any kind of target.

use super::{OptionRow, Row, Variable, row};
use crate::config::kind::{Grammar, OptionType, Switch};
use crate::view::View;

/// The option that switches a view on or off.
pub(in crate::config) fn switch(view: &View) -> OptionRow<Switch> {
    row(view.name.key, Switch, view.doc)
}

impl Row for View {
    fn key(&self) -> &'static str {
        self.name.key
    }

    fn variables(&self) -> [Option<Variable>; 2] {
        [None, None]
    }

    fn default(&self) -> Option<&'static str> {
        Some(if self.on_by_default { "true" } else { "false" })
    }

    fn example(&self) -> Option<&'static str> {
        None
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn range(&self, grammar: Grammar) -> String {
        Switch.range(grammar)
    }

    fn as_variable(&self, shown: &str, grammar: Grammar) -> String {
        Switch.as_variable(shown, grammar)
    }

    fn is_section(&self) -> bool {
        false
    }
}
