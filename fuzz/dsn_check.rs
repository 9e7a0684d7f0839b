//! Properties that must hold for every input of the database URL parser.

use db_pool_exporter::dsn::{Dsn, parse};

/// Part of the password of every URL in the corpus. It cannot be part of another field, so no error may contain it.
const MARK: &str = "s3cr3t-";

/// Parses the text, parses its redacted form again, and completes it from an environment.
///
/// Panics if a property does not hold. The message contains no text of the URL.
pub(crate) fn check(text: &str) {
    match parse(text) {
        Ok(dsn) => {
            shown_is_the_same(&dsn);
            shown_is_redacted(text, &dsn);
            completed_is_whole(dsn);
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "the URL is refused without a reason");
            let shown = errors.iter().any(|error| format!("{error} {error:?}").contains(MARK));
            assert!(!shown, "an error contains the password");
        }
    }
}

fn shown_is_the_same(dsn: &Dsn) {
    let shown = dsn.to_string();
    let Ok(again) = parse(&shown) else { panic!("the redacted URL is refused") };
    assert!(again.to_string() == shown, "the redacted URL means something else");
    assert!(again.hosts == dsn.hosts && again.user == dsn.user, "the redacted URL differs");
}

/// Checks that the redacted form hides the password, unless another part of the text contains it too.
fn shown_is_redacted(text: &str, dsn: &Dsn) {
    let password = dsn.password.as_ref();
    let here = password.is_some_and(|password| password.reveal().contains(MARK));
    let only_here = here && text.matches(MARK).count() == 1;
    assert!(!only_here || !dsn.to_string().contains(MARK), "the password is not redacted");
}

fn completed_is_whole(mut dsn: Dsn) {
    let errors =
        dsn.fill([("PGHOST", "a,b"), ("PGPORT", "1"), ("PGUSER", "u"), ("PGSSLMODE", "allow")]);
    let refused = !errors.is_empty() || !dsn.resolve(Some("me")).is_empty();
    let open = dsn.hosts.iter().any(|host| host.port.is_none()) || dsn.hosts.is_empty();
    assert!(refused || !open, "a host or a port is missing");
    assert!(
        refused || (dsn.user.is_some() && dsn.database.is_some()),
        "the user or the database is missing"
    );
}
