//! A database URL.
