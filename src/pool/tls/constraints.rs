//! Name constraints of authorities, applied to a server's common name (RFC 5280, 4.2.1.10).
//!
//! A name constraint limits the names that an authority may sign for. webpki applies constraints only to
//! alternative names. But like libpq, this crate accepts the common name of a certificate without
//! alternative names. Without the check here, an authority that is limited to `example.org` could issue a
//! certificate with the common name of any other server. OpenSSL applies the constraints to common names
//! as well (`NAME_CONSTRAINTS_check_CN` in crypto/x509/v3_ncons.c); this module follows its rules.

use webpki::VerifiedPath;
use x509_cert::der::Decode;
use x509_cert::der::asn1::Any;
use x509_cert::der::{Encode, Tag};
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use super::certificate::Certificate;

/// The constraints of all authorities on the path of a certificate, the root included.
pub(super) struct Constraints(Vec<NameConstraints>);

/// Constraints that cannot be parsed. The caller must then refuse every name, because a limit that is ignored
/// is no limit.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Constraints {
    pub(super) fn of(path: &VerifiedPath<'_>) -> Result<Self, Unreadable> {
        let mut all = Vec::new();
        for authority in path.intermediate_certificates() {
            let der = authority.der();
            let parsed = Certificate::parse(&der).ok_or(Unreadable)?;
            all.extend(parsed.name_constraints().map_err(|_| Unreadable)?);
        }
        if let Some(content) = &path.anchor().name_constraints {
            // webpki keeps the content of the sequence without its header.
            let whole = Any::new(Tag::Sequence, content.as_ref()).and_then(|any| any.to_der());
            let whole = whole.map_err(|_| Unreadable)?;
            all.push(NameConstraints::from_der(&whole).map_err(|_| Unreadable)?);
        }
        Ok(Self(all))
    }

    /// Reports whether no authority of the path is limited.
    pub(super) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// Reports whether a DNS name is within the limits of every authority. For `*.example.org` the part after
    /// the star is checked, because the star stands for any label.
    pub(super) fn allow(&self, name: &str) -> bool {
        let name = name.strip_prefix("*.").unwrap_or(name);
        self.0.iter().all(|constraints| is_allowed(constraints, name))
    }
}

fn is_allowed(constraints: &NameConstraints, name: &str) -> bool {
    let permitted = constraints.permitted_subtrees.iter().flatten();
    let mut permitted = permitted.filter_map(dns_base).peekable();
    let is_permitted = permitted.peek().is_none() || permitted.any(|base| is_within(name, base));
    let mut excluded = constraints.excluded_subtrees.iter().flatten().filter_map(dns_base);
    is_permitted && !excluded.any(|base| is_within(name, base))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other kinds do not limit DNS names")]
fn dns_base(subtree: &GeneralSubtree) -> Option<&str> {
    match &subtree.base {
        GeneralName::DnsName(name) => Some(name.as_str()),
        _ => None,
    }
}

/// Reports whether a name is in the subtree of a base, by the rules of OpenSSL's `nc_dns`. The base
/// `example.org` covers itself and all names below it, the base `.example.org` only the names below it.
fn is_within(name: &str, base: &str) -> bool {
    if base.is_empty() {
        return true;
    }
    let Some(start) = name.len().checked_sub(base.len()) else { return false };
    let end = name.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(base));
    end && (start == 0 || base.starts_with('.') || name[..start].ends_with('.'))
}

/// Reports whether OpenSSL takes a common name for a DNS name (`cn2dnsid`): at least two labels of
/// letters, digits, `_` and inner `-`. An IPv4 address is one by this rule.
pub(super) fn is_dns_name(common_name: &str) -> bool {
    common_name.contains('.') && common_name.split('.').all(is_label)
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subtrees(bases: &[&str]) -> Option<Vec<GeneralSubtree>> {
        let subtree = |base: &&str| GeneralSubtree {
            base: GeneralName::DnsName((*base).to_owned().try_into().unwrap()),
            minimum: 0,
            maximum: None,
        };
        if bases.is_empty() { None } else { Some(bases.iter().map(subtree).collect()) }
    }

    fn check(permitted: &[&str], excluded: &[&str], name: &str, expected: bool) {
        let constraints = NameConstraints {
            permitted_subtrees: subtrees(permitted),
            excluded_subtrees: subtrees(excluded),
        };
        let allowed = Constraints(vec![constraints]).allow(name);
        assert_eq!(allowed, expected, "permitted {permitted:?}, excluded {excluded:?}: {name}");
    }

    #[test]
    fn a_name_must_be_permitted_and_not_excluded() {
        check(&["example.org"], &[], "db.example.org", true);
        check(&["example.org"], &[], "EXAMPLE.org", true);
        check(&["example.org"], &[], "badexample.org", false);
        check(&["example.org"], &[], "db.example", false);
        check(&["example.org"], &[], "org", false);
        check(&[".example.org"], &[], "db.example.org", true);
        check(&[".example.org"], &[], "example.org", false);
        check(&["a.example", "b.example"], &[], "x.b.example", true);
        check(&[""], &[], "anything.at.all", true);
        check(&[], &["example.org"], "db.example.org", false);
        check(&[], &["example.org"], "db.example", true);
        check(&["example"], &["db.example"], "db.example", false);
        check(&["example"], &[], "*.example", true);
        check(&["example"], &[], "*.other", false);
        check(&["db.example"], &[], "*.example", false);
        check(&["a"], &[], "ä", false);
    }

    #[test]
    fn a_common_name_is_a_dns_name_as_openssl_sees_it() {
        for name in ["db.example", "10.0.0.1", "a_b.c-d.e"] {
            assert!(is_dns_name(name), "{name}");
        }
        for name in ["localhost", "My server", "*.example", "-a.b", "a-.b", "a..b", ".a", "a.", ""]
        {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
