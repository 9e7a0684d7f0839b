//! A module: a login for addresses in requests, the addresses that it may be used for, and the rest of the settings.

use std::sync::Arc;

use super::allowed::AllowList;
use super::requested::{Requested, RequestedHost};
use crate::dsn::{Address, Host, SslMode};
use crate::probe::{TargetKind, TargetSettings};

/// A module of `/probe`. Its type is always `userpass`.
#[derive(Clone, PartialEq)]
pub(crate) struct AuthModule {
    /// The addresses that it may be used for.
    pub allowed: AllowList,
    /// The settings of its probes, with the views of all kinds; name, host and database are those of the request. The URL has the role, the
    /// password and the module's `options`, and its time-out is the limit of a probe.
    pub template: TargetSettings,
}

impl AuthModule {
    /// The settings for an address; `None` if it is not allowed. The module's options win over the address.
    pub(super) fn settings_for(&self, requested: &Requested) -> Option<TargetSettings> {
        if !self.allowed.permits(&requested.host, requested.port) {
            return None;
        }
        let mut dsn = self.template.connect.dsn.as_ref().clone();
        let name = match &requested.host {
            RequestedHost::Name(name) => name.clone(),
            RequestedHost::Address(address) => address.to_canonical().to_string(),
        };
        let port = Some(requested.port);
        dsn.hosts = vec![Host { address: Address::Name(name), hostaddr: None, port }];
        if dsn.database.is_none() {
            dsn.database.clone_from(&requested.database);
        }
        if dsn.tls.mode.is_none() {
            dsn.tls.mode = match requested.sslmode {
                Some(mode) if is_stronger_than_default(mode) => Some(mode),
                Some(_) => return None,
                None => None,
            };
        }
        if !dsn.resolve(None).is_empty() {
            return None;
        }
        let mut settings = self.template.clone();
        settings.name = requested.shown();
        if dsn.database.as_deref() == TargetKind::PgBouncer.spec().default_database {
            let spec = TargetKind::PgBouncer.spec();
            settings.kind = TargetKind::PgBouncer;
            settings.query = spec.default_query.to_owned();
            settings.connect.ping = spec.ping;
        }
        let views = settings.kind.spec().views;
        settings.views.enabled.retain(|name| views.iter().any(|view| view.name == *name));
        settings.connect.dsn = Arc::new(dsn);
        Some(settings)
    }
}

/// Whoever may send a request must not weaken the encryption under which the module's password is sent.
fn is_stronger_than_default(mode: SslMode) -> bool {
    match mode {
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => true,
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => false,
    }
}
