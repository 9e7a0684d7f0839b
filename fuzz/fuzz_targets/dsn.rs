//! Database URLs: `cargo +nightly fuzz run dsn`. The corpus also runs as `tests/dsn_corpus.rs`.

#![no_main]

#[path = "../dsn_check.rs"]
mod dsn_check;

libfuzzer_sys::fuzz_target!(|text: &str| dsn_check::check(text));
