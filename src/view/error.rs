//! Why a view could not be read although the server answered.

use thiserror::Error;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// A server's answer that is not what the view's statement asks for.
#[derive(Debug, Error)]
pub enum ViewError {
    /// No row where there must be one.
    #[error("the server's answer has no row")]
    Empty,
    /// A column is missing, or has another type.
    #[error("the server's answer has no such column {column}")]
    Column {
        /// Its number, from 0.
        column: usize,
        /// What the client library says.
        source: tokio_postgres::Error,
    },
}

/// A column of a row.
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T, ViewError> {
    row.try_get(column).map_err(|source| ViewError::Column { column, source })
}
