//! Tables of what is accepted and refused, and properties of all of it.

mod environment;
mod parameters;
mod property;
mod refused;
mod table;
mod values;

use super::{Dsn, parse};

/// Writes the meaning of a text: `user|password|hosts|database|parameters`, the hosts as in the redacted URL.
fn meaning(dsn: &Dsn) -> String {
    let shown = dsn.to_string();
    let (place, query) = shown.split_once('?').unwrap_or((&shown, ""));
    let place = place.strip_prefix("postgresql://").expect("every redacted URL begins so");
    let place = place.split_once('@').map_or(place, |(_, place)| place);
    let hosts = place.split_once('/').map_or(place, |(hosts, _)| hosts);
    let password = dsn.password.as_ref().map_or("", |password| password.reveal());
    let (user, database) = (dsn.user.as_deref(), dsn.database.as_deref());
    format!(
        "{}|{password}|{hosts}|{}|{query}",
        user.unwrap_or_default(),
        database.unwrap_or_default()
    )
}

fn parsed(text: &str) -> Dsn {
    parse(text).unwrap_or_else(|errors| panic!("{text} is refused: {errors:?}"))
}

fn refusals(text: &str) -> Vec<String> {
    let errors = parse(text).err().unwrap_or_else(|| panic!("{text} is accepted"));
    errors.iter().map(ToString::to_string).collect()
}
