//! `require_auth`: the authentication methods that the server may request.

use strum::{IntoStaticStr, VariantArray};

use super::parameter::{Parameter, read};
use super::word::Keyword as _;
use super::{Problem, number};

/// libpq's list of methods: those allowed, or, when negated, those refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequireAuth {
    /// The list names the refused methods: each was written with a `!`.
    pub negated: bool,
    /// The methods in the order given, each once.
    pub methods: Vec<AuthMethod>,
}

impl RequireAuth {
    /// Reports whether the server may use this method.
    pub fn allows(&self, method: AuthMethod) -> bool {
        self.methods.contains(&method) != self.negated
    }

    /// Writes the list as libpq does.
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
        if AuthMethod::SUPPORTED.iter().any(|&method| list.allows(method)) {
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
    /// No authentication.
    None,
    /// The password in clear text.
    Password,
    /// An MD5 hash of the password.
    Md5,
    /// GSSAPI (Kerberos).
    Gss,
    /// SSPI (Windows).
    Sspi,
    /// SCRAM, with or without channel binding.
    #[strum(serialize = "scram-sha-256")]
    ScramSha256,
    /// OAuth.
    Oauth,
}

impl AuthMethod {
    const SUPPORTED: [Self; 4] = [Self::None, Self::Password, Self::Md5, Self::ScramSha256];

    /// Returns libpq's word.
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
            None => dsn.is_given("command_timeout").then(|| "None".to_owned()),
        }),
    ),
];
