//! What a request asks of the status page: a target, or a part of the list in an order.

use crate::web::Request;

/// The targets that the list shows unless all are asked for: a longer page is slow to draw, and the worst
/// stand first.
pub(super) const FIRST: usize = 100;

/// The parameters of the status page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `target`: one target with all its details.
    pub(super) target: Option<String>,
    /// `filter`: a part of a target's name, host, database or label.
    pub(super) filter: String,
    /// `state`: only targets in this state; empty for all.
    pub(super) state: String,
    /// `sort`.
    pub(super) order: Order,
    /// `show=all`.
    pub(super) shows_all: bool,
    /// `part=main`: without the frame, for the script.
    pub(super) is_part: bool,
}

/// The order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// The worst state first, then the fullest.
    #[default]
    Worst,
    /// By name.
    Name,
    /// The fullest pool first.
    Fullest,
    /// The fewest connections left on the server first.
    Left,
}

impl Order {
    pub(super) const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Worst, "worst", "worst first"),
        (Self::Name, "name", "name"),
        (Self::Fullest, "fullest", "fullest pool first"),
        (Self::Left, "left", "least left on the server first"),
    ];
}

impl Query {
    /// Reads the parameters; a value that is not known counts as missing.
    pub(super) fn new(request: &Request) -> Self {
        let mut query = Self::default();
        for (name, value) in request.query() {
            match name.as_ref() {
                "target" if !value.is_empty() => query.target = Some(value.into_owned()),
                "filter" => query.filter = value.trim().to_owned(),
                "state" => query.state = value.into_owned(),
                "sort" => {
                    let known = Order::ALL.iter().find(|(_, word, _)| *word == value);
                    query.order = known.map(|(order, ..)| *order).unwrap_or_default();
                }
                "show" => query.shows_all = value == "all",
                "part" => query.is_part = value == "main",
                _ => {}
            }
        }
        query
    }
}
