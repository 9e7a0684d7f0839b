//! The label set of sessions: database, user and application.

/// The labels `database`, `user` and `application`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The database; empty while the session is starting.
    pub database: String,
    /// The role; empty while the session is starting.
    pub user: String,
    /// The application_name, which every client chooses for itself.
    pub application: String,
}

/// Label value for series beyond the limit.
const OTHER: &str = "other";

impl SessionKey {
    /// Copies the parts.
    pub fn new(database: &str, user: &str, application: &str) -> Self {
        Self {
            database: database.to_owned(),
            user: user.to_owned(),
            application: application.to_owned(),
        }
    }

    /// The label values: database, user, application.
    pub(crate) fn labels(&self) -> [&str; 3] {
        [&self.database, &self.user, &self.application]
    }

    /// The label values, and one more.
    pub(crate) fn labels_and<'s>(&'s self, last: &'s str) -> [&'s str; 4] {
        [&self.database, &self.user, &self.application, last]
    }

    /// Returns the labels of a session that is not rolled up. A name that could be taken for the set of
    /// all others, `other`, gets one more `_`, as do such names themselves, so that none are the same.
    pub(crate) fn kept_apart(&self) -> Self {
        let mut key = self.clone();
        if key.application.strip_prefix(OTHER).is_some_and(|rest| rest.chars().all(|c| c == '_')) {
            key.application.push('_');
        }
        key
    }

    /// The set that collects the applications of this role and database beyond the limit.
    pub(super) fn rolled_up(&self) -> Self {
        Self::new(&self.database, &self.user, OTHER)
    }

    /// The set that collects everything beyond the limit.
    pub(super) fn others() -> Self {
        Self::new(OTHER, OTHER, OTHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_that_is_called_other_is_not_the_set_of_all_others() {
        let shown = |name: &str| SessionKey::new("db", "app", name).kept_apart().application;
        let names = ["other", "other_", "other_1", "others", "web"].map(shown);
        assert_eq!(names, ["other_", "other__", "other_1", "others", "web"]);
        assert_eq!(SessionKey::new("db", "app", "web").rolled_up().application, "other");
    }
}
