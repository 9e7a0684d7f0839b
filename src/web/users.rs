//! Basic authentication against bcrypt hashes.
//!
//! Verified pairs are remembered, so that scrapes never wait for a hash. A refusal costs the same time
//! whether the user is unknown, or has a cheaper hash than others, so that names cannot be found by
//! time. The order in which passwords are hashed is in `logins`.

use std::collections::{HashMap, HashSet, VecDeque};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bcrypt::HashParts;
use ring::{hmac, rand};

use super::access::Peer;
use super::logins::LoginQueue;
use crate::secret::Secret;

/// The range of costs. A hash of cost 15 takes about two seconds, and each step doubles that: with
/// cost 31 a single login would occupy the queue for a day.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// The problem of a text that is not a usable hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HashProblem {
    #[error("must be a bcrypt hash, as htpasswd -nB makes it")]
    NotBcrypt,
    #[error("must have a cost of 4 to 15: a higher one takes too long for each login")]
    Cost,
}

/// Reads a bcrypt hash.
pub(super) fn password_hash(text: &str) -> Result<Secret, HashProblem> {
    let parts = HashParts::from_str(text).map_err(|_| HashProblem::NotBcrypt)?;
    if COSTS.contains(&parts.get_cost()) { Ok(Secret::new(text)) } else { Err(HashProblem::Cost) }
}

/// The users of one reading of the file.
pub(super) struct Users {
    hashes: HashMap<String, Secret>,
    /// A hash of no password, with the highest cost.
    decoy: Secret,
    highest: u32,
}

