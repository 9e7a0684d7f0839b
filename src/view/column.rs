//! Reads columns of a server's answer by name, so that a view's SELECT list can change its order.

use std::error::Error;
use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// The error when a view cannot be read although the server answered.
#[derive(Debug, thiserror::Error)]
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
    /// A column is missing in the answer of a pooler's console.
    #[error("the console's answer has no column {0}")]
    NoColumn(&'static str),
    /// The view reads an extension that this database does not have.
    #[error("the extension {0} is not installed in this database")]
    NoExtension(&'static str),
}

/// A column of a row.
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, name: &'static str) -> Result<T, ViewError> {
    row.try_get(name).map_err(|source| ViewError::Column { column: name, source })
}

/// A text that others have written.
///
/// The server keeps names and statements of all databases in one place, each in the encoding of its own
/// database, and sends them as they are. What is not UTF-8 is replaced: a row is never lost for a text.
struct ForeignText(String);

impl<'r> FromSql<'r> for ForeignText {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(String::from_utf8_lossy(raw).into_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        [Type::TEXT, Type::NAME, Type::VARCHAR, Type::BPCHAR, Type::UNKNOWN].contains(ty)
    }
}

/// A text; NULL is `None`.
pub(super) fn text_if_any(row: &Row, name: &'static str) -> Result<Option<String>, ViewError> {
    Ok(column::<Option<ForeignText>>(row, name)?.map(|text| text.0))
}

/// A text; NULL is empty.
pub(super) fn text(row: &Row, name: &'static str) -> Result<String, ViewError> {
    Ok(text_if_any(row, name)?.unwrap_or_default())
}

/// The texts of an array.
pub(super) fn texts(row: &Row, name: &'static str) -> Result<Vec<String>, ViewError> {
    Ok(column::<Vec<ForeignText>>(row, name)?.into_iter().map(|text| text.0).collect())
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
