//! What of the server's side is looked at, and whether writing is probed.

use super::layers::Layers;
use super::unit::{Checked, Switch, Whole};
use crate::probe::write;
use crate::view::{ViewSettings, statements};

/// Which views are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Views {
    /// Sessions, by state and application.
    pub activity: bool,
    /// What the server allows.
    pub limits: bool,
    /// Statistics of databases.
    pub databases: bool,
    /// Statistics of statements, off until asked for.
    pub statements: Option<Statements>,
}

/// How statements are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements {
    /// How many, those that took longest.
    pub top: u32,
    /// Whether their text is shown.
    pub show_text: bool,
}

/// How writing is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteProbe {
    /// Whether it is.
    pub enabled: bool,
    /// Into which table, perhaps with its schema.
    pub table: String,
    /// How many rows at a time.
    pub rows: u32,
    /// Whether as one statement, `DB_USE_INSERTMANYVALUES`.
    pub insert_many: bool,
}

impl Statements {
    fn looked_at(&self) -> statements::StatementsSettings {
        statements::StatementsSettings { top: self.top, show_text: self.show_text }
    }
}

impl Views {
    /// With what holds for all views.
    pub(super) fn looked_at(&self, common: ViewSettings) -> ViewSettings {
        ViewSettings {
            activity: self.activity,
            limits: self.limits,
            databases: self.databases,
            statements: self.statements.as_ref().map(Statements::looked_at),
            ..common
        }
    }
}

impl WriteProbe {
    /// As it is done; `None`: not at all.
    pub(super) fn wanted(&self) -> Option<write::WriteProbeSettings> {
        let table = write::Table::new(&self.table).ok().filter(|_| self.enabled)?;
        let (rows, use_insertmanyvalues) = (self.rows, self.insert_many);
        Some(write::WriteProbeSettings { table, rows, use_insertmanyvalues })
    }
}

pub(super) fn views(layers: &Layers<'_>) -> Views {
    let activity = layers.settle("activity", &Switch, true).value;
    let limits = layers.settle("limits", &Switch, true).value;
    let databases = layers.settle("databases", &Switch, true).value;
    let statements = statements(layers);
    Views { activity, limits, databases, statements }
}

fn statements(layers: &Layers<'_>) -> Option<Statements> {
    let (given, section) = layers.switched("statements", false);
    let read = || Statements {
        top: section.settle("top", &Whole(1..=500, ""), 20).value,
        show_text: section.settle("show_text", &Switch, false).value,
    };
    if given.value {
        return Some(read());
    }
    layers.list("statements", "false".to_owned(), given.origin);
    section.unlisted(read);
    None
}

pub(super) fn write_probe(layers: &Layers<'_>) -> WriteProbe {
    let insert_many = layers.settle("use_insertmanyvalues", &Switch, true).value;
    let section = layers.sub("write_probe");
    let allowed = "a table's name of letters, digits and `_`, perhaps with its schema and a `.`";
    let table = "db_pool_exporter_heartbeat".to_owned();
    WriteProbe {
        enabled: section.settle("enabled", &Switch, false).value,
        table: section.settle("table", &Checked(is_table, allowed), table).value,
        rows: section.settle("rows", &Whole(1..=write::MOST_ROWS, ""), 10).value,
        insert_many,
    }
}

fn is_table(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let part = |part: &str| part.len() <= 63 && part.starts_with(first) && part.chars().all(plain);
    name.split('.').count() <= 2 && name.split('.').all(part)
}
