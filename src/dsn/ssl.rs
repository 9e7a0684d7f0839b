//! The parameters that fill [`Tls`]: libpq's `ssl*`, `channel_binding`, asyncpg's `ssl` and `direct_tls`.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::parameter::{Parameter, Show, alias, read};
use super::session::set;
use super::tls::{CertMode, ChannelBinding, Root, SslMode, Tls, TlsVersion};
use super::word::{Keyword as _, is_second};
use super::{Problem, number};
use crate::secret::Secret;

/// The parameters of this file.
pub(super) const PARAMETERS: &[Parameter] = &[
    read(
        "sslmode",
        Some("PGSSLMODE"),
        sslmode,
        Some(|dsn| dsn.tls.mode.map(|mode| mode.label().to_owned())),
    ),
    alias("ssl", "sslmode", None, ssl),
    alias("requiressl", "sslmode", Some("PGREQUIRESSL"), requiressl),
    read(
        "sslnegotiation",
        Some("PGSSLNEGOTIATION"),
        |draft, text| set(&mut draft.dsn.tls.direct, is_second(text, ["postgres", "direct"])),
        Some(|dsn| {
            let label = if dsn.tls.direct { "direct" } else { "postgres" };
            dsn.is_given("sslnegotiation").then(|| label.to_owned())
        }),
    ),
    alias("direct_tls", "sslnegotiation", None, |draft, text| {
        set(&mut draft.dsn.tls.direct, number::boolean(text))
    }),
    read("sslrootcert", Some("PGSSLROOTCERT"), root, SHOW_ROOT),
    read(
        "sslcert",
        Some("PGSSLCERT"),
        |draft, text| set(&mut draft.dsn.tls.cert, Ok(path(text))),
        Some(|dsn| dsn.tls.cert.as_deref().map(path_text)),
    ),
    read(
        "sslkey",
        Some("PGSSLKEY"),
        |draft, text| set(&mut draft.dsn.tls.key, Ok(path(text))),
        Some(|dsn| dsn.tls.key.as_deref().map(path_text)),
    ),
    read(
        "sslpassword",
        None,
        |draft, text| {
            let password = (!text.is_empty()).then(|| Secret::new(text));
            set(&mut draft.dsn.tls.key_password, Ok(password))
        },
        Some(|dsn| dsn.tls.key_password.as_ref().map(|_| "***".to_owned())),
    ),
    read(
        "sslcertmode",
        Some("PGSSLCERTMODE"),
        |draft, text| set(&mut draft.dsn.tls.cert_mode, CertMode::parse(text).map(Some)),
        Some(|dsn| dsn.tls.cert_mode.map(|mode| mode.label().to_owned())),
    ),
    read(
        "sslsni",
        Some("PGSSLSNI"),
        |draft, text| set(&mut draft.dsn.tls.sni, sni(text)),
        Some(|dsn| dsn.is_given("sslsni").then(|| u8::from(dsn.tls.sni).to_string())),
    ),
    read(
        "channel_binding",
        Some("PGCHANNELBINDING"),
        |draft, text| {
            set(&mut draft.dsn.tls.channel_binding, ChannelBinding::parse(text).map(Some))
        },
        Some(|dsn| dsn.tls.channel_binding.map(|binding| binding.label().to_owned())),
    ),
    read(
        "ssl_min_protocol_version",
        Some("PGSSLMINPROTOCOLVERSION"),
        |draft, text| set(&mut draft.dsn.tls.min_protocol, TlsVersion::parse_min(text)),
        Some(|dsn| dsn.tls.min_protocol.map(|version| version.label().to_owned())),
    ),
    read(
        "ssl_max_protocol_version",
        Some("PGSSLMAXPROTOCOLVERSION"),
        |draft, text| set(&mut draft.dsn.tls.max_protocol, TlsVersion::parse_max(text)),
        Some(|dsn| dsn.tls.max_protocol.map(|version| version.label().to_owned())),
    ),
];

const SHOW_ROOT: Option<Show> = Some(|dsn| match &dsn.tls.root {
    Some(Root::System) => Some("system".to_owned()),
    Some(Root::File(path)) => Some(path_text(path)),
    None => None,
});

fn sslmode(draft: &mut Draft, text: &str) -> Result<(), Problem> {
    let mode = SslMode::parse(text)?;
    set_mode(&mut draft.dsn.tls, mode, draft.ssl, "ssl")?;
    draft.sslmode = Some(mode);
    Ok(())
}

/// Reads asyncpg's `ssl`. In a URL for libpq, `uri` has already turned `ssl=true` into `require`.
fn ssl(draft: &mut Draft, text: &str) -> Result<(), Problem> {
    let mode = SslMode::parse(&text.replace('_', "-"))?;
    set_mode(&mut draft.dsn.tls, mode, draft.sslmode, "sslmode")?;
    draft.ssl = Some(mode);
    Ok(())
}

/// Reads the predecessor of `sslmode`.
fn requiressl(draft: &mut Draft, text: &str) -> Result<(), Problem> {
    let required = is_second(text, ["0", "1"])?;
    let mode = if required { SslMode::Require } else { SslMode::Prefer };
    sslmode(draft, mode.label())
}

fn set_mode(
    tls: &mut Tls,
    mode: SslMode,
    other: Option<SslMode>,
    name: &'static str,
) -> Result<(), Problem> {
    if other.is_some_and(|other| other != mode) {
        return Err(Problem::Contradiction(name));
    }
    tls.mode = Some(mode);
    Ok(())
}

fn root(draft: &mut Draft, text: &str) -> Result<(), Problem> {
    draft.dsn.tls.root = match text {
        "system" => Some(Root::System),
        _ => path(text).map(Root::File),
    };
    Ok(())
}

fn sni(text: &str) -> Result<bool, Problem> {
    // In libpq an empty value leaves the default, which is on.
    if text.is_empty() { Ok(true) } else { is_second(text, ["0", "1"]) }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| text.into())
}

fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
