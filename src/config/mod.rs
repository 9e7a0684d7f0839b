//! From what users write to what the rooms need.

pub mod web;
