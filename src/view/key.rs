//! The label set of sessions: who connected to what, and as what it announced itself.

/// The labels `database`, `user` and `application`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The database; empty while a session is starting.
    pub database: String,
    /// The role; empty likewise.
    pub user: String,
    /// The application_name, which any client chooses for itself.
    pub application: String,
}

/// What stands for what there is no room for.
const OTHER: &str = "other";

impl SessionKey {
    /// From its parts.
    pub fn new(database: &str, user: &str, application: &str) -> Self {
        Self {
            database: database.to_owned(),
            user: user.to_owned(),
            application: application.to_owned(),
        }
    }

    /// The values in the labels' order.
    pub fn labels(&self) -> [&str; 3] {
        [&self.database, &self.user, &self.application]
    }

    /// The values in the labels' order, and one more.
    pub fn labels_and<'s>(&'s self, last: &'s str) -> [&'s str; 4] {
        [&self.database, &self.user, &self.application, last]
    }

    /// The set that takes in the applications of this role and database for which there is no room.
    pub(super) fn rolled_up(&self) -> Self {
        Self::new(&self.database, &self.user, OTHER)
    }

    /// The set that takes in everything for which there is no room.
    pub(super) fn others() -> Self {
        Self::new(OTHER, OTHER, OTHER)
    }
}
