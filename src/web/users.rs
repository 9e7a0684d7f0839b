//! Basic authentication against bcrypt hashes.
//!
//! bcrypt is slow on purpose. It runs on another thread, one at a time, so that wrong passwords cannot
//! use up the machine; verified pairs are remembered, so that scrapes do not wait for it. An unknown
//! user costs as much as a wrong password, so that names cannot be found by time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use ring::{hmac, rand};
use tokio::sync::Semaphore;

use crate::secret::Secret;

/// A bcrypt hash, if the text is one.
pub(super) fn password_hash(text: &str) -> Option<Secret> {
    let cost = HashParts::from_str(text).ok()?.get_cost();
    (4..=31).contains(&cost).then(|| Secret::new(text))
}

/// The users of one reading of the file.
pub(super) struct Users {
    hashes: HashMap<String, Secret>,
    decoy: Secret,
}

impl Users {
    pub(super) fn new(users: Vec<(String, Secret)>) -> Self {
        let cost = users.iter().filter_map(|(_, hash)| cost(hash)).max().unwrap_or(10);
        // A hash of no password, with our highest cost, so that unknown users take as long as wrong
        // passwords.
        let decoy = format!("$2y${cost:02}$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi");
        Self { hashes: users.into_iter().collect(), decoy: Secret::new(decoy) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

fn cost(hash: &Secret) -> Option<u32> {
    HashParts::from_str(hash.reveal()).ok().map(|parts| parts.get_cost())
}

const REMEMBERED: usize = 100;

/// Checks passwords, and remembers those that were right.
pub(super) struct BasicAuth {
    turn: Arc<Semaphore>,
    key: hmac::Key,
    verified: Mutex<Verified>,
}

/// Keyed digests of verified pairs, oldest first.
#[derive(Default)]
struct Verified {
    order: VecDeque<[u8; 32]>,
    known: HashSet<[u8; 32]>,
}

impl BasicAuth {
    /// `None` if the system has no random numbers.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok()?;
        Some(Self { turn: Arc::new(Semaphore::new(1)), key, verified: Mutex::default() })
    }

    /// Reports whether an `Authorization` header has the right password of one of the users.
    pub(super) async fn admits(&self, users: &Users, header: &str) -> bool {
        let Some((name, password)) = credentials(header) else { return false };
        let known = users.hashes.get(&name);
        let hash = known.unwrap_or(&users.decoy).clone();
        let digest = self.digest(&name, &hash, &password);
        if self.remembered(&digest) {
            return true;
        }
        let right = self.compare(password, hash, digest).await && known.is_some();
        if right {
            self.remember(digest);
        }
        right
    }

    async fn compare(&self, password: Secret, hash: Secret, digest: [u8; 32]) -> bool {
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return false };
        if self.remembered(&digest) {
            return true;
        }
        let compared = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            bcrypt::verify(password.reveal(), hash.reveal()).unwrap_or(false)
        });
        compared.await.unwrap_or(false)
    }

    fn digest(&self, name: &str, hash: &Secret, password: &Secret) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, hash.reveal(), password.reveal()] {
            context.update(&part.len().to_le_bytes());
            context.update(part.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn remembered(&self, digest: &[u8; 32]) -> bool {
        self.verified().known.contains(digest)
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut verified = self.verified();
        if !verified.known.insert(digest) {
            return;
        }
        verified.order.push_back(digest);
        if verified.order.len() > REMEMBERED
            && let Some(oldest) = verified.order.pop_front()
        {
            verified.known.remove(&oldest);
        }
    }

    fn verified(&self) -> MutexGuard<'_, Verified> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name and password of `Basic ...`.
fn credentials(header: &str) -> Option<(String, Secret)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let decoded = Secret::new(decoded);
    let (name, password) = decoded.reveal().split_once(':')?;
    Some((name.to_owned(), Secret::new(password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let hash = bcrypt::hash("secret:word", 4).unwrap();
        Users::new(vec![("prom".to_owned(), password_hash(&hash).unwrap())])
    }

    fn header(pair: &str) -> String {
        format!("Basic {}", STANDARD.encode(pair))
    }

    #[tokio::test]
    async fn only_the_right_pair_is_admitted() {
        let (gate, users) = (BasicAuth::new().unwrap(), users());
        assert!(gate.admits(&users, &header("prom:secret:word")).await);
        assert!(gate.admits(&users, &header("prom:secret:word")).await);
        assert!(gate.admits(&users, &header("prom:secret:word").replace("Basic", "bAsIc")).await);
        for wrong in
            ["prom:", "prom:secret", "x:secret:word", ":", "prom", "x:fakepassword", "p\0:\0"]
        {
            assert!(!gate.admits(&users, &header(wrong)).await, "{wrong:?}");
        }
        for wrong in ["", "Basic", "Basic ", "Basic ~~", "Bearer x", "Basic /w=="] {
            assert!(!gate.admits(&users, wrong).await, "{wrong:?}");
        }
    }

    #[test]
    fn at_most_a_hundred_pairs_are_remembered() {
        let gate = BasicAuth::new().unwrap();
        for n in 0..=u8::MAX {
            gate.remember([n; 32]);
            gate.remember([n; 32]);
        }
        assert_eq!(gate.verified().known.len(), REMEMBERED);
        assert!(!gate.remembered(&[0; 32]) && gate.remembered(&[255; 32]));
    }

    #[test]
    fn the_decoy_costs_as_much_as_the_dearest_user() {
        let users = users();
        assert!(users.decoy.reveal().starts_with("$2y$04$"));
        assert!(password_hash(users.decoy.reveal()).is_some());
        assert!(password_hash("secret").is_none() && password_hash("").is_none());
        assert!(password_hash(&users.decoy.reveal().replace("$04$", "$99$")).is_none());
    }
}
