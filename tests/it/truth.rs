//! What is said of an application's pool, beside real applications that know the truth: one test for each
//! situation, with all that /metrics, /api/v1/health, the landing page and `check` say of it.

/// Makes a test of each function for each of the drivers of SQLAlchemy.
macro_rules! with_both_drivers {
    ($($name:ident),+ $(,)?) => {
        mod asyncpg {
            $( #[test] fn $name() { super::$name(crate::support::workers::Library::Asyncpg) } )+
        }
        mod psycopg {
            $( #[test] fn $name() { super::$name(crate::support::workers::Library::Psycopg) } )+
        }
    };
}

mod blindness;
mod checks;
mod cost;
mod fullest;
mod libraries;
mod names;
mod processes;
mod samples;
mod soak;
mod stage;
