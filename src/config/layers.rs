//! Reading one section of the configuration through its layers: the strongest that says a thing wins.
//!
//! One call reads an option: it is checked in every layer (a bad value is told even where a stronger one
//! hides it), settled, and written down with where it came from. What nobody asked for when a section
//! is dropped is an unknown key.

use std::cell::RefCell;
use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};

use super::environment;
use super::listing::{Entry, Origin};
use super::unit::{Given, Grammar, Switch, Unit};
use crate::problem::{Problem, Problems};

/// What a run over the configuration writes down.
#[derive(Default)]
pub(super) struct Ledger {
    problems: RefCell<Problems>,
    entries: RefCell<Vec<Entry>>,
    warnings: RefCell<Vec<String>>,
}

impl Ledger {
    /// Notes a problem.
    pub(super) fn refuse(&self, place: impl Into<String>, message: impl Into<String>) {
        self.problems.borrow_mut().add(Problem::new(place, message));
    }

    /// Notes what does not keep us from running.
    pub(super) fn warn(&self, message: String) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&message) {
            warnings.push(message);
        }
    }

    /// Notes an effective value.
    pub(super) fn list(&self, path: &[String], key: &str, shown: String, origin: Origin) {
        let path = path.iter().cloned().chain([key.to_owned()]).collect();
        self.entries.borrow_mut().push(Entry { path, shown, origin });
    }

    /// All that was noted.
    pub(super) fn close(self) -> (Problems, Vec<Entry>, Vec<String>) {
        (self.problems.into_inner(), self.entries.into_inner(), self.warnings.into_inner())
    }
}

/// A value, and who said it.
#[derive(Clone)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Said<T> {
    /// What nobody said.
    pub(super) fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }
}

/// A table of one source.
struct Table<'a> {
    path: String,
    values: &'a Map<String, Value>,
    known: RefCell<BTreeSet<String>>,
}

impl<'a> Table<'a> {
    fn new(path: String, values: &'a Map<String, Value>) -> Self {
        Self { path, values, known: RefCell::default() }
    }

    fn place(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The value of a key, unless it is null; the key is known from now on.
    fn ask(&self, key: &str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key.to_owned());
        self.values.get(key).filter(|value| value.kind != ValueKind::Nil)
    }
}

/// A section, in its layers, the strongest first.
pub(super) struct Layers<'a> {
    ledger: &'a Ledger,
    path: Vec<String>,
    tables: Vec<Table<'a>>,
    /// How many of the tables are this very section; those after them are `defaults`.
    own: usize,
}

