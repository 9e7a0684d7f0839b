//! One pass over one target, again and again, and what it learned.

mod settings;

pub use settings::{Kind, Schedule, Settings};
