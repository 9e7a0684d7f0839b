//! Options of an authentication module.

use std::net::IpAddr;

use strum::{IntoStaticStr, VariantArray};

use super::{options, row};
use crate::config::kind::{
    Choice, Grammar, List, OptionType, RawValue, Section, Text, Time, quote,
};

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
    AUTH_OPTIONS: Section = row("options", Section, "parameters of the connection, as in a URL").default("none");
    AUTH_TIMEOUT: Time = row("timeout", Time::new(10, 3600), "the limit of one probe");
    AUTH_ALLOWED_TARGETS: List<AllowedTarget> = row(
        "allowed_targets",
        List(AllowedTarget),
        "the targets that may be named: patterns of hosts, networks",
    ).example("[\"*.db.internal:5432\", \"10.0.0.0/8\"]");
}

/// Targets that may be named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Hosts by a pattern of their name (`*` is any text), on this port or, with `None`, on any.
    Name(String, Option<u16>),
    /// Addresses of a network: its address, and the number of its leading bits that count.
    Network(IpAddr, u8),
}

/// A pattern `HOST`, `HOST:PORT`, or a network `ADDRESS/BITS`.
#[derive(Clone, Copy)]
pub(in crate::config) struct AllowedTarget;

impl OptionType for AllowedTarget {
    type Value = Allowed;

    fn parse(&self, raw: &RawValue<'_>) -> Option<Allowed> {
        let text = Text("").parse(raw)?;
        if let Some((address, bits)) = text.split_once('/') {
            let (address, bits): (IpAddr, u8) = (address.parse().ok()?, bits.parse().ok()?);
            let most = if address.is_ipv4() { 32 } else { 128 };
            return (bits <= most).then_some(Allowed::Network(address, bits));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return Some(Allowed::Network(address, bits));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok().filter(|port| *port > 0)?)),
            None => (text.as_str(), None),
        };
        let is_plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "*-_.".contains(c));
        (!host.is_empty() && is_plain).then(|| Allowed::Name(host.to_ascii_lowercase(), port))
    }

    fn allowed(&self, _: Grammar) -> String {
        "a pattern of hosts such as `*.db.internal` or `*.db.internal:5432`, \
         or a network such as `10.0.0.0/8`"
            .to_owned()
    }

    fn show(&self, value: &Allowed) -> String {
        quote(&match value {
            Allowed::Name(host, Some(port)) => format!("{host}:{port}"),
            Allowed::Name(host, None) => host.clone(),
            Allowed::Network(address, bits) => format!("{address}/{bits}"),
        })
    }
}
