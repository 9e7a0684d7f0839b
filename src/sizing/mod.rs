//! The size of a pool: what the application needs, what the server gives, and whether both fit together.
//!
//! Rules of thumb disagree, because they answer four different questions: how many connections the application
//! uses at once, how long callers wait, how many sessions make the server faster, and how many connections the server
//! gives to all processes together. [`advise`] answers all four from measured [`Inputs`] and names the one that
//! decides. It is a pure function; the inputs come from a Prometheus ([`history`]) or from a few samples of a live
//! server. [`arithmetic`] is the rule of thumb for a pool that nobody has measured yet.

mod advise;
mod arithmetic;
mod chance;
mod demand;
mod history;
mod inputs;
mod text;

pub(crate) use advise::{Advice, Binding, Fit, Plan, advise};
pub(crate) use arithmetic::{Arithmetic, Estimate};
pub(crate) use demand::Basis;
pub(crate) use history::{HistoryRequest, LEAST_DATA, OfPool, read as read_history};
pub(crate) use inputs::{
    Inputs, Measured, PoolLimit, PoolNow, PoolUse, Processes, ServerRoom, Span, Spread,
};
pub(crate) use text::{arithmetic_in_words, in_words};
