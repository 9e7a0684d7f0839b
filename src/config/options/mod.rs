//! The table of options: every key of the file and every variable, with its type and its description.
//!
//! One row an option. Reading ([`super::layers`]), the search for unknown keys ([`super::schema`]), the
//! variables ([`super::environment`]) and the reference pages ([`super::reference`]) follow from the rows.
//! Defaults are not here: they belong to the rooms that use the values. The reference reads them from a
//! configuration in which nothing is set.

mod application;
mod auth;
mod target;
mod view;

pub(super) use application::*;
pub(super) use auth::*;
pub(super) use target::*;
pub(super) use view::switch as view_switch;

use super::kind::{Checked, Globs, Grammar, OptionType, Switch, Whole};
use crate::view::{CONSOLE_VIEWS, VIEWS, View};

/// One option.
#[derive(Clone, Copy)]
pub(super) struct OptionRow<T> {
    /// The path of its key, below the section that the group belongs to.
    pub(super) key: &'static str,
    /// Its variables: one for the value, and one for a file with the value.
    pub(super) variables: [Option<Variable>; 2],
    /// The values allowed.
    pub(super) kind: T,
    /// The default in words, where it depends on other options.
    pub(super) default: Option<&'static str>,
    /// A value for the example file, where there is no default.
    pub(super) example: Option<&'static str>,
    /// A description in Markdown.
    pub(super) doc: &'static str,
}

/// A variable of an option.
#[derive(Clone, Copy)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    /// The notation of durations in it.
    pub(super) grammar: Grammar,
    /// The variable holds the path of a file with the value.
    pub(super) is_file: bool,
    /// A description of its own, if the option's does not fit.
    pub(super) doc: Option<&'static str>,
}

const fn row<T>(key: &'static str, kind: T, doc: &'static str) -> OptionRow<T> {
    OptionRow { key, variables: [None, None], kind, default: None, example: None, doc }
}

// `Copy` promises that nothing has to be dropped, which a `const fn` could not do.
impl<T: Copy> OptionRow<T> {
    /// The variable of the application: durations in plain seconds.
    const fn app_variable(self, name: &'static str) -> Self {
        self.variable(Variable { name, grammar: Grammar::Seconds, is_file: false, doc: None })
    }

    /// A variable of the exporter's own: durations also with units.
    const fn own_variable(self, name: &'static str) -> Self {
        self.variable(Variable { name, grammar: Grammar::Units, is_file: false, doc: None })
    }

    /// A variable with the path of a file that holds the value.
    const fn file_variable(self, name: &'static str, doc: &'static str) -> Self {
        let grammar = Grammar::Seconds;
        let variable = Variable { name, grammar, is_file: true, doc: Some(doc) };
        Self { variables: [self.variables[0], Some(variable)], ..self }
    }

    const fn variable(self, variable: Variable) -> Self {
        Self { variables: [Some(variable), self.variables[1]], ..self }
    }

    /// A default that depends on other options, in words.
    const fn default(self, words: &'static str) -> Self {
        Self { default: Some(words), ..self }
    }

    /// A value for the example file.
    const fn example(self, value: &'static str) -> Self {
        Self { example: Some(value), ..self }
    }
}

/// A row without the type of its value.
pub(super) trait Row: Sync {
    fn key(&self) -> &'static str;
    fn variables(&self) -> [Option<Variable>; 2];
    fn default(&self) -> Option<&'static str>;
    fn example(&self) -> Option<&'static str>;
    fn doc(&self) -> &'static str;
    fn range(&self, grammar: Grammar) -> String;
    fn as_variable(&self, shown: &str, grammar: Grammar) -> String;
    fn is_section(&self) -> bool;
}

impl<T: OptionType + Sync> Row for OptionRow<T> {
    fn key(&self) -> &'static str {
        self.key
    }

    fn variables(&self) -> [Option<Variable>; 2] {
        self.variables
    }

    fn default(&self) -> Option<&'static str> {
        self.default
    }

    fn example(&self) -> Option<&'static str> {
        self.example
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn range(&self, grammar: Grammar) -> String {
        self.kind.range(grammar)
    }

    fn as_variable(&self, shown: &str, grammar: Grammar) -> String {
        self.kind.as_variable(shown, grammar)
    }

    fn is_section(&self) -> bool {
        self.kind.range(Grammar::Units) == "table"
    }
}

