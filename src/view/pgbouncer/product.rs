//! Recognizes poolers with a console like PgBouncer's, and what can be believed of each.
//!
//! Consoles that call themselves compatible are not: pgdog's times in SHOW STATS are milliseconds; odyssey writes
//! `maxwait`, `sv_used`, `sv_tested` and `sv_login` as a constant 0, and counts clients without a server connection
//! as `cl_waiting` although they are idle; pgcat never counts in `sv_used` and `cl_cancel_req`. What a pooler does
//! not measure is left out.

use strum::{IntoStaticStr, VariantArray};

/// The label `pooler`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum PoolerProduct {
    /// <https://www.pgbouncer.org/>
    PgBouncer,
    /// <https://github.com/postgresml/pgcat>
    PgCat,
    /// <https://github.com/pgdogdev/pgdog>
    PgDog,
    /// <https://github.com/yandex/odyssey>
    Odyssey,
    /// Another one; only what all others have in common is believed.
    #[default]
    Other,
}

impl PoolerProduct {
    /// Reports whether `maxwait` is measured, and not a constant.
    pub(super) fn measures_waits(self) -> bool {
        matches!(self, Self::PgBouncer | Self::PgCat | Self::PgDog)
    }

    /// Reports whether sizes, limits, SHOW LISTS and SHOW USERS have PgBouncer's meaning.
    pub(super) fn has_limits(self) -> bool {
        self == Self::PgBouncer
    }

    /// The number of units of a time in SHOW STATS that make a second.
    pub(super) fn ticks_per_second(self) -> f64 {
        match self {
            Self::PgDog => 1e3,
            Self::PgBouncer | Self::PgCat | Self::Odyssey | Self::Other => 1e6,
        }
    }
}

/// A pooler's product and version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolerIdentity {
    /// Its product.
    pub product: PoolerProduct,
    /// Its version, without the product's name; empty where it is not known.
    pub version: String,
}

impl PoolerIdentity {
    /// Recognizes a pooler by the parameter `server_version` of a console connection, and by the answer to SHOW
    /// VERSION where there is one. PgBouncer sends `1.18.0/bouncer` in the parameter in all versions, but no row
    /// for SHOW VERSION until 1.11.
    pub(super) fn of(server_version: &str, shown: Option<&str>) -> Self {
        if let Some(version) = server_version.strip_suffix("/bouncer") {
            return Self { product: PoolerProduct::PgBouncer, version: version.to_owned() };
        }
        if let Some(version) = server_version.strip_suffix(" (PgDog)") {
            return Self { product: PoolerProduct::PgDog, version: version.to_owned() };
        }
        let mut words = shown.unwrap_or_default().split_whitespace();
        let product = match words.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "pgbouncer" => PoolerProduct::PgBouncer,
            "pgcat" => PoolerProduct::PgCat,
            "pgdog" => PoolerProduct::PgDog,
            "odyssey" => PoolerProduct::Odyssey,
            _ => PoolerProduct::Other,
        };
        let version = words.next().unwrap_or(server_version).trim_start_matches('v');
        Self { product, version: version.to_owned() }
    }

    /// Reports whether the parameter alone says which pooler it is, so that SHOW VERSION need not be asked.
    pub(super) fn is_known_by(server_version: &str) -> bool {
        Self::of(server_version, None).product != PoolerProduct::Other
    }

    /// Reports whether the version is this one or a later one; `None` where it is not known.
    pub(super) fn is_at_least(&self, major: u32, minor: u32) -> Option<bool> {
        Some(self.number()? >= (major, minor, 0))
    }

    /// The version as numbers. `1.26.0dev` is 1.26.0.
    pub(super) fn number(&self) -> Option<(u32, u32, u32)> {
        let mut parts = self.version.split('.').map(|part| {
            let digits = part.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u32>().ok()
        });
        let (major, minor) = (parts.next()??, parts.next()??);
        Some((major, minor, parts.next().flatten().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pooler_is_recognized_by_what_it_sends() {
        use PoolerProduct::{Odyssey, Other, PgBouncer, PgCat, PgDog};
        let check = |parameter, shown, product, version: &str| {
            let identity = PoolerIdentity::of(parameter, shown);
            assert_eq!((identity.product, identity.version.as_str()), (product, version));
        };
        check("1.8.1/bouncer", None, PgBouncer, "1.8.1");
        check("1.25.2/bouncer", Some("PgBouncer 1.25.2"), PgBouncer, "1.25.2");
        check("1.2.0", Some("PgCat 1.2.0"), PgCat, "1.2.0");
        check("0.1.20 (PgDog)", Some("PgDog v0.1.20"), PgDog, "0.1.20");
        let odyssey = "odyssey 1.4.1 (git 9e2b) RelWithDebInfo, compiled by GNU";
        check("1.4.1 (git 9e2b)", Some(odyssey), Odyssey, "1.4.1");
        check("15.18 (Debian 15.18-0+deb12u1)", None, Other, "15.18 (Debian 15.18-0+deb12u1)");
        assert!(PoolerIdentity::is_known_by("1.12.0/bouncer"));
        assert!(!PoolerIdentity::is_known_by("1.2.0"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let at_least = |version: &str, minor| {
            PoolerIdentity { version: version.to_owned(), ..PoolerIdentity::default() }
                .is_at_least(1, minor)
        };
        assert_eq!(at_least("1.9.0", 19), Some(false));
        assert_eq!(at_least("1.19.0", 19), Some(true));
        assert_eq!(at_least("1.26.0dev", 24), Some(true));
        assert_eq!(at_least("unknown", 24), None);
    }
}
