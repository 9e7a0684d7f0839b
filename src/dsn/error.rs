//! The problems of a URL: the part, its position, and the rule.
//!
//! An error never contains the text, with one exception: the name of an unknown parameter, if it looks
//! like a name. `Part::unknown` is the only place that lets text in.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// One problem of a URL or of a `PG*` variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}{}: {problem}", Position(*.at))]
pub struct Error {
    /// The part of the URL.
    pub part: Part,
    /// The position in bytes, counted from 1; `None` for a problem without a position.
    pub at: Option<usize>,
    /// The rule that was broken.
    pub problem: Problem,
}

impl Error {
    /// Creates a problem at a byte of the text, counted from 0.
    pub(super) fn new(part: Part, at: usize, problem: Problem) -> Self {
        Self { part, at: Some(at + 1), problem }
    }

    /// Hides the name of an unknown parameter outside of the harmless range, because it may be a part of a
    /// password.
    pub(super) fn name_only_within(&mut self, harmless: &Range<usize>) {
        let inside = self.at.is_some_and(|at| harmless.contains(&(at - 1)));
        if matches!(self.part, Part::Parameter(Cow::Owned(_))) && !inside {
            self.part = Part::Unnamed;
        }
    }

    /// Creates a problem without a position.
    pub(super) fn anywhere(part: Part, problem: Problem) -> Self {
        Self { part, at: None, problem }
    }
}

impl From<Error> for Vec<Error> {
    fn from(error: Error) -> Self {
        vec![error]
    }
}

/// A part of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The text as a whole.
    Text,
    /// The text before `://`.
    Scheme,
    /// The role to log in as.
    User,
    /// The password.
    Password,
    /// The host, or the list of hosts.
    Host,
    /// The port, or the list of ports.
    Port,
    /// The database's name.
    Database,
    /// A parameter by name.
    Parameter(Cow<'static, str>),
    /// A parameter with a name that must not be shown.
    Unnamed,
    /// An environment variable by name.
    Variable(&'static str),
}

impl Part {
    /// A known parameter: its name is safe to show.
    pub(super) fn parameter(name: &'static str) -> Self {
        Self::Parameter(Cow::Borrowed(name))
    }

    /// An unknown parameter. It is named only if it looks like a name, because it may be a part of a
    /// mangled password.
    pub(super) fn unknown(name: &str) -> Self {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if (1..=40).contains(&name.len()) && is_plain {
            Self::Parameter(Cow::Owned(name.to_owned()))
        } else {
            Self::Unnamed
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("database URL"),
            Self::Scheme => f.write_str("scheme"),
            Self::User => f.write_str("user"),
            Self::Password => f.write_str("password"),
            Self::Host => f.write_str("host"),
            Self::Port => f.write_str("port"),
            Self::Database => f.write_str("database"),
            Self::Parameter(name) => write!(f, "parameter `{name}`"),
            Self::Unnamed => f.write_str("a parameter"),
            Self::Variable(name) => write!(f, "variable {name}"),
        }
    }
}

/// The rule that a part breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each message is its own documentation")]
pub enum Problem {
    #[error("must begin with `postgresql://`, `postgres://` or `postgresql+DRIVER://`")]
    Scheme,
    #[error(
        "must be a URL such as `postgresql://user:password@host:5432/database`, or words such as `host=db user=app`, without quotes around it"
    )]
    Form,
    #[error("white space or a line break before or after the URL must be removed")]
    Surrounded,
    #[error("a `%` must be followed by two hexadecimal digits; write a literal `%` as `%25`")]
    Escape,
    #[error("a NUL byte (`%00`) is not allowed")]
    Nul,
    #[error("the bytes are not UTF-8 after decoding")]
    Utf8,
    #[error("a space must be written `%20`")]
    Space,
    #[error("an `@` in the password must be written `%40`")]
    At,
    #[error("an `@` must be written `%40`, and a `/` in the password `%2F`")]
    Slash,
    #[error("parameters begin with `?`; an `&` in the name must be written `%26`")]
    Ampersand,
    #[error("the name must be followed by `=` and a value")]
    Separator,
    #[error("a second `=` must be written `%3D`")]
    SecondSeparator,
    #[error("the closing `'` is missing")]
    Quote,
    #[error("the closing `]` of an IPv6 address is missing")]
    Bracket,
    #[error("after the `]` of an IPv6 address only `:`, `/`, `?` or `,` may follow")]
    AfterBracket,
    #[error(
        "must be a name of letters, digits, `-`, `_` and `.`, an IP address, or a path beginning with `/`"
    )]
    Host,
    #[error("is not decoded by SQLAlchemy; give a socket's directory as `?host=/run/postgresql`")]
    EncodedHost,
    #[error("SQLAlchemy takes several hosts with ports as `?host=a:5432&host=b:5432`")]
    HostList,
    #[error("must be an IP address")]
    Address,
    #[error("must be a number from 1 to 65535")]
    Port,
    #[error(
        "must be a number from 1 to 65535; a `/`, `?` or `:` in the password must be written `%2F`, `%3F` or `%3A`"
    )]
    PortOrPassword,
    #[error("is given twice, after the host and on its own")]
    PortTwice,
    #[error("{given} given for {hosts} host(s)")]
    Count { given: usize, hosts: usize },
    #[error("is not a parameter of libpq, asyncpg, psycopg or SQLAlchemy")]
    Unknown,
    #[error(
        "is a parameter of {0}, and means nothing to a server: remove it here (see URLs of other drivers in docs/migration.md)"
    )]
    Foreign(&'static str),
    #[error("must be one of: {0}")]
    Allowed(String),
    #[error("must be a whole number")]
    Integer,
    #[error("must be a number of seconds")]
    Seconds,
    #[error("cannot be honoured: {0}")]
    Refused(&'static str),
    #[error("contradicts `{0}`")]
    Contradiction(&'static str),
    #[error("must be one of: {allowed}, with `{with}`")]
    Weak { allowed: &'static str, with: &'static str },
    #[error("each method must be one of: {0}; with `!` to refuse it")]
    Method(String),
    #[error("names a method twice")]
    MethodTwice,
    #[error("either every method or no method has a `!`")]
    MethodMixed,
    #[error("allows none of the supported methods: none, password, md5, scram-sha-256")]
    MethodNone,
    #[error("must not be above `ssl_max_protocol_version`")]
    Range,
    #[error("needs `sslcert`")]
    Certificate,
    #[error("is missing, and the operating system has no name for the user that runs the exporter")]
    NoUser,
}

/// The byte position, or nothing.
struct Position(Option<usize>);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, " at byte {at}"),
            None => Ok(()),
        }
    }
}
