//! `demo`: a throwaway PostgreSQL, an application with a life of its own, and the daemon watching
//! both. Everything is gone when it ends.

mod application;
mod server;
