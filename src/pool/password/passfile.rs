//! libpq's password file: `host:port:database:user:password`, a line each
//! (<https://www.postgresql.org/docs/current/libpq-pgpass.html>; `passwordFromFile` in fe-connect.c).

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::dsn::{Address, DEFAULT_PORT, Dsn, Host};
use crate::files::{FileError, FileReader, LARGEST_SECRET};
use crate::secret::Secret;

/// Returns the password of the first line that matches.
///
/// # Errors
/// The reason why the whole file is ignored, as libpq ignores it.
pub(super) fn find(
    files: &FileReader,
    path: &Path,
    dsn: &Dsn,
    host: &Host,
) -> Result<Option<Secret>, String> {
    let content = match files.read_with_metadata(path, LARGEST_SECRET) {
        Ok(content) => content,
        Err(FileError::Io(ErrorKind::NotFound)) => return Ok(None),
        Err(error) => return Err(format!("it {error}")),
    };
    if content.metadata.mode() & 0o077 != 0 {
        return Err("others can read it; its permissions should be 0600 or less".to_owned());
    }
    let text =
        std::str::from_utf8(&content.bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    Ok(look_up(text, &wanted(dsn, host)))
}

/// Host, port, database and user, in the file's order and spelling.
type Wanted = [String; 4];

fn wanted(dsn: &Dsn, host: &Host) -> Wanted {
    let user = dsn.user.clone().unwrap_or_default();
    [
        host_name(host),
        host.port.unwrap_or(DEFAULT_PORT).to_string(),
        dsn.database.clone().unwrap_or_else(|| user.clone()),
        user,
    ]
}

/// The file's name for a host: the default folder of the socket is `localhost`.
fn host_name(host: &Host) -> String {
    match &host.address {
        Address::Unix(folder) if USUAL.iter().any(|usual| folder == Path::new(usual)) => {
            "localhost".to_owned()
        }
        Address::Unix(_) | Address::Name(_) | Address::Unset => host.show(),
    }
}

fn look_up(content: &str, wanted: &Wanted) -> Option<Secret> {
    let mut lines = content.lines().filter(|line| !line.starts_with('#'));
    let rest =
        lines.find_map(|line| wanted.iter().try_fold(line, |line, word| skip(line, word)))?;
    let password = field(rest);
    // libpq takes an empty password for none.
    if password.is_empty() { None } else { Some(Secret::new(password)) }
}

/// Returns what follows a line's first field, if that field is this word or a star.
fn skip<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut word = word.chars();
    let mut line = line.chars();
    loop {
        match line.next()? {
            ':' if word.as_str().is_empty() => return Some(line.as_str()),
            '\\' if line.next()? == word.next()? => {}
            '\\' => return None,
            other if Some(other) == word.next() => {}
            _ => return None,
        }
    }
}

/// A line's first field, unescaped.
fn field(line: &str) -> String {
    let mut field = String::with_capacity(line.len());
    let mut line = line.chars();
    while let Some(next) = line.next() {
        match next {
            ':' => break,
            '\\' => field.push(line.next().unwrap_or('\\')),
            other => field.push(other),
        }
    }
    field
}

/// The folders in which PostgreSQL and its packagers put the socket.
const USUAL: [&str; 3] = ["/tmp", "/var/run/postgresql", "/run/postgresql"];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// Looks up the password of `app` for `orders` on port 5432 of a host.
    fn check(content: &str, host: &str, expected: Option<&str>) {
        let wanted = [host, "5432", "orders", "app"].map(str::to_owned);
        let found = look_up(content, &wanted);
        assert_eq!(found.as_ref().map(Secret::reveal), expected, "{content:?} for {host}");
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        check("db:5432:orders:app:secret", "db", Some("secret"));
        check("db:5432:orders:app:secret", "other", None);
        check("db:5433:orders:app:x\ndb:5432:orders:app:secret\n", "db", Some("secret"));
        check("*:*:*:*:star\ndb:5432:orders:app:secret", "db", Some("star"));
        check("db:*:*:app:one\r\n", "db", Some("one"));
        check("#db:5432:orders:app:x\n\n*:5432:*:app:two", "db", Some("two"));
        check("db*:5432:orders:app:x", "db", None);
        check("d*:5432:orders:app:x", "db", None);
        check("DB:5432:orders:app:x", "db", None);
        check("db:5432:orders:app:", "db", None);
        check("db:5432:orders:app", "db", None);
        check("", "db", None);
    }

    #[test]
    fn a_backslash_escapes_colons_and_itself() {
        check(r"\:\:1:5432:orders:app:secret", "::1", Some("secret"));
        check(r"d\b:5432:orders:app:secret", "db", Some("secret"));
        check(r"*:*:*:*:a\:b\\c\d", "db", Some(r"a:b\cd"));
        check(r"*:*:*:*:a:b", "db", Some("a"));
        check("*:*:*:*:p@ss wörd#%\\", "db", Some("p@ss wörd#%\\"));
        check(r"\*:5432:orders:app:x", "db", None);
    }

    #[test]
    fn a_host_is_called_as_libpq_calls_it() {
        let host = |address, hostaddr: Option<&str>| {
            let hostaddr = hostaddr.map(|text| text.parse().unwrap());
            host_name(&Host { address, hostaddr, port: None })
        };
        let unix = |path| Address::Unix(PathBuf::from(path));
        assert_eq!(host(Address::Name("db".to_owned()), Some("10.0.0.1")), "db");
        assert_eq!(host(Address::Unset, Some("10.0.0.1")), "10.0.0.1");
        assert_eq!(host(unix("/var/run/postgresql"), None), "localhost");
        assert_eq!(host(unix("/srv/sockets"), None), "/srv/sockets");
    }

    #[test]
    fn a_file_that_others_can_read_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pgpass");
        let dsn = crate::dsn::parse("postgresql://app@").unwrap_or_default();
        let host = Host { address: Address::Unset, hostaddr: None, port: None };
        let files = FileReader::default();
        assert!(matches!(find(&files, &path, &dsn, &host), Ok(None)), "there is none");
        fs::write(&path, "localhost:5432:app:app:secret").unwrap();
        for (mode, is_read) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = find(&files, &path, &dsn, &host);
            assert_eq!(matches!(found, Ok(Some(_))), is_read, "{mode:o}");
            assert_eq!(found.is_err(), !is_read, "{mode:o}");
        }
        assert!(find(&files, folder.path(), &dsn, &host).is_err(), "a folder");
    }
}
