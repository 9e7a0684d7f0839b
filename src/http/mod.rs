//! The web side: the routes and their answers. The only room that knows a status code.

pub mod api;