impl Users {
    pub(super) fn new(users: Vec<(String, Secret)>) -> Self {
        let highest = users.iter().filter_map(|(_, hash)| cost(hash)).max().unwrap_or(10);
        let decoy =
            format!("$2y${highest:02}$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi");
        Self { hashes: users.into_iter().collect(), decoy: Secret::new(decoy), highest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

fn cost(hash: &Secret) -> Option<u32> {
    HashParts::from_str(hash.reveal()).ok().map(|parts| parts.get_cost())
}

const REMEMBERED: usize = 100;

/// The outcome of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Login {
    Right,
    /// There is no Authorization header.
    Missing,
    /// The header is not one of basic authentication.
    Malformed,
    /// Unknown user or wrong password.
    Wrong,
    /// Too many passwords wait to be checked.
    Busy,
}

/// Checks passwords, and remembers those that were right.
pub(super) struct BasicAuth {
    queue: Arc<LoginQueue>,
    key: hmac::Key,
    verified: Mutex<Verified>,
}

/// Keyed digests of verified pairs, oldest first.
#[derive(Default)]
struct Verified {
    order: VecDeque<[u8; 32]>,
    known: HashSet<[u8; 32]>,
}

/// A pair that is to be checked.
pub(super) struct Attempt {
    password: Secret,
    hash: Secret,
    /// `false` where the hash is the decoy.
    is_known: bool,
    digest: [u8; 32],
    highest: u32,
}

impl BasicAuth {
    /// `None` if the system has no random numbers.
    pub(super) fn new() -> Option<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok()?;
        Some(Self { queue: Arc::default(), key, verified: Mutex::default() })
    }

    /// Decides an `Authorization` header without hashing. `Err` is a pair that must be hashed.
    pub(super) fn recall(&self, users: &Users, header: Option<&str>) -> Result<Login, Attempt> {
        let Some(header) = header else { return Ok(Login::Missing) };
        let Some((name, password)) = credentials(header) else { return Ok(Login::Malformed) };
        let known = users.hashes.get(&name);
        let hash = known.unwrap_or(&users.decoy).clone();
        let digest = self.digest(&name, &hash, &password);
        if self.remembered(&digest) {
            return Ok(Login::Right);
        }
        Err(Attempt { password, hash, is_known: known.is_some(), digest, highest: users.highest })
    }

    /// Hashes a password when its turn comes, on a thread of its own.
    pub(super) async fn check(&self, attempt: Attempt, peer: Peer) -> Login {
        let Some(turn) = self.queue.turn(peer).await else { return Login::Busy };
        let Attempt { password, hash, is_known, digest, highest } = attempt;
        if self.remembered(&digest) {
            return Login::Right;
        }
        // The thread keeps the turn, and counts the failure: for a client that has gone nothing runs after
        // the await, yet a second hash must not begin while this one runs.
        let compared = tokio::task::spawn_blocking(move || {
            let is_right = compare(&password, &hash, highest) && is_known;
            if is_right {
                turn.succeeded();
            } else {
                turn.failed();
            }
            is_right
        });
        if compared.await.unwrap_or(false) {
            self.remember(digest);
            Login::Right
        } else {
            Login::Wrong
        }
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

/// Compares a password with a hash, in the time that a hash of the highest cost takes if it is wrong.
fn compare(password: &Secret, hash: &Secret, highest: u32) -> bool {
    if bcrypt::verify(password.reveal(), hash.reveal()).unwrap_or(false) {
        return true;
    }
    // Each step of the cost doubles the time, so that one hash of every cost from that of this hash up to
    // below the highest adds exactly the difference.
    for cost in cost(hash).unwrap_or(highest)..highest {
        std::hint::black_box(bcrypt::bcrypt(cost, [0; 16], b"any text"));
    }
    false
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

    async fn login(auth: &BasicAuth, users: &Users, header: &str) -> Login {
        match auth.recall(users, Some(header)) {
            Ok(login) => login,
            Err(attempt) => auth.check(attempt, Peer::Unix).await,
        }
    }

    #[tokio::test]
    async fn only_the_right_pair_is_admitted() {
        let (auth, users) = (BasicAuth::new().unwrap(), users());
        let right = header("prom:secret:word");
        assert_eq!(login(&auth, &users, &right).await, Login::Right);
        assert!(auth.recall(&users, Some(&right)).is_ok(), "it is remembered");
        let odd = right.replace("Basic", "bAsIc");
        assert_eq!(login(&auth, &users, &odd).await, Login::Right);
        for wrong in
            ["prom:", "prom:secret", "x:secret:word", ":", "prom", "x:fakepassword", "p\0:\0"]
        {
            assert_ne!(login(&auth, &users, &header(wrong)).await, Login::Right, "{wrong:?}");
        }
        for wrong in ["", "Basic", "Basic ", "Basic ~~", "Bearer x", "Basic /w=="] {
            assert_eq!(login(&auth, &users, wrong).await, Login::Malformed, "{wrong:?}");
        }
        assert!(matches!(auth.recall(&users, None), Ok(Login::Missing)));
    }

    #[test]
    fn at_most_a_hundred_pairs_are_remembered() {
        let auth = BasicAuth::new().unwrap();
        for n in 0..=u8::MAX {
            auth.remember([n; 32]);
            auth.remember([n; 32]);
        }
        assert_eq!(auth.verified().known.len(), REMEMBERED);
        assert!(!auth.remembered(&[0; 32]) && auth.remembered(&[255; 32]));
    }

    #[test]
    fn the_decoy_costs_as_much_as_the_dearest_user() {
        let users = users();
        assert!(users.decoy.reveal().starts_with("$2y$04$"));
        assert!(password_hash(users.decoy.reveal()).is_ok());
        assert!(password_hash("secret").is_err() && password_hash("").is_err());
        for cost in ["99", "31", "16", "03"] {
            let dear = users.decoy.reveal().replace("$04$", &format!("${cost}$"));
            assert!(password_hash(&dear).is_err(), "{cost}");
        }
    }

    /// Without padding the cheaper hash would take a sixteenth of the time.
    #[test]
    fn a_wrong_password_takes_the_same_time_with_every_cost() {
        let hashes = [4, 8].map(|cost| Secret::new(bcrypt::hash("x", cost).unwrap()));
        // The shortest of several, in turns: other work of the machine only adds. A busy one needs more turns.
        let are_equal = |[cheap, dear]: [std::time::Duration; 2]| {
            (0.5..2.0).contains(&(cheap.as_secs_f64() / dear.as_secs_f64()))
        };
        let mut shortest = [std::time::Duration::MAX; 2];
        for round in 0..100 {
            if round >= 9 && are_equal(shortest) {
                break;
            }
            for (hash, best) in hashes.iter().zip(&mut shortest) {
                let started = std::time::SystemTime::now();
                assert!(!compare(&Secret::new("y"), hash, 8));
                *best = (*best).min(started.elapsed().unwrap());
            }
        }
        assert!(are_equal(shortest), "{shortest:?}");
    }
}
