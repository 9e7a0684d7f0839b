//! Reads columns of a server's answer by name, so that a view's SELECT list can change its order.

use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// The error when a view cannot be read although the server answered.
#[derive(Debug, Error)]
pub enum ViewError {
    /// No row where there must be one.
    #[error("the server's answer has no row")]
    NoRow,
    /// A column is missing, or has another type.
    #[error("the server's answer has no column {column} of the expected type")]
    Column {
        /// Its name in the view's statement.
        column: &'static str,
        /// The client library's reason.
        source: tokio_postgres::Error,
    },
    /// The view reads an extension that this database does not have.
    #[error("the extension {0} is not installed in this database")]
    NoExtension(&'static str),
}

/// A column of a row.
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, name: &'static str) -> Result<T, ViewError> {
    row.try_get(name).map_err(|source| ViewError::Column { column: name, source })
}

/// A count in a column of type `int8`.
pub(super) fn count(row: &Row, name: &'static str) -> Result<u64, ViewError> {
    Ok(u64::try_from(column::<i64>(row, name)?).unwrap_or(0))
}

/// A time in a column of type `float8` that holds milliseconds.
pub(super) fn milliseconds(row: &Row, name: &'static str) -> Result<Duration, ViewError> {
    let ms: f64 = column(row, name)?;
    Ok(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default())
}

/// An age in a column of type `float8` that holds seconds; NULL is `None`.
///
/// The server's clock can step back, which makes an age negative: that is 0.
pub(super) fn age(row: &Row, name: &'static str) -> Result<Option<Duration>, ViewError> {
    let seconds: Option<f64> = column(row, name)?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}
