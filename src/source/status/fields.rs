//! Reading fields of JSON objects, with the path of each for messages.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::StatusError;

/// The largest count. Samples are 64-bit floats, which are exact only up to this number; real counts stay
/// far below.
const LARGEST: u64 = 1 << 53;

/// The maximum number of keys of a map, and of numbers of a list.
const MANY: usize = 1000;

/// An object, and its path.
pub(super) struct Fields<'v> {
    path: String,
    fields: &'v Map<String, Value>,
}

impl<'v> Fields<'v> {
    /// The object that is the whole text.
    pub(super) fn root(value: &'v Value) -> Option<Self> {
        Some(Self { path: String::new(), fields: value.as_object()? })
    }

    /// The error for a field.
    pub(super) fn nonsense(&self, key: &str, problem: &'static str) -> StatusError {
        let dot = if self.path.is_empty() { "" } else { "." };
        StatusError::Nonsense { path: format!("{}{dot}{key}", self.path), problem }
    }

    /// A field; null is as good as absent.
    fn get(&self, key: &str) -> Option<&'v Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        key: &str,
        problem: &'static str,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Result<Option<T>, StatusError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| self.nonsense(key, problem))
    }

    /// An object below this one.
    pub(super) fn section(&self, key: &str) -> Result<Option<Fields<'v>>, StatusError> {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{key}", self.path);
        let fields = self.read(key, "is not an object", Value::as_object)?;
        Ok(fields.map(|fields| Fields { path, fields }))
    }

    /// An object that must be there.
    pub(super) fn required(&self, key: &str) -> Result<Fields<'v>, StatusError> {
        self.section(key)?.ok_or_else(|| self.nonsense(key, "is missing"))
    }

    /// A count of things or events.
    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, StatusError> {
        self.read(key, "is not a whole number from 0", count)
    }

    /// A count that can be a limit.
    pub(super) fn small(&self, key: &str) -> Result<Option<u32>, StatusError> {
        self.read(key, "is not a whole number from 0", |value| {
            count(value).map(|count| u32::try_from(count).unwrap_or(u32::MAX))
        })
    }

    /// A limit with -1 for none.
    pub(super) fn limit(&self, key: &str) -> Result<Option<Option<u32>>, StatusError> {
        self.read(key, "is not a whole number from 0, or -1", |value| {
            if value.as_i64() == Some(-1) {
                return Some(None);
            }
            count(value).map(|count| Some(u32::try_from(count).unwrap_or(u32::MAX)))
        })
    }

    /// A whole number that may be below 0.
    pub(super) fn signed(&self, key: &str) -> Result<Option<i64>, StatusError> {
        self.read(key, "is not a whole number", Value::as_i64)
    }

    /// A duration, or another number that cannot be negative.
    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, StatusError> {
        self.read(key, "is not a number from 0", number)
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'v str>, StatusError> {
        self.read(key, "is not a text", Value::as_str)
    }

    /// Counts by names that others choose.
    pub(super) fn map(&self, key: &str) -> Result<Option<BTreeMap<String, u64>>, StatusError> {
        self.read(key, "holds what is not a whole number from 0", |value| {
            let fields = value.as_object().filter(|fields| fields.len() <= MANY)?;
            fields.iter().map(|(name, value)| Some((name.clone(), count(value)?))).collect()
        })
    }

    /// A list of counts; an absent one is empty.
    pub(super) fn counts(&self, key: &str) -> Result<Vec<u64>, StatusError> {
        let list = self.read(key, "is not a list of whole numbers from 0", |value| {
            list(value)?.iter().map(count).collect()
        })?;
        Ok(list.unwrap_or_default())
    }

    /// A list of numbers; an absent one is empty.
    pub(super) fn numbers(&self, key: &str) -> Result<Vec<f64>, StatusError> {
        let list = self.read(key, "is not a list of numbers from 0", |value| {
            list(value)?.iter().map(number).collect()
        })?;
        Ok(list.unwrap_or_default())
    }
}

fn count(value: &Value) -> Option<u64> {
    value.as_u64().filter(|count| *count <= LARGEST)
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite() && *number >= 0.0)
}

fn list(value: &Value) -> Option<&Vec<Value>> {
    value.as_array().filter(|list| list.len() <= MANY)
}
