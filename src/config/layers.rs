//! Reading one section of the configuration through its layers: variables, the file, `defaults`.
//!
//! One call reads an option. The value is checked in every layer, so that a bad one is reported even where
//! a stronger layer hides it. The strongest value wins, and is listed with its origin.

use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::environment::Variables;
use super::kind::{Grammar, OptionType, RawValue, Switch};
use super::listing::{Origin, Sourced};
use super::names::join;
use super::options::OptionRow;
use super::report::Report;

/// A section in one source.
#[derive(Clone)]
struct Table<'a> {
    /// The section's path in its source.
    path: String,
    values: Values<'a>,
}

#[derive(Clone, Copy)]
enum Values<'a> {
    /// The variables, by the paths that they set.
    Variables(&'a Variables),
    /// A table of the file.
    File(&'a Map<String, Value>),
}

impl<'a> Table<'a> {
    fn has(&self, key: &str) -> bool {
        match self.values {
            Values::Variables(variables) => variables.has(&join(&self.path, key)),
            Values::File(values) => find(values, key).is_some(),
        }
    }

    /// The section below a key, if it is there.
    fn section(&self, key: &str) -> Option<Self> {
        let path = join(&self.path, key);
        match self.values {
            Values::Variables(_) => Some(Self { path, values: self.values }),
            Values::File(values) => match &values.get(key)?.kind {
                ValueKind::Table(values) => Some(Self { path, values: Values::File(values) }),
                ValueKind::Nil
                | ValueKind::Boolean(_)
                | ValueKind::I64(_)
                | ValueKind::I128(_)
                | ValueKind::U64(_)
                | ValueKind::U128(_)
                | ValueKind::Float(_)
                | ValueKind::String(_)
                | ValueKind::Array(_) => None,
            },
        }
    }

    fn names(&self) -> Vec<&'a str> {
        match self.values {
            Values::Variables(variables) => variables.names(&self.path),
            Values::File(values) => values.keys().map(String::as_str).collect(),
        }
    }

    /// The value of a key, with its origin and the notation in which it is written.
    fn value(&self, key: &str) -> Option<(RawValue<'a>, Grammar, Origin)> {
        let path = join(&self.path, key);
        match self.values {
            Values::Variables(variables) => {
                let set = variables.get(&path)?;
                let raw = RawValue::Word(&set.text, set.grammar);
                Some((raw, set.grammar, Origin::Variable(set.name.to_owned())))
            }
            Values::File(values) => {
                let raw = RawValue::of(find(values, key)?);
                Some((raw, Grammar::Units, Origin::File(path)))
            }
        }
    }
}

/// Finds the value at a dotted path; null counts as absent.
fn find<'a>(values: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    let Some((first, rest)) = key.split_once('.') else {
        return values.get(key).filter(|value| value.kind != ValueKind::Nil);
    };
    if let ValueKind::Table(below) = &values.get(first)?.kind { find(below, rest) } else { None }
}

/// A section, in its layers, the strongest first.
pub(super) struct Layers<'a> {
    report: &'a Report,
    path: Vec<String>,
    tables: Vec<Table<'a>>,
    /// The number of tables that are this very section; those after them are `defaults`.
    own: usize,
    listing: Listing,
}

/// The choice to add values to the listing of effective values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    Listed,
    Unlisted,
}

impl<'a> Layers<'a> {
    /// The root of a configuration.
    pub(super) fn root(
        report: &'a Report,
        variables: &'a Variables,
        file: &'a Map<String, Value>,
    ) -> Self {
        let sources = [Values::Variables(variables), Values::File(file)];
        let tables: Vec<_> =
            sources.into_iter().map(|values| Table { path: String::new(), values }).collect();
        let own = tables.len();
        Self { report, path: Vec::new(), tables, own, listing: Listing::Listed }
    }

    /// Puts this section on top of `defaults`.
    pub(super) fn over(mut self, defaults: Self) -> Self {
        self.tables.extend(defaults.tables);
        self
    }

    /// The same section; its values are checked, but not listed.
    pub(super) fn unlisted(&self) -> Self {
        Self {
            path: self.path.clone(),
            tables: self.tables.clone(),
            listing: Listing::Unlisted,
            ..*self
        }
    }

