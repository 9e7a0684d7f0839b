//! `require_auth`: which authentication the server may ask for.

use strum::{IntoStaticStr, VariantArray};

use super::parameter::{Parameter, read};
use super::word::Keyword as _;
use super::{Problem, number};

/// libpq's list: either the methods that are allowed, or, negated, those that are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequireAuth {
    /// Each method was written with a `!`.
    pub negated: bool,
    /// The methods, each once, in the order given.
    pub methods: Vec<AuthMethod>,
}

impl RequireAuth {
    /// Whether the server may use this method.
    pub fn allows(&self, method: AuthMethod) -> bool {
        self.methods.contains(&method) != self.negated
    }

    /// The list as libpq writes it.
    pub(super) fn text(&self) -> String {
        let sign = if self.negated { "!" } else { "" };
        let methods: Vec<_> =
            self.methods.iter().map(|method| format!("{sign}{}", method.label())).collect();
        methods.join(",")
    }

    fn parse(text: &str) -> Result<Option<Self>, Problem> {
        if text.is_empty() {
            return Ok(None);
        }
        let negated = text.starts_with('!');
        let mut methods = Vec::new();
        for item in text.split(',') {
            let method = AuthMethod::parse(item.strip_prefix('!').unwrap_or(item))
                .map_err(|_| Problem::Method(AuthMethod::allowed()))?;
            if item.starts_with('!') != negated {
                return Err(Problem::MethodMixed);
            }
            if methods.contains(&method) {
                return Err(Problem::MethodTwice);
            }
            methods.push(method);
        }
        let list = Self { negated, methods };
        if AuthMethod::SPOKEN.iter().any(|&method| list.allows(method)) {
            Ok(Some(list))
        } else {
            Err(Problem::MethodNone)
        }
    }
}

/// An authentication method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum AuthMethod {
    /// The server asks for nothing.
    None,
    /// The password in clear.
    Password,
    /// The password's MD5 hash.
    Md5,
    /// Kerberos.
    Gss,
    /// Windows.
    Sspi,
    /// SCRAM, with or without channel binding.
    #[strum(serialize = "scram-sha-256")]
    ScramSha256,
    /// OAuth.
    Oauth,
}

impl AuthMethod {
    const SPOKEN: [Self; 4] = [Self::None, Self::Password, Self::Md5, Self::ScramSha256];

    /// libpq's name of it.
    pub fn label(self) -> &'static str {
        self.into()
    }
}

/// The parameters of this file.
pub(super) const PARAMETERS: &[Parameter] = &[
    read(
        "require_auth",
        Some("PGREQUIREAUTH"),
        |draft, text| {
            draft.dsn.require_auth = RequireAuth::parse(text)?;
            Ok(())
        },
        Some(|dsn| dsn.require_auth.as_ref().map(RequireAuth::text)),
    ),
    read(
        "passfile",
        Some("PGPASSFILE"),
        |draft, text| {
            draft.dsn.passfile = (!text.is_empty()).then(|| text.into());
            Ok(())
        },
        Some(|dsn| dsn.passfile.as_ref().map(|path| path.to_string_lossy().into_owned())),
    ),
    read(
        "command_timeout",
        None,
        |draft, text| {
            draft.dsn.command_timeout = number::fraction(text)?;
            Ok(())
        },
        Some(|dsn| match dsn.command_timeout {
            Some(time) => Some(time.as_secs_f64().to_string()),
            None => dsn.said("command_timeout").then(|| "None".to_owned()),
        }),
    ),
];
