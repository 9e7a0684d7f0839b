//! Reads the server's messages on their way to tokio-postgres, and refuses dangerous ones.
//!
//! tokio-postgres reports neither the backend's process id nor the authentication that the server
//! asks for, answers a request for the cleartext password by itself, computes as many SCRAM rounds
//! as the server asks for, and buffers a message of any length until it is whole. All of that is
//! controlled by whoever answers at the address, so the limits stand here, where a message's length
//! is known and its body has not been received yet. Layout of the messages:
//! <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use thiserror::Error;

/// The largest message before the server is ready for a query, in bytes. The largest real one is an
/// error or a list of SASL mechanisms, far below this.
const STARTUP_MESSAGE: usize = 64 * 1024;

/// All messages together before the server is ready, in bytes and in number: about 20 parameters,
/// and notices of login triggers.
const STARTUP_BYTES: usize = 256 * 1024;
const STARTUP_MESSAGES: usize = 1000;

/// Parameter reports over a connection's life, in bytes; tokio-postgres keeps each name for ever.
const PARAMETER_BYTES: usize = 256 * 1024;

/// The largest SASL message; a salt, a nonce and a number fit many times.
const SASL_MESSAGE: usize = 4 * 1024;

/// The most rounds of SCRAM's key derivation, the limit of tokio-postgres too. PostgreSQL's default
/// is 4,096.
const SCRAM_ROUNDS: u64 = 100_000;

/// The maximum size of the answer to one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerLimit {
    /// All messages of the answer together, in bytes.
    pub bytes: usize,
    /// The number of rows; each costs memory beside its bytes.
    pub rows: usize,
}

impl AnswerLimit {
    /// For the statements of the views: far above what a server with 10,000 sessions answers.
    pub const VIEW: Self = Self { bytes: 8 * 1024 * 1024, rows: 50_000 };

    /// For statements with an unused answer, such as DB_MONITOR_QUERY.
    pub const SMALL: Self = Self { bytes: 1024 * 1024, rows: 10_000 };
}

/// A kind of authentication that the server asks for, by its protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// No authentication.
    None,
    /// The password in clear text.
    Cleartext,
    /// The password as an MD5 hash.
    Md5,
    /// SCRAM-SHA-256, with or without channel binding.
    Scram,
    /// GSSAPI or SSPI, which are not supported.
    Gss,
    /// A number that is not known here.
    Unknown,
}

impl Method {
    /// The name that `require_auth` uses.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Cleartext => "password",
            Self::Md5 => "md5",
            Self::Scram => "scram-sha-256",
            Self::Gss => "gss",
            Self::Unknown => "unknown",
        }
    }

    /// The method behind an authentication request's number; `None` for a later step of one.
    fn of(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            3 => Some(Self::Cleartext),
            5 => Some(Self::Md5),
            7 | 9 => Some(Self::Gss),
            SASL_CONTINUE | 8 | 12 => None,
            10 => Some(Self::Scram),
            _ => Some(Self::Unknown),
        }
    }
}

/// The number of `AuthenticationSASLContinue`, which carries the SCRAM rounds.
const SASL_CONTINUE: i32 = 11;

/// Why we closed a connection ourselves.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("the server asks for the authentication `{}`, which require_auth does not allow", .0.label())]
    NotListed(Method),
    #[error(
        "the server asks for the password in clear text over a connection that is neither encrypted nor local; it was not sent (require_auth=password would allow it)"
    )]
    InTheClear,
    #[error("an HTTP server answers at this port")]
    Http,
    #[error("the answer is not that of a PostgreSQL server")]
    NotPostgres,
    /// An error as text without a length. The postmaster sends it when it cannot start a backend
    /// (`report_fork_failure_to_client`), in the format of protocol 2.
    #[error("{0}")]
    Unstructured(String),
    #[error("the server sent more than {0} before it was ready for a query")]
    LongStartup(&'static str),
    #[error("the server asks for {0} rounds of SCRAM; at most {SCRAM_ROUNDS} are computed")]
    ManyRounds(u64),
    #[error("the answer has more than {0} bytes; the connection was closed")]
    LargeAnswer(usize),
    #[error("the answer has more than {0} rows; the connection was closed")]
    ManyRows(usize),
    #[error("the server reported more than {PARAMETER_BYTES} bytes of parameters")]
    ManyParameters,
}

/// Decides about an authentication that the server asks for, before it is answered.
pub(super) type Guard = Box<dyn FnMut(Method) -> Result<(), Refusal> + Send>;