    pub(super) fn report(&self) -> &'a Report {
        self.report
    }

    /// Reads an option without listing it.
    pub(super) fn get<T: OptionType>(&self, row: &OptionRow<T>) -> Option<Sourced<T::Value>> {
        self.strongest(&self.tables, row.key, &row.kind)
    }

    /// Reads an option with a default.
    pub(super) fn get_or<T: OptionType>(&self, row: &OptionRow<T>, default: T::Value) -> T::Value {
        self.get_or_url(row, None, default)
    }

    /// Reads an option that the target's URL can set: stronger than `defaults`, weaker than the rest.
    pub(super) fn get_or_url<T: OptionType>(
        &self,
        row: &OptionRow<T>,
        url: Option<T::Value>,
        default: T::Value,
    ) -> T::Value {
        let (own, defaults) = self.tables.split_at(self.own);
        let own = self.strongest(own, row.key, &row.kind);
        let defaults = self.strongest(defaults, row.key, &row.kind);
        let url = url.map(|value| Sourced { value, origin: Origin::Url });
        let found = own.or(url).or(defaults).unwrap_or(Sourced::default(default));
        self.list(row.key, row.kind.show(&found.value), found.origin);
        found.value
    }

    /// Reads an option of this very section, not of `defaults`, that may be absent.
    pub(super) fn own<T: OptionType>(&self, row: &OptionRow<T>) -> Option<Sourced<T::Value>> {
        self.entry(row.key, &row.kind)
    }

    /// Reads an option of this very section, with a default.
    pub(super) fn own_or<T: OptionType>(&self, row: &OptionRow<T>, default: T::Value) -> T::Value {
        let found = self.own_unlisted(row).unwrap_or(Sourced::default(default));
        self.list(row.key, row.kind.show(&found.value), found.origin);
        found.value
    }

    /// Reads an option of this very section that must be present.
    pub(super) fn required<T: OptionType>(&self, row: &OptionRow<T>) -> Option<T::Value> {
        if !self.has(row) {
            self.refuse(row.key, &Origin::Default, "is missing");
            return None;
        }
        self.own(row).map(|found| found.value)
    }

    /// Reads an option of this very section without listing it.
    pub(super) fn own_unlisted<T: OptionType>(
        &self,
        row: &OptionRow<T>,
    ) -> Option<Sourced<T::Value>> {
        self.strongest(self.owned(), row.key, &row.kind)
    }

    /// Reads a value of this very section by a name that the user chose.
    pub(super) fn entry<T: OptionType>(&self, name: &str, kind: &T) -> Option<Sourced<T::Value>> {
        let found = self.strongest(self.owned(), name, kind);
        let (shown, origin) = match &found {
            Some(found) => (kind.show(&found.value), found.origin.clone()),
            None => ("none".to_owned(), Origin::Default),
        };
        self.list(name, shown, origin);
        found
    }

    /// Reports whether this very section has a key.
    pub(super) fn has<T>(&self, row: &OptionRow<T>) -> bool {
        self.owned().iter().any(|table| table.has(row.key))
    }

    /// Reports whether a key of this very section is a table of keys in the file.
    pub(super) fn has_table(&self, key: &str) -> bool {
        self.owned().iter().any(|table| match table.values {
            Values::File(values) => {
                find(values, key).is_some_and(|value| matches!(value.kind, ValueKind::Table(_)))
            }
            Values::Variables(_) => false,
        })
    }

    /// A section within this one.
    pub(super) fn section(&self, key: &str) -> Layers<'a> {
        let (own, defaults) = self.tables.split_at(self.own);
        let below = |tables: &[Table<'a>]| -> Vec<_> {
            tables.iter().filter_map(|table| table.section(key)).collect()
        };
        let mut tables = below(own);
        let own = tables.len();
        tables.extend(below(defaults));
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        Layers { report: self.report, path, tables, own, listing: self.listing }
    }

    /// A section of this very section, not of `defaults`.
    pub(super) fn own_section(&self, key: &str) -> Layers<'a> {
        let mut section = self.section(key);
        section.tables.truncate(section.own);
        section
    }

    /// Reads a switch that can also be a table of keys, which means true.
    pub(super) fn switch(&self, row: &OptionRow<Switch>, default: bool) -> Sourced<bool> {
        let mut found = None;
        for table in &self.tables {
            let Some((raw, _, origin)) = table.value(row.key) else { continue };
            let is_table = matches!(table.values, Values::File(values)
                if find(values, row.key).is_some_and(|v| matches!(v.kind, ValueKind::Table(_))));
            let value = if is_table { Some(true) } else { row.kind.parse(&raw) };
            if value.is_none() {
                self.refuse(row.key, &origin, "must be true, false or a table of keys");
            }
            found = found.or(value.map(|value| Sourced { value, origin }));
        }
        found.unwrap_or(Sourced::default(default))
    }

    /// The names in this very section that are valid.
    pub(super) fn names(&self, is_valid: fn(&str) -> bool) -> Vec<String> {
        let names: BTreeSet<&str> = self.owned().iter().flat_map(Table::names).collect();
        names.into_iter().filter(|name| is_valid(name)).map(str::to_owned).collect()
    }

    /// Adds a value to the listing of effective values.
    pub(super) fn list(&self, key: &str, shown: String, origin: Origin) {
        if self.listing == Listing::Listed {
            let path = self.path.iter().cloned().chain(key.split('.').map(str::to_owned));
            self.report.list(path.collect(), shown, origin);
        }
    }

    /// Refuses a value of this section, at the place that set it.
    pub(super) fn refuse(&self, key: &str, origin: &Origin, message: impl Into<String>) {
        self.report.refuse(self.place(key, origin), message);
    }

    /// The place that set a key, otherwise the place in the file that could set it.
    pub(super) fn place(&self, key: &str, origin: &Origin) -> String {
        match origin {
            Origin::File(path) => path.clone(),
            Origin::Variable(name) => name.clone(),
            Origin::Default | Origin::Url | Origin::Flag(_) => join(&self.path.join("."), key),
        }
    }

    fn owned(&self) -> &[Table<'a>] {
        self.tables.get(..self.own).unwrap_or_default()
    }

    /// Reads a key in some tables, the strongest first; all of them are checked.
    fn strongest<T: OptionType>(
        &self,
        tables: &[Table<'a>],
        key: &str,
        kind: &T,
    ) -> Option<Sourced<T::Value>> {
        let mut strongest = None;
        for table in tables {
            let found = self.read(table, key, kind);
            strongest = strongest.or(found);
        }
        strongest
    }

    fn read<T: OptionType>(
        &self,
        table: &Table<'a>,
        key: &str,
        kind: &T,
    ) -> Option<Sourced<T::Value>> {
        let (raw, grammar, origin) = table.value(key)?;
        let value = kind.parse(&raw);
        if value.is_none() {
            self.refuse(key, &origin, format!("must be {}", kind.allowed(grammar)));
        }
        value.map(|value| Sourced { value, origin })
    }
}