/// Declares options, and the table of them, so that no option can be missing from the table.
macro_rules! options {
    ($(#[$doc:meta])* $table:ident: $($name:ident: $type:ty = $row:expr;)*) => {
        $(pub(crate) const $name: $crate::config::options::OptionRow<$type> = $row;)*

        $(#[$doc])*
        pub(crate) const $table: &[&dyn $crate::config::options::Row] = &[$(&$name),*];
    };
}
use options;

options! {
    /// Options of the configuration as a whole.
    GENERAL:

    APP_ENV: Checked = row(
        "app_env",
        Checked(is_app_env, "a name of letters, digits, `-` and `_`, such as `production`"),
        "`production`: JSON logs, the built-in URL is refused, warnings where pre-ping or TLS is off, and the guards \
         of [Security](security.md#the-web-side)",
    ).app_variable("APP_ENV");

    MAX_CONCURRENT_PROBES: Whole = row(
        "max_concurrent_probes",
        Whole(1, 10_000, ""),
        "how many probes may start at once; one that has run for a quarter of a second no longer counts. See \
         [many databases on one server](how-it-works.md#many-databases-on-one-server)",
    ).own_variable("DB_MONITOR_MAX_CONCURRENT_PROBES").default("8 for each processor").example("16");

    TARGETS_FROM: Globs = row(
        "targets_from",
        Globs,
        "files with more targets, by patterns: `*` stands for any characters of a file's name, not of a folder's. Each \
         file has `targets:` alone, and is watched; a broken one is refused by itself, and what it last had lives on. \
         See [files of targets](scaling.md#targets-in-files-of-their-own)",
    ).default("none").example("[ \"conf.d/*.yml\" ]");

    ENABLED: Switch = row(
        "enabled",
        Switch,
        "`false`: no probe and no connection; `/metrics` still answers, the health and the pool's endpoints answer 503",
    ).own_variable("DB_MONITOR_ENABLED");
}

fn is_app_env(name: &str) -> bool {
    name.len() <= 40 && super::names::is_name(name)
}

/// The sections that may hold an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The top of the file.
    Top,
    /// `defaults`, and each target.
    DefaultsAndTargets,
    /// Each target.
    Targets,
    /// Each application of a target.
    Applications,
    /// Each authentication module.
    AuthModules,
}

/// A group of options with the sections that may hold them.
pub(super) struct Group {
    pub(super) place: Place,
    /// Sections in the file; `*` stands for a name chosen by the user.
    pub(super) sections: &'static [&'static str],
    /// The section that variables describe.
    pub(super) variables: &'static str,
    rows: Rows,
}

/// The options of a group.
enum Rows {
    Options(&'static [&'static dyn Row]),
    /// The switches of these views.
    Views(&'static [&'static View]),
}

impl Group {
    pub(super) fn rows(&self) -> Vec<&'static dyn Row> {
        match self.rows {
            Rows::Options(rows) => rows.to_vec(),
            Rows::Views(views) => views.iter().map(|view| *view as &dyn Row).collect(),
        }
    }
}

/// All options, in the order of the reference.
pub(super) const GROUPS: &[Group] = &[
    Group { place: Place::Top, sections: &[""], variables: "", rows: Rows::Options(GENERAL) },
    Group {
        place: Place::Targets,
        sections: &["targets.*"],
        variables: "targets.default",
        rows: Rows::Options(TARGET),
    },
    Group {
        place: Place::Targets,
        sections: &["targets.*", "auth_modules.*.userpass"],
        variables: "targets.default",
        rows: Rows::Options(PASSWORD),
    },
    Group {
        place: Place::DefaultsAndTargets,
        sections: &["defaults", "targets.*"],
        variables: "targets.default",
        rows: Rows::Options(COMMON),
    },
    Group {
        place: Place::DefaultsAndTargets,
        sections: &["defaults", "targets.*"],
        variables: "targets.default",
        rows: Rows::Views(CONSOLE_VIEWS),
    },
    Group {
        place: Place::DefaultsAndTargets,
        sections: &["defaults", "targets.*"],
        variables: "targets.default",
        rows: Rows::Views(VIEWS),
    },
    Group {
        place: Place::DefaultsAndTargets,
        sections: &["defaults", "targets.*"],
        variables: "targets.default",
        rows: Rows::Options(VIEW_DETAILS),
    },
    Group {
        place: Place::Applications,
        sections: &["targets.*.applications.*"],
        variables: "targets.default.applications.default",
        rows: Rows::Options(APPLICATION),
    },
    Group {
        place: Place::AuthModules,
        sections: &["auth_modules.*"],
        variables: "",
        rows: Rows::Options(AUTH_MODULE),
    },
];

/// A variable and the path of the option that it sets.
pub(super) struct VariableRow {
    pub(super) variable: Variable,
    pub(super) path: String,
}

/// Every variable, in the order of the reference.
pub(super) fn variables() -> impl Iterator<Item = VariableRow> {
    GROUPS.iter().flat_map(|group| {
        group.rows().into_iter().flat_map(|row| {
            let path = super::names::join(group.variables, row.key());
            row.variables()
                .into_iter()
                .flatten()
                .map(move |variable| VariableRow { variable, path: path.clone() })
        })
    })
}