/// The findings of the inspected stream; shared between the stream and the connection's owner.
#[derive(Debug)]
pub(super) struct WireState {
    pid: AtomicI32,
    authenticated: AtomicBool,
    refusal: OnceLock<Refusal>,
    limit: Mutex<AnswerLimit>,
    /// A SCRAM challenge is held back until somebody polls on a thread that may compute.
    challenged: AtomicBool,
}

impl Default for WireState {
    fn default() -> Self {
        Self {
            pid: AtomicI32::new(0),
            authenticated: AtomicBool::new(false),
            refusal: OnceLock::new(),
            limit: Mutex::new(AnswerLimit::SMALL),
            challenged: AtomicBool::new(false),
        }
    }
}

impl WireState {
    /// The backend's process id; 0 while the server has not sent it.
    pub(super) fn pid(&self) -> i32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Reports whether the server has accepted the login.
    pub(super) fn is_authenticated(&self) -> bool {
        self.authenticated.load(Ordering::Relaxed)
    }

    /// Why we closed the connection, if we did. tokio-postgres reports only that it is closed.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        self.refusal.get()
    }

    /// Sets the limit for the answers that follow.
    pub(super) fn set_limit(&self, limit: AnswerLimit) {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = limit;
    }

    fn limit(&self) -> AnswerLimit {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports whether a SCRAM challenge is being held back.
    pub(super) fn is_challenged(&self) -> bool {
        self.challenged.load(Ordering::Acquire)
    }

    /// Lets the challenge pass: the caller polls on a thread that may compute.
    pub(super) fn release_challenge(&self) {
        self.challenged.store(false, Ordering::Release);
    }

    pub(super) fn refuse(&self, refusal: Refusal) -> Refusal {
        self.refusal.get_or_init(|| refusal).clone()
    }
}

/// Follows the server's messages: a letter, a length, a body.
pub(super) struct Inspector {
    state: Arc<WireState>,
    guard: Guard,
    /// The start of the current message, up to [`Inspector::wanted`] bytes.
    head: Vec<u8>,
    /// The number of bytes of the current message that are still to come and are passed over unread.
    skip: usize,
    /// True once the server was ready for a query, so that the login is over.
    ready: bool,
    /// Since the start, or since the server was last ready for a query.
    bytes: usize,
    messages: usize,
    rows: usize,
    parameter_bytes: usize,
}

/// The bytes of most messages that are read: letter, length and the first int32 of the body.
const LOOK: usize = 9;

/// The letter and the length.
const HEADER: usize = 5;

impl Inspector {
    pub(super) fn new(state: Arc<WireState>, guard: Guard) -> Self {
        Self {
            state,
            guard,
            head: Vec::new(),
            skip: 0,
            ready: false,
            bytes: 0,
            messages: 0,
            rows: 0,
            parameter_bytes: 0,
        }
    }

    /// Reports whether the server has not been ready for a query yet.
    pub(super) fn is_starting(&self) -> bool {
        !self.ready
    }

