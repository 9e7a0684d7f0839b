//! Finds an extension: it can be in any schema, and in any of its versions.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::column::{ViewError, column};
use super::row::Query;

/// An extension that is installed in the target's database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The schema that holds its functions, quoted.
    pub schema: String,
    /// Major and minor version. Often older than the server: an upgrade of the server keeps it.
    pub version: (u32, u32),
}

impl Extension {
    /// The statement that looks an extension up.
    pub(crate) fn find(name: &'static str) -> Query {
        let sql = "SELECT pg_catalog.quote_ident(n.nspname) AS schema, e.extversion AS version \
                   FROM pg_catalog.pg_extension e \
                   JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = $1";
        Query::new(sql).with(name, Type::TEXT)
    }

    /// Reads the rows of [`Extension::find`].
    ///
    /// # Errors
    /// The extension is not installed, or a column is not as expected.
    pub(crate) fn read(name: &'static str, rows: &[Row]) -> Result<Self, ViewError> {
        let row = rows.first().ok_or(ViewError::NoExtension(name))?;
        Ok(Self::new(column(row, "schema")?, column(row, "version")?))
    }

    pub(super) fn new(schema: String, version: &str) -> Self {
        let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
        Self { schema, version: (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) }
    }
}
