//! The version of this build and its origin.

/// The version of the package.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The revision that the builder named in `DB_POOL_EXPORTER_REVISION`.
pub(crate) const REVISION: &str = env!("DB_POOL_EXPORTER_REVISION");

/// The branch that the builder named in `DB_POOL_EXPORTER_BRANCH`.
pub(crate) const BRANCH: &str = env!("DB_POOL_EXPORTER_BRANCH");

/// The compiler's version.
pub(crate) const RUSTC: &str = env!("DB_POOL_EXPORTER_RUSTC");

/// The answer to `--version`, as every exporter gives it.
pub(crate) fn text() -> String {
    format!(
        "db_pool_exporter, version {VERSION} (branch: {BRANCH}, revision: {REVISION})\n  \
         rustc version:    {RUSTC}\n  platform:         {}/{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}