impl<'a> Layers<'a> {
    /// The root of a configuration, its sources from the strongest on.
    pub(super) fn root(ledger: &'a Ledger, sources: [&'a Map<String, Value>; 2]) -> Self {
        let tables = sources.map(|values| Table::new(String::new(), values)).into();
        Self { ledger, path: Vec::new(), tables, own: sources.len() }
    }

    /// This section on top of `defaults`, which say what it leaves open.
    pub(super) fn over(mut self, mut defaults: Self) -> Self {
        self.tables.append(&mut defaults.tables);
        self
    }

    pub(super) fn ledger(&self) -> &'a Ledger {
        self.ledger
    }

    /// An option that somebody has said.
    pub(super) fn said<U: Unit>(&self, key: &str, unit: &U) -> Option<Said<U::Value>> {
        self.first(&self.tables, key, unit)
    }

    /// An option with a default.
    pub(super) fn settle<U: Unit>(&self, key: &str, unit: &U, default: U::Value) -> Said<U::Value> {
        self.settle_with_url(key, unit, None, default)
    }

    /// An option that the target's URL can say too: stronger than `defaults`, weaker than the rest.
    pub(super) fn settle_with_url<U: Unit>(
        &self,
        key: &str,
        unit: &U,
        url: Option<U::Value>,
        default: U::Value,
    ) -> Said<U::Value> {
        let (own, defaults) = self.tables.split_at(self.own);
        let own = self.first(own, key, unit);
        let defaults = self.first(defaults, key, unit);
        let url = url.map(|value| Said { value, origin: Origin::Url });
        let said = own.or(url).or(defaults).unwrap_or(Said::default(default));
        self.list(key, unit.show(&said.value), said.origin.clone());
        said
    }

    /// An option that belongs to this very section, not to `defaults`, and may be absent.
    pub(super) fn own<U: Unit>(&self, key: &str, unit: &U) -> Option<Said<U::Value>> {
        let said = self.peek(key, unit);
        match &said {
            Some(said) => self.list(key, unit.show(&said.value), said.origin.clone()),
            None => self.list(key, "none".to_owned(), Origin::Default),
        }
        said
    }

    /// An option that belongs to this very section, and has a default.
    pub(super) fn own_or<U: Unit>(&self, key: &str, unit: &U, default: U::Value) -> Said<U::Value> {
        let said = self.peek(key, unit).unwrap_or(Said::default(default));
        self.list(key, unit.show(&said.value), said.origin.clone());
        said
    }

    /// An option of this very section that must be there.
    pub(super) fn must<U: Unit>(&self, key: &str, unit: &U) -> Option<Said<U::Value>> {
        if !self.has(key) {
            self.refuse(key, &Origin::Default, "is missing");
            return None;
        }
        self.own(key, unit)
    }

    /// An option of this very section that is looked at without being listed.
    pub(super) fn peek<U: Unit>(&self, key: &str, unit: &U) -> Option<Said<U::Value>> {
        self.first(self.owned(), key, unit)
    }

    /// Whether this very section has a key.
    pub(super) fn has(&self, key: &str) -> bool {
        let asked: Vec<_> = self.owned().iter().map(|table| table.ask(key).is_some()).collect();
        asked.contains(&true)
    }

    /// A section within this one.
    pub(super) fn sub(&self, key: &str) -> Layers<'a> {
        let (own, defaults) = self.tables.split_at(self.own);
        let open = |tables: &[Table<'a>]| -> Vec<_> {
            tables.iter().filter_map(|table| self.table(table, key)).collect()
        };
        let (own, defaults) = (open(own), open(defaults));
        self.within(key, own, defaults)
    }

    /// A section of this very section, not of `defaults`.
    pub(super) fn own_sub(&self, key: &str) -> Layers<'a> {
        let own = self.owned().iter().filter_map(|table| self.table(table, key)).collect();
        self.within(key, own, Vec::new())
    }

    /// The switch of a section that may also stand as `true` or `false` in its place.
    pub(super) fn switched(&self, key: &str, default: bool) -> (Said<bool>, Layers<'a>) {
        let mut found = None;
        let mut opened = [Vec::new(), Vec::new()];
        for (i, table) in self.tables.iter().enumerate() {
            let origin = Origin::File(table.place(key));
            let Some(value) = table.ask(key) else { continue };
            let switch = match (&value.kind, Switch.read(&Given::of(value))) {
                (ValueKind::Table(values), _) => {
                    let below = Table::new(table.place(key), values);
                    opened[usize::from(i >= self.own)].push(below);
                    Some(true)
                }
                (_, switch) => switch,
            };
            if switch.is_none() {
                self.refuse(key, &origin, "must be true, false or a table of keys");
            }
            found = found.or(switch.map(|value| Said { value, origin }));
        }
        let [own, defaults] = opened;
        (found.unwrap_or(Said::default(default)), self.within(key, own, defaults))
    }

    /// The keys of this very section, where users choose them; each must please `valid`.
    pub(super) fn names(&self, valid: fn(&str) -> bool, allowed: &str) -> Vec<String> {
        let mut names = BTreeSet::new();
        for table in self.owned() {
            for name in table.values.keys() {
                if valid(name) {
                    names.insert(name.clone());
                } else {
                    table.ask(name);
                    let place = table.place(&printable(name));
                    self.ledger.refuse(place, format!("the name must be {allowed}"));
                }
            }
        }
        names.into_iter().collect()
    }

    /// Lists a value that was settled elsewhere.
    pub(super) fn list(&self, key: &str, shown: String, origin: Origin) {
        self.ledger.list(&self.path, key, shown, origin);
    }

    /// Does work without listing the values that it settles.
    pub(super) fn unlisted<T>(&self, work: impl FnOnce() -> T) {
        let before = self.ledger.entries.borrow().len();
        work();
        self.ledger.entries.borrow_mut().truncate(before);
    }

    /// What is refused about a key of this section, at the place where it was said.
    pub(super) fn refuse(&self, key: &str, origin: &Origin, message: impl Into<String>) {
        self.ledger.refuse(self.place(key, origin), message);
    }

    /// Warns of what is checked, and has no effect in this version.
    pub(super) fn warn_unused(&self, place: &str) {
        self.ledger.warn(format!("{place} is read but not used by this version"));
    }

    /// The place of a key: where it was said, otherwise where it could have been.
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

    fn within(&self, key: &str, mut own: Vec<Table<'a>>, defaults: Vec<Table<'a>>) -> Layers<'a> {
        let path = self.path.iter().cloned().chain([key.to_owned()]).collect();
        let count = own.len();
        own.extend(defaults);
        Layers { ledger: self.ledger, path, tables: own, own: count }
    }

    /// The strongest of some tables; the others are checked all the same.
    fn first<U: Unit>(&self, tables: &[Table<'a>], key: &str, unit: &U) -> Option<Said<U::Value>> {
        let mut found = None;
        for table in tables {
            let said = self.read(table, key, unit);
            found = found.or(said);
        }
        found
    }

    fn table(&self, table: &Table<'a>, key: &str) -> Option<Table<'a>> {
        let value = table.ask(key)?;
        match &value.kind {
            ValueKind::Table(values) => Some(Table::new(table.place(key), values)),
            ValueKind::Nil
            | ValueKind::Boolean(_)
            | ValueKind::I64(_)
            | ValueKind::I128(_)
            | ValueKind::U64(_)
            | ValueKind::U128(_)
            | ValueKind::Float(_)
            | ValueKind::String(_)
            | ValueKind::Array(_) => {
                self.ledger.refuse(table.place(key), "must be a table of keys");
                None
            }
        }
    }

    fn read<U: Unit>(&self, table: &Table<'a>, key: &str, unit: &U) -> Option<Said<U::Value>> {
        let value = table.ask(key)?;
        let variable = environment::variable_of(value);
        let origin = match variable {
            Some(name) => Origin::Variable(name.to_owned()),
            None => Origin::File(table.place(key)),
        };
        let (given, grammar) = match (variable, &value.kind) {
            (Some(name), ValueKind::String(text)) => {
                let grammar = environment::grammar(name);
                (Given::Word(text, grammar), grammar)
            }
            _ => (Given::of(value), Grammar::Units),
        };
        let read = unit.read(&given);
        if read.is_none() {
            self.refuse(key, &origin, format!("must be {}", unit.allowed(grammar)));
        }
        read.map(|value| Said { value, origin })
    }
}

impl Drop for Layers<'_> {
    fn drop(&mut self) {
        for table in &self.tables {
            let known = table.known.borrow();
            for key in table.values.keys().filter(|key| !known.contains(*key)) {
                let place = table.place(&printable(key));
                self.ledger.refuse(place, format!("is not a known key{}", hint(key, &known)));
            }
        }
    }
}

/// A key as it may be shown: a mangled file can have anything in its place.
fn printable(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let shown = !key.is_empty() && key.len() <= 60 && key.chars().all(plain);
    if shown { key.to_owned() } else { "(a key that is no plain name)".to_owned() }
}

fn hint(key: &str, known: &BTreeSet<String>) -> String {
    let near = known.iter().min_by_key(|name| strsim::damerau_levenshtein(key, name));
    let close = near.filter(|name| strsim::damerau_levenshtein(key, name) <= 1 + key.len() / 4);
    close.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
