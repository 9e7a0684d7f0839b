//! The authentication methods that a server may ask for: `require_auth`, and our rule without it.
//!
//! Without `require_auth`, libpq sends the password in clear text to any server that asks for it. An
//! attacker in the middle only has to ask. So here that needs an encrypted connection, or one that
//! does not leave this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::warn;

use super::inspect::{Guard, Method, Refusal};
use super::reach::Peer;
use crate::dsn::{AuthMethod, RequireAuth};

/// Warnings that were logged already; each is logged once.
#[derive(Debug, Default)]
pub(super) struct Warned {
    md5: AtomicBool,
    unverified: AtomicBool,
}

/// Protection of a connection against others in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Privacy {
    /// None: it can be read.
    Open,
    /// Encrypted, but the server's certificate was not verified: an active attacker can answer in the
    /// server's name.
    Encrypted,
    /// Encrypted, with a verified server.
    Verified,
}

/// The facts on which a decision depends.
pub(super) struct Policy {
    pub(super) require: Option<RequireAuth>,
    pub(super) privacy: Privacy,
    pub(super) peer: Peer,
    pub(super) warned: Arc<Warned>,
}

impl Policy {
    /// Returns a function that decides about each request of the server before it is answered.
    pub(super) fn guard(self) -> Guard {
        let mut was_asked = false;
        Box::new(move |method| {
            // AuthenticationOk after another method ends that method; it is not a request for none.
            if method == Method::None && was_asked {
                return Ok(());
            }
            was_asked = true;
            self.decide(method)
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

    /// Reports whether a password may be sent in clear text.
    fn may_be_clear(&self) -> bool {
        self.privacy != Privacy::Open || self.peer.is_local()
    }

    /// Warns once of each method that works but is not safe.
    fn warn(&self, method: Method) {
        if method == Method::Md5 && is_first(&self.warned.md5) {
            warn!(
                server = %self.peer,
                "the server takes the password as an MD5 hash, which can be broken; use scram-sha-256"
            );
        }
        let is_doubtful = self.privacy == Privacy::Encrypted && !self.peer.is_local();
        if method == Method::Cleartext && is_doubtful && is_first(&self.warned.unverified) {
            warn!(
                server = %self.peer,
                "the password is sent to a server without a verified certificate; use sslmode=verify-full"
            );
        }
    }
}

fn is_first(warned: &AtomicBool) -> bool {
    !warned.swap(true, Ordering::Relaxed)
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
