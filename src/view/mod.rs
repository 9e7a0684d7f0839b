//! What the server tells us beside our own pool: one file a view.

mod usage;

pub use usage::{Source, Usage};