    /// Takes bytes from the server, cut anywhere.
    ///
    /// # Errors
    /// As soon as a message breaks a rule: by its length, before its body has come.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return Ok(());
            }
            let wanted = if self.head.len() < HEADER { HEADER } else { self.wanted() };
            let part = (wanted - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..part]);
            bytes = &bytes[part..];
            if self.head.len() < wanted {
                continue;
            }
            if wanted == HEADER {
                self.check_header(bytes)?;
            }
            if self.head.len() < self.wanted() {
                continue;
            }
            self.look()?;
            self.skip = self.length() - self.head.len();
            self.head.clear();
        }
    }

    /// The whole message's length, the letter included. Valid once the header is there.
    fn length(&self) -> usize {
        let length = self.head.get(1..HEADER).and_then(|bytes| bytes.try_into().ok());
        // The length counts its own four bytes. A server that claims fewer must not make the length smaller
        // than the header, which is subtracted from it.
        1 + u32::from_be_bytes(length.unwrap_or_default()).max(4) as usize
    }

    fn letter(&self) -> u8 {
        self.head.first().copied().unwrap_or_default()
    }

    /// Returns the number of bytes of the message to read. A SASL challenge is read whole, up to its limit.
    fn wanted(&self) -> usize {
        let is_sasl = self.head.get(HEADER..LOOK) == Some(&SASL_CONTINUE.to_be_bytes());
        let is_whole = self.letter() == b'R' && is_sasl;
        self.length().min(if is_whole { SASL_MESSAGE } else { LOOK })
    }

    /// Judges a message by its letter and length. `rest`: what came with them.
    fn check_header(&mut self, rest: &[u8]) -> Result<(), Refusal> {
        let length = self.length();
        self.bytes = self.bytes.saturating_add(length);
        self.messages += 1;
        if self.letter() == b'S' {
            self.parameter_bytes = self.parameter_bytes.saturating_add(length);
        }
        if self.ready { self.check_answer() } else { self.check_startup(length, rest) }
    }

    fn check_startup(&self, length: usize, rest: &[u8]) -> Result<(), Refusal> {
        let is_first = self.messages == 1;
        if is_first && self.head.starts_with(b"HTTP/") {
            return Err(Refusal::Http);
        }
        // Its first four characters would be read as a length of about a gigabyte.
        let is_text =
            self.head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
        if self.letter() == b'E' && is_text && length > STARTUP_MESSAGE {
            return Err(Refusal::Unstructured(unstructured(&self.head[1..], rest)));
        }
        // Error, notice, authentication, parameter, key, readiness, negotiation of the version.
        let is_known = b"ENRSKZv".contains(&self.letter());
        // Text of another protocol, such as `SSH-2.0`, can begin with one of these letters.
        if !is_known || (is_first && is_text && length > STARTUP_MESSAGE) {
            return Err(Refusal::NotPostgres);
        }
        if length > STARTUP_MESSAGE {
            return Err(Refusal::LongStartup("64 KiB in one message"));
        }
        if self.bytes > STARTUP_BYTES || self.messages > STARTUP_MESSAGES {
            return Err(Refusal::LongStartup("256 KiB or 1,000 messages"));
        }
        Ok(())
    }

    fn check_answer(&mut self) -> Result<(), Refusal> {
        let limit = self.state.limit();
        self.rows += usize::from(self.letter() == b'D');
        if self.bytes > limit.bytes {
            return Err(Refusal::LargeAnswer(limit.bytes));
        }
        // Every message costs memory or time beside its bytes; an answer has a few beside its rows.
        if self.rows > limit.rows || self.messages > limit.rows * 2 {
            return Err(Refusal::ManyRows(limit.rows));
        }
        if self.parameter_bytes > PARAMETER_BYTES {
            return Err(Refusal::ManyParameters);
        }
        Ok(())
    }

    /// Reads the few messages that matter.
    fn look(&mut self) -> Result<(), Refusal> {
        let number = self.head.get(HEADER..LOOK).and_then(|bytes| bytes.try_into().ok());
        let number = i32::from_be_bytes(number.unwrap_or_default());
        match self.letter() {
            b'R' if number == SASL_CONTINUE => {
                if self.length() > SASL_MESSAGE {
                    return Err(Refusal::NotPostgres);
                }
                let rounds = scram_rounds(self.head.get(LOOK..).unwrap_or_default());
                if rounds > SCRAM_ROUNDS {
                    return Err(Refusal::ManyRounds(rounds));
                }
                // Later it is a message out of place, which tokio-postgres refuses without computing.
                self.state.challenged.store(!self.ready, Ordering::Release);
            }
            b'R' => {
                // Before tokio-postgres gets the request: it would answer a request for the cleartext password.
                if let Some(method) = Method::of(number) {
                    (self.guard)(method)?;
                    self.state.authenticated.store(method == Method::None, Ordering::Relaxed);
                }
            }
            b'K' => self.state.pid.store(number, Ordering::Relaxed),
            b'Z' => {
                // The next answer has its limits for itself; those of parameters are for the whole connection.
                self.ready = true;
                self.bytes = 0;
                self.messages = 0;
                self.rows = 0;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The rounds of a SCRAM challenge, `r=nonce,s=salt,i=4096`; 0 for what is not one, which
/// tokio-postgres refuses.
fn scram_rounds(challenge: &[u8]) -> u64 {
    let text = std::str::from_utf8(challenge).unwrap_or_default();
    let rounds = text.split(',').find_map(|attribute| attribute.strip_prefix("i="));
    rounds.map_or(0, |digits| digits.parse().unwrap_or(u64::MAX))
}

/// The text of an error without a length, as far as it has come.
fn unstructured(head: &[u8], rest: &[u8]) -> String {
    let text = [head, rest].concat();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = header(letter, body.len());
        bytes.extend_from_slice(body);
        bytes
    }

    fn header(letter: u8, body: usize) -> Vec<u8> {
        let length = u32::try_from(body + 4).unwrap().to_be_bytes();
        [&[letter][..], &length].concat()
    }

    fn startup() -> Vec<u8> {
        [
            message(b'R', &10_i32.to_be_bytes()),
            message(b'R', b"\0\0\0\x0br=abc,s=salt,i=4096"),
            message(b'R', &0_i32.to_be_bytes()),
            message(b'S', b"server_version\x0015.18\0"),
            message(b'K', &[0, 0, 4, 210, 9, 9, 9, 9]),
            message(b'Z', b"I"),
        ]
        .concat()
    }

    /// Feeds bytes in pieces; stops at the first refusal.
    fn feed(inspector: &mut Inspector, bytes: &[u8], size: usize) -> Result<(), Refusal> {
        bytes.chunks(size).try_for_each(|piece| inspector.take(piece))
    }

    fn inspector(refused: Option<Method>) -> Inspector {
        let guard: Guard = Box::new(move |method| {
            if Some(method) == refused { Err(Refusal::NotListed(method)) } else { Ok(()) }
        });
        Inspector::new(Arc::default(), guard)
    }

    #[test]
    fn pid_and_methods_are_read_however_the_bytes_are_cut() {
        for size in [1, 2, 3, 5, 7, 64, 1024] {
            let mut all = inspector(None);
            assert_eq!(feed(&mut all, &startup(), size), Ok(()), "pieces of {size}");
            assert_eq!((all.state.pid(), all.is_starting()), (1234, false));
            assert!(all.state.is_authenticated() && all.state.is_challenged());
            let mut none = inspector(Some(Method::Scram));
            let refusal = Err(Refusal::NotListed(Method::Scram));
            assert_eq!(feed(&mut none, &startup(), size), refusal, "pieces of {size}");
            assert_eq!(none.state.pid(), 0);
        }
    }

    #[test]
    fn a_message_is_refused_by_its_length_before_its_body_comes() {
        let check = |bytes: &[u8], expected: Refusal| {
            for size in [1, 1024] {
                assert_eq!(feed(&mut inspector(None), bytes, size), Err(expected.clone()));
            }
        };
        let long = Refusal::LongStartup("64 KiB in one message");
        check(&header(b'S', 2_000_000_000), long.clone());
        check(&header(b'R', 64 * 1024), long.clone());
        check(&header(b'N', 0x7fff_fffb), long);
        check(&header(b'D', 2_000_000_000), Refusal::NotPostgres);
        check(b"Ready\r\n", Refusal::NotPostgres);
        check(b"No such service\r\n", Refusal::NotPostgres);
        check(b"HTTP/1.1 400 Bad Request\r\n\r\n", Refusal::Http);
        check(b"SSH-2.0-OpenSSH_9.2\r\n", Refusal::NotPostgres);
        check(b"220 mail.example ESMTP\r\n", Refusal::NotPostgres);
        let late = [message(b'R', &[0; 4]), header(b'N', 64 * 1024)].concat();
        check(&late, Refusal::LongStartup("64 KiB in one message"));
        let rounds = message(b'R', b"\0\0\0\x0br=a,s=b,i=4294967295");
        check(&rounds, Refusal::ManyRounds(4_294_967_295));
        let old = b"Ecould not fork new process for connection: Cannot allocate memory\n\0";
        let text = "could not fork new process for connection: Cannot allocate memory";
        let mut whole = inspector(None);
        assert_eq!(feed(&mut whole, old, 1024), Err(Refusal::Unstructured(text.to_owned())));
    }

    #[test]
    fn a_startup_without_end_is_cut() {
        for endless in [message(b'N', &[0; 40]), message(b'S', b"a\0b\0"), message(b'N', b"")] {
            let mut inspector = inspector(None);
            let result = (0..100_000).try_for_each(|_| inspector.take(&endless));
            assert!(matches!(result, Err(Refusal::LongStartup(_))), "{result:?}");
            assert!(inspector.bytes <= STARTUP_BYTES + endless.len());
        }
    }

    #[test]
    fn an_answer_has_as_many_bytes_and_rows_as_its_statement_allows() {
        let ready = |limit| {
            let mut inspector = inspector(None);
            feed(&mut inspector, &startup(), 64).unwrap();
            inspector.state.set_limit(limit);
            inspector
        };
        let limit = AnswerLimit { bytes: 1000, rows: 10 };
        let end = message(b'Z', b"I");
        let mut many = ready(limit);
        for _ in 0..5 {
            // Counted anew for each answer.
            let answer = [message(b'D', &[0; 50]).repeat(10), end.clone()].concat();
            assert_eq!(many.take(&answer), Ok(()));
        }
        assert_eq!(many.take(&message(b'D', b"").repeat(11)), Err(Refusal::ManyRows(10)));
        assert_eq!(ready(limit).take(&header(b'D', 1000)), Err(Refusal::LargeAnswer(1000)));
        let notices = message(b'N', b"").repeat(100);
        assert_eq!(ready(limit).take(&notices), Err(Refusal::ManyRows(10)));
        let mut parameters = ready(AnswerLimit::VIEW);
        let report = [message(b'S', &[1; 1000]), end].concat();
        let result = (0..1000).try_for_each(|_| parameters.take(&report));
        assert_eq!(result, Err(Refusal::ManyParameters));
    }
}
