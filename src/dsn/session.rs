//! The session: who logs in where, on which kind of server, and how its socket is kept alive.

use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use super::parameter::{Parameter, alias, read};
use super::word::{Keyword as _, is_second};
use super::{Problem, number};
use crate::secret::Secret;

/// `target_session_attrs`: which of several servers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum SessionAttrs {
    /// The first that answers.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is.
    Standby,
    /// A standby if there is one, otherwise any.
    PreferStandby,
}

impl SessionAttrs {
    /// libpq's name of it.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// The socket's options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    /// `keepalives`: on by default.
    pub keepalives: bool,
    /// `keepalives_idle`; `None` is the system's.
    pub idle: Option<Duration>,
    /// `keepalives_interval`; likewise.
    pub interval: Option<Duration>,
    /// `keepalives_count`; likewise.
    pub count: Option<u32>,
    /// `tcp_user_timeout`, in milliseconds; likewise.
    pub user_timeout: Option<Duration>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self { keepalives: true, idle: None, interval: None, count: None, user_timeout: None }
    }
}

/// The parameters of this file.
pub(super) const PARAMETERS: &[Parameter] = &[
    read("user", Some("PGUSER"), |draft, text| put(&mut draft.dsn.user, text), None),
    read(
        "password",
        Some("PGPASSWORD"),
        |draft, text| {
            draft.dsn.password = filled(text).map(Secret::new);
            Ok(())
        },
        None,
    ),
    read("dbname", Some("PGDATABASE"), |draft, text| put(&mut draft.dsn.database, text), None),
    alias("database", "dbname", None, |draft, text| put(&mut draft.dsn.database, text)),
    read(
        "application_name",
        Some("PGAPPNAME"),
        |draft, text| put(&mut draft.dsn.application_name, text),
        Some(|dsn| dsn.application_name.clone()),
    ),
    read(
        "options",
        Some("PGOPTIONS"),
        |draft, text| put(&mut draft.dsn.options, text),
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
            dsn.said("load_balance_hosts").then(|| label.to_owned())
        }),
    ),
    read(
        "keepalives",
        None,
        |draft, text| {
            set(&mut draft.dsn.tcp.keepalives, number::integer(text).map(|number| number != 0))
        },
        Some(|dsn| dsn.said("keepalives").then(|| u8::from(dsn.tcp.keepalives).to_string())),
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

fn put(field: &mut Option<String>, text: &str) -> Result<(), Problem> {
    set(field, Ok(filled(text).map(str::to_owned)))
}

/// An empty value is as good as none, as in libpq.
fn filled(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}
