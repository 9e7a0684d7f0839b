//! The answer to a console command, read by column name.
//!
//! Consoles answer in the simple protocol, where every value is text: `int4`, `int8` and `numeric` differ between
//! versions in the type alone, and some numbers are padded with spaces. Columns come and go and change their place.

use std::collections::BTreeMap;

use tokio::time::Instant;
use tokio_postgres::SimpleQueryMessage;

use crate::view::column::ViewError;

/// The rows of one command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// Takes over an answer. An answer without a description of rows is a table without columns: until version
    /// 1.11, PgBouncer answers SHOW VERSION with a notice.
    pub fn of(messages: &[SimpleQueryMessage]) -> Self {
        let mut table = Self::default();
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(columns) => {
                    table.columns = columns.iter().map(|column| column.name().to_owned()).collect();
                }
                SimpleQueryMessage::Row(row) => {
                    let value = |place| match row.try_get(place) {
                        Ok(value) => value.map(str::to_owned),
                        // A name that is not UTF-8. Its row is not lost for it.
                        Err(_) => Some(char::REPLACEMENT_CHARACTER.to_string()),
                    };
                    table.rows.push((0..row.len()).map(value).collect());
                }
                SimpleQueryMessage::CommandComplete(_) | _ => {}
            }
        }
        table
    }

    /// A table from its parts; each row has a value for each column.
    pub fn new(columns: &[&str], rows: &[Vec<Option<&str>>]) -> Self {
        let rows = rows.iter().map(|row| row.iter().map(|v| v.map(str::to_owned)).collect());
        Self { columns: columns.iter().map(|c| (*c).to_owned()).collect(), rows: rows.collect() }
    }

    /// Reports whether it has a column of this name.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// The rows, in the console's order.
    pub(super) fn rows(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|values| Record { columns: &self.columns, values })
    }

    /// A table of two columns as a map: the first one's text to the other one's.
    pub(super) fn pairs(&self, key: &str, value: &str) -> BTreeMap<&str, &str> {
        self.rows().filter_map(|row| Some((row.text(key)?, row.text(value)?))).collect()
    }
}

/// A row of a [`Table`].
#[derive(Clone, Copy)]
pub(super) struct Record<'t> {
    columns: &'t [String],
    values: &'t [Option<String>],
}

impl<'t> Record<'t> {
    /// The text in a column; `None` where there is no such column, or NULL in it.
    pub(super) fn text(self, column: &str) -> Option<&'t str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.values.get(place)?.as_deref()
    }

    /// A number of 0 or more; `None` also where the text is not one.
    pub(super) fn number(self, column: &str) -> Option<f64> {
        let number: f64 = self.text(column)?.trim().parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number)
    }

    /// A count; `None` as for [`Self::number`].
    pub(super) fn count(self, column: &str) -> Option<u64> {
        count(self.text(column)?)
    }

    /// A flag: `1`, `t`, `true` or `yes` for true.
    pub(super) fn flag(self, column: &str) -> Option<bool> {
        self.text(column).map(is_true)
    }
}

/// Reads a count, padded or not.
pub(super) fn count(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Reads a flag in any of the spellings that consoles have.
pub(super) fn is_true(text: &str) -> bool {
    matches!(text.trim(), "1" | "t" | "true" | "yes")
}

/// The answers of one visit to a console.
pub struct ConsoleAnswers {
    /// The parameter `server_version` of the connection.
    pub server_version: String,
    /// The process id that the connection has in the console, which tells connections apart.
    pub connection: i32,
    /// True if the connection is over TCP. Processes can share a TCP port, but not a Unix socket.
    pub is_tcp: bool,
    /// When the last answer came.
    pub at: Instant,
    /// The answers, by command. A command that the console does not have is missing.
    pub tables: BTreeMap<&'static str, Table>,
}

impl ConsoleAnswers {
    /// The answer to a command; `None` where the console does not have the command.
    pub(super) fn get(&self, command: &str) -> Option<&Table> {
        self.tables.get(command)
    }

    /// The answer to a command that every console has, with these columns.
    pub(super) fn required(
        &self,
        command: &str,
        columns: &[&'static str],
    ) -> Result<&Table, ViewError> {
        let table = self.get(command).ok_or(ViewError::NoRow)?;
        match columns.iter().find(|column| !table.has(column)) {
            Some(column) => Err(ViewError::NoColumn(column)),
            None => Ok(table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whatever_their_type_and_padding() {
        let texts = ["7", "       7", "7.000", "t", "", "-1", "NaN", "18446744073709551615"];
        let rows = texts.map(|text| vec![Some(text)]);
        let table = Table::new(&["n"], &rows);
        let numbers: Vec<Option<f64>> = table.rows().map(|row| row.number("n")).collect();
        let seven = Some(7.0);
        let largest = Some(18_446_744_073_709_551_615.0);
        assert_eq!(numbers, [seven, seven, seven, None, None, None, None, largest]);
        let counts: Vec<Option<u64>> = table.rows().map(|row| row.count("n")).collect();
        assert_eq!(counts[..2], [Some(7), Some(7)]);
        assert_eq!((counts[5], counts[7]), (None, Some(u64::MAX)));
    }

    #[test]
    fn null_and_a_missing_column_are_nothing() {
        let table = Table::new(&["a", "b"], &[vec![None, Some("x")]]);
        let row = table.rows().next().unwrap();
        assert_eq!((row.text("a"), row.text("b"), row.text("c")), (None, Some("x"), None));
        assert!(table.has("a") && !table.has("c"));
    }
}
