//! Which authentication the server may ask for: `require_auth`, and what stands where it is not set.
//!
//! Without `require_auth` libpq sends the password as it is to whoever asks. Here that takes an
//! encrypted connection or one that stays on this machine, so that nobody on the way gets it by asking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use super::inspect::{Guard, Method, Refusal};
use super::reach::Peer;
use crate::dsn::{AuthMethod, RequireAuth};

/// What was warned of once, and need not be again.
#[derive(Debug, Default)]
pub(super) struct Warned {
    md5: AtomicBool,
    unverified: AtomicBool,
}

/// Who can listen to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// Whoever is on the way.
    Open,
    /// Whoever on the way answers in the server's name: its certificate was not verified.
    Encrypted,
    /// Nobody.
    Verified,
}

/// What is known of a connection before the server asks.
pub(super) struct Policy {
    pub(super) require: Option<RequireAuth>,
    pub(super) privacy: Privacy,
    pub(super) peer: Peer,
    pub(super) warned: Arc<Warned>,
}

impl Policy {
    /// Decides about each demand of the server, before it is answered.
    pub(super) fn guard(self) -> Guard {
        let mut asked = None;
        Box::new(move |method| match (method, asked) {
            // The end of an authentication is no demand for none.
            (Method::None, Some(_)) => Ok(()),
            _ => {
                asked = Some(method);
                self.decide(method)
            }
        })
    }

    fn decide(&self, method: Method) -> Result<(), Refusal> {
        match &self.require {
            Some(list) if !is_listed(list, method) => return Err(Refusal::NotListed(method)),
            Some(_) => {}
            None if method == Method::Cleartext && !self.may_be_clear() => {
                return Err(Refusal::InTheClear);
            }
            None => {}
        }
        self.warn(method);
        Ok(())
    }

    /// Whether a password may be sent as it is.
    fn may_be_clear(&self) -> bool {
        self.privacy != Privacy::Open || self.peer.is_local()
    }

    /// Tells once of what works, but should not be so.
    fn warn(&self, method: Method) {
        let first = |flag: &AtomicBool| !flag.swap(true, Ordering::Relaxed);
        if method == Method::Md5 && first(&self.warned.md5) {
            warn!(
                server = %self.peer,
                "the server takes the password by md5, which can be broken; use scram-sha-256"
            );
        }
        let is_doubtful = self.privacy == Privacy::Encrypted && !self.peer.is_local();
        if method == Method::Cleartext && is_doubtful && first(&self.warned.unverified) {
            warn!(
                server = %self.peer,
                "the password goes to a server whose certificate is not verified; use sslmode=verify-full"
            );
        }
    }
}

fn is_listed(list: &RequireAuth, method: Method) -> bool {
    match method {
        Method::None => list.allows(AuthMethod::None),
        Method::Cleartext => list.allows(AuthMethod::Password),
        Method::Md5 => list.allows(AuthMethod::Md5),
        Method::Scram => list.allows(AuthMethod::ScramSha256),
        Method::Gss => list.allows(AuthMethod::Gss) || list.allows(AuthMethod::Sspi),
        Method::Unknown => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(url: &str, privacy: Privacy, address: &str) -> Policy {
        let dsn = crate::dsn::parse(url).unwrap_or_default();
        let peer = Peer::Tcp(address.parse().unwrap());
        Policy { require: dsn.require_auth, privacy, peer, warned: Arc::default() }
    }

    #[test]
    fn a_password_in_the_clear_needs_a_connection_that_is_encrypted_or_local() {
        let far = "10.0.0.1:5432";
        let check = |privacy, address, expected| {
            let mut guard = policy("postgresql://h", privacy, address).guard();
            assert_eq!(guard(Method::Cleartext).is_ok(), expected, "{privacy:?} {address}");
        };
        check(Privacy::Open, far, false);
        check(Privacy::Encrypted, far, true);
        check(Privacy::Verified, far, true);
        check(Privacy::Open, "127.0.0.1:5432", true);
        check(Privacy::Open, "[::1]:5432", true);
        let mut guard = policy("postgresql://h?require_auth=password", Privacy::Open, far).guard();
        assert!(guard(Method::Cleartext).is_ok(), "the user wants it");
    }

    #[test]
    fn require_auth_means_what_it_means_to_libpq() {
        let check = |list: &str, methods: &[Method], expected| {
            let url = format!("postgresql://h?require_auth={list}");
            let mut guard = policy(&url, Privacy::Verified, "10.0.0.1:5432").guard();
            let result = methods.iter().all(|method| guard(*method).is_ok());
            assert_eq!(result, expected, "{list}: {methods:?}");
        };
        check("scram-sha-256", &[Method::Scram, Method::None], true);
        check("scram-sha-256", &[Method::None], false);
        check("scram-sha-256", &[Method::Md5], false);
        check("md5,none", &[Method::None], true);
        check("!none", &[Method::None], false);
        check("!none", &[Method::Md5, Method::None], true);
        check("!password,!md5", &[Method::Cleartext], false);
        check("!password,!md5", &[Method::Scram, Method::None], true);
        check("!password", &[Method::Unknown], false);
    }
}
