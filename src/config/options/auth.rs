//! Options of an authentication module.

use strum::{IntoStaticStr, VariantArray};

use super::{options, row};
use crate::config::kind::{
    Choice, Grammar, List, OptionType, RawValue, Section, Text, Time, quote,
};
use crate::ondemand::Allowed;

/// The ways to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum AuthType {
    /// With a role and its password.
    Userpass,
}

options! {
    /// Options of each of `auth_modules`.
    AUTH_MODULE:

    AUTH_TYPE: Choice<AuthType> = row("type", Choice::new(), "how to log in").example("userpass");
    AUTH_USERNAME: Text = row(
        "userpass.username",
        Text("a role"),
        "the role; `password`, `password_file` and `password_command` stand beside it, as in a target",
    ).example("monitor");
    AUTH_OPTIONS: Section = row("options", Section, "parameters of the connection, as in a URL; they win over the request").default("none");
    AUTH_TIMEOUT: Time = row(
        "timeout",
        Time::new(10, 3600),
        "the limit of one probe; never longer than the scrape's own, or than 25 s",
    );
    AUTH_ALLOWED_TARGETS: List<AllowedTarget> = row(
        "allowed_targets",
        List(AllowedTarget),
        "the addresses that may be probed: patterns of names, networks; on port 5432, or on the port that follows (`:6432`, `:*` for any)",
    ).example("[\"*.db.internal:5432\", \"10.0.0.0/8\"]");
}

/// An entry of `allowed_targets`.
#[derive(Clone, Copy)]
pub(in crate::config) struct AllowedTarget;

impl OptionType for AllowedTarget {
    type Value = Allowed;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Allowed> {
        Allowed::parse(&Text("").parse(raw)?)
    }

    fn allowed(&self, _: Grammar) -> String {
        "a pattern of names such as `*.db.internal`, or a network such as `10.0.0.0/8`, perhaps with a port (`:6432`, or `:*` for any)"
            .to_owned()
    }

    fn show(&self, value: &Allowed) -> String {
        quote(&value.to_string())
    }
}
