//! The databases of a server, for a target with `databases: discover`: its listing, and the targets that follow.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Row;

use super::settings::TargetSettings;
use super::sight::ServerPath;
use super::snapshot::Failure;
use super::target::Target;
use crate::pool::{QueryError, Reason, TransactionMode};
use crate::view::Pattern;
use crate::view::application::NameMatch;

/// The databases that become targets, and how often they are listed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DiscoverSettings {
    /// Those that are wanted; empty for all.
    pub(crate) include: Vec<Pattern>,
    /// Those that are not, also where `include` has them.
    pub(crate) exclude: Vec<Pattern>,
    /// From one listing to the next.
    pub(crate) refresh: Duration,
    /// The most databases that become targets.
    pub(crate) limit: usize,
}

impl DiscoverSettings {
    /// From one listing to the next, unless another time is configured.
    pub(crate) const REFRESH: Duration = Duration::from_secs(300);

    /// The most databases, unless another number is configured.
    pub(crate) const LIMIT: u32 = 1_000;

    /// Reports whether the patterns want a database.
    pub(crate) fn wants(&self, database: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(database));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

/// A database of a server that allows connections and is no template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedDatabase {
    pub(crate) name: String,
    /// The exporter's role has the privilege CONNECT.
    pub(crate) may_connect: bool,
}

/// An interrupted DROP DATABASE leaves a database with this limit, to which nobody can connect.
/// <https://www.postgresql.org/docs/current/catalog-pg-database.html>
const SQL: &str = "SELECT pg_catalog.textsend(datname::text) AS name, \
    pg_catalog.has_database_privilege(oid, 'CONNECT') AS may_connect \
    FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2";

/// Lists the databases of a target's server, sorted by name. Ends within the time-out of its probes.
///
/// # Errors
/// The failure of the check-out or of the statement; a pooler between, whose databases are not the server's.
pub(crate) async fn list_databases(target: &Target) -> Result<Vec<ListedDatabase>, Failure> {
    if target.path() == Some(ServerPath::Pooled) {
        return Err(behind_pooler());
    }
    let limit = target.settings().schedule.timeout;
    let listed = timeout(limit, ask(target, limit)).await;
    listed.unwrap_or_else(|_| Err(QueryError::Timeout { limit }.into()))
}

fn behind_pooler() -> Failure {
    let message = "a pooler stands between, and only its own configuration says which databases it has: give \
                   the target the server's own address";
    Failure::new(Reason::WrongKind, message)
}

async fn ask(target: &Target, limit: Duration) -> Result<Vec<ListedDatabase>, Failure> {
    let mut connection = target.pool().check_out().await?;
    connection.begin(TransactionMode::ReadOnly, limit).await?;
    let rows = connection.query(SQL, &[], limit).await?;
    connection.release(limit).await;
    let mut databases: Vec<ListedDatabase> = rows.iter().filter_map(database).collect();
    databases.sort();
    Ok(databases)
}

/// A name that is not UTF-8 cannot be written in the start-up packet of a client that speaks UTF-8.
fn database(row: &Row) -> Option<ListedDatabase> {
    let name = String::from_utf8(row.try_get("name").ok()?).ok()?;
    Some(ListedDatabase { name, may_connect: row.try_get("may_connect").ok()? })
}

impl TargetSettings {
    /// The settings of the target for one database of this target's server.
    ///
    /// The status that applications serve themselves stays with this target alone: it would be read, and shown,
    /// once for each database otherwise.
    pub(crate) fn of_database(&self, database: &str) -> Self {
        let mut child = self.clone();
        child.name = target_name(&self.name, database);
        child.parent = Some(self.name.clone());
        let mut dsn = self.connect.dsn.as_ref().clone();
        let own = dsn.database.replace(database.to_owned());
        child.connect.dsn = Arc::new(dsn);
        child.sources.clear();
        child.views.applications.retain_mut(|application| {
            let sessions = &mut application.sessions.database;
            match sessions {
                // That of this target's URL stands for the target's own database.
                NameMatch::Like(pattern)
                    if own.as_deref().is_some_and(|own| pattern.matches(own)) =>
                {
                    *sessions = NameMatch::SameAsExporter;
                    true
                }
                NameMatch::Like(pattern) => pattern.matches(database),
                NameMatch::SameAsExporter | NameMatch::Any => true,
            }
        });
        child
    }
}

/// The name of the target for a database: `TARGET/DATABASE`. Letters and digits of any script stand for
/// themselves; what could deceive in a label, a URL or a log is percent-encoded, so that names stay different.
fn target_name(target: &str, database: &str) -> String {
    let mut name = format!("{target}/");
    for c in database.chars() {
        if c.is_alphanumeric() || "-_.:".contains(c) {
            name.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                name.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::fixture;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().copied().map(Pattern::new).collect()
    }

    #[test]
    fn patterns_choose_the_databases() {
        let check = |include: &[&str], exclude: &[&str], wanted: &[&str]| {
            let settings = DiscoverSettings {
                include: patterns(include),
                exclude: patterns(exclude),
                refresh: DiscoverSettings::REFRESH,
                limit: 10,
            };
            let all = ["app_a", "app_b", "postgres", "app_old"];
            let found: Vec<_> = all.into_iter().filter(|name| settings.wants(name)).collect();
            assert_eq!(found, wanted, "{include:?} {exclude:?}");
        };
        check(&[], &[], &["app_a", "app_b", "postgres", "app_old"]);
        check(&["app_*"], &[], &["app_a", "app_b", "app_old"]);
        check(&["app_*"], &["*_old"], &["app_a", "app_b"]);
        check(&[], &["*"], &[]);
        check(&["postgres", "app_a"], &[], &["app_a", "postgres"]);
    }

    #[test]
    fn names_of_any_characters_stay_safe_and_different() {
        let all = [
            "a/b",
            "a%2Fb",
            "a b",
            "a\nb",
            "a\"b",
            "注文",
            "a\u{202e}b",
            "*",
            "a",
            "A",
            "é",
            "e\u{301}",
        ];
        let names: std::collections::BTreeSet<_> =
            all.iter().map(|database| target_name("t", database)).collect();
        assert_eq!(names.len(), all.len(), "{names:?}");
        for name in &names {
            let rest = name.strip_prefix("t/").unwrap();
            assert!(rest.chars().all(|c| c.is_alphanumeric() || "-_.:%".contains(c)), "{name}");
        }
        assert_eq!(target_name("t", "a b\"注"), "t/a%20b%22注");
    }

    #[test]
    fn a_child_is_its_parent_with_another_database() {
        let parent = fixture::settings("orders");
        let child = parent.of_database("billing");
        assert_eq!(child.name, "orders/billing");
        assert_eq!(child.parent.as_deref(), Some("orders"));
        assert_eq!(child.connect.dsn.database.as_deref(), Some("billing"));
        assert_eq!(parent.connect.dsn.database.as_deref(), Some("orders"));
        assert_eq!(
            (child.schedule.clone(), child.labels.clone()),
            (parent.schedule, parent.labels)
        );
    }
}
