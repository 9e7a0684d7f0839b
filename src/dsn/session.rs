//! The parameters of a session: login, kind of server, and the options of the TCP socket.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use super::parameter::{Parameter, alias, read};
use super::word::{Keyword as _, is_second};
use super::{Problem, number};
use crate::secret::Secret;

/// `target_session_attrs`: the kind of server that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SessionAttrs {
    /// Any server.
    Any,
    /// A server that accepts writes.
    ReadWrite,
    /// A server that accepts no writes.
    ReadOnly,
    /// A server that is not in recovery.
    Primary,
    /// A server in recovery.
    Standby,
    /// A standby if there is one, otherwise any.
    PreferStandby,
}

impl SessionAttrs {
    /// Returns libpq's word.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// The options of a TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// `keepalives`; on by default.
    pub keepalives: bool,
    /// `keepalives_idle`; `None` uses the system default.
    pub idle: Option<Duration>,
    /// `keepalives_interval`; `None` uses the system default.
    pub interval: Option<Duration>,
    /// `keepalives_count`; `None` uses the system default.
    pub count: Option<u32>,
    /// `tcp_user_timeout`; `None` uses the system default.
    pub user_timeout: Option<Duration>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { keepalives: true, idle: None, interval: None, count: None, user_timeout: None }
    }
}

/// The parameters of this file.
pub(super) const PARAMETERS: &[Parameter] = &[
    read("user", Some("PGUSER"), |draft, text| set_text(&mut draft.dsn.user, text), None),
    read(
        "password",
        Some("PGPASSWORD"),
        |draft, text| {
            draft.dsn.password = non_empty(text).map(Secret::new);
            Ok(())
        },
        None,
    ),
    read("dbname", Some("PGDATABASE"), |draft, text| set_text(&mut draft.dsn.database, text), None),
    alias("database", "dbname", None, |draft, text| set_text(&mut draft.dsn.database, text)),
    read(
        "application_name",
        Some("PGAPPNAME"),
        |draft, text| set_text(&mut draft.dsn.application_name, text),
        Some(|dsn| dsn.application_name.clone()),
    ),
    read(
        "options",
        Some("PGOPTIONS"),
        |draft, text| set_text(&mut draft.dsn.options, text),
        Some(|dsn| dsn.options.clone()),
    ),
    read(
        "connect_timeout",
        Some("PGCONNECT_TIMEOUT"),
        |draft, text| set(&mut draft.dsn.connect_timeout, number::seconds(text)),
        Some(|dsn| {
            number::shown(
                dsn,
                "connect_timeout",
                dsn.connect_timeout.map(|time| time.as_secs().into()),
            )
        }),
    ),
    alias("timeout", "connect_timeout", None, |draft, text| {
        set(&mut draft.dsn.connect_timeout, number::fraction(text).map(number::rounded_up))
    }),
    read(
        "target_session_attrs",
        Some("PGTARGETSESSIONATTRS"),
        |draft, text| set(&mut draft.dsn.session, SessionAttrs::parse(text).map(Some)),
        Some(|dsn| dsn.session.map(|kind| kind.label().to_owned())),
    ),
    read(
        "load_balance_hosts",
        Some("PGLOADBALANCEHOSTS"),
        |draft, text| set(&mut draft.dsn.load_balance, is_second(text, ["disable", "random"])),
        Some(|dsn| {
            let label = if dsn.load_balance { "random" } else { "disable" };
            dsn.is_given("load_balance_hosts").then(|| label.to_owned())
        }),
    ),
    read(
        "keepalives",
        None,
        |draft, text| {
            set(&mut draft.dsn.tcp.keepalives, number::integer(text).map(|number| number != 0))
        },
        Some(|dsn| dsn.is_given("keepalives").then(|| u8::from(dsn.tcp.keepalives).to_string())),
    ),
    read(
        "keepalives_idle",
        None,
        |draft, text| set(&mut draft.dsn.tcp.idle, number::seconds(text)),
        Some(|dsn| {
            number::shown(dsn, "keepalives_idle", dsn.tcp.idle.map(|time| time.as_secs().into()))
        }),
    ),
    read(
        "keepalives_interval",
        None,
        |draft, text| set(&mut draft.dsn.tcp.interval, number::seconds(text)),
        Some(|dsn| {
            number::shown(
                dsn,
                "keepalives_interval",
                dsn.tcp.interval.map(|time| time.as_secs().into()),
            )
        }),
    ),
    read(
        "keepalives_count",
        None,
        |draft, text| set(&mut draft.dsn.tcp.count, number::positive(text)),
        Some(|dsn| number::shown(dsn, "keepalives_count", dsn.tcp.count.map(u128::from))),
    ),
    read(
        "tcp_user_timeout",
        None,
        |draft, text| set(&mut draft.dsn.tcp.user_timeout, number::milliseconds(text)),
        Some(|dsn| {
            number::shown(
                dsn,
                "tcp_user_timeout",
                dsn.tcp.user_timeout.map(|time| time.as_millis()),
            )
        }),
    ),
];

/// Sets a field, unless its value was bad.
pub(super) fn set<T>(field: &mut T, value: Result<T, Problem>) -> Result<(), Problem> {
    *field = value?;
    Ok(())
}

fn set_text(field: &mut Option<String>, text: &str) -> Result<(), Problem> {
    set(field, Ok(non_empty(text).map(str::to_owned)))
}

/// Returns `None` for an empty value: in libpq it means not given.
fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
