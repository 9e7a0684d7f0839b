//! stub until the branch lands
#![allow(missing_docs)]
use crate::secret::Secret;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Dsn {
    pub hosts: Vec<Host>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: Option<String>,
    pub application_name: Option<String>,
    pub options: Option<String>,
    pub connect_timeout: Option<Duration>,
    pub session: Option<SessionAttrs>,
    pub load_balance: bool,
    pub tcp: Tcp,
}
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    pub address: Address,
    pub hostaddr: Option<IpAddr>,
    pub port: Option<u16>,
}
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    Name(String),
    Unix(PathBuf),
    Unset,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tcp {
    pub keepalives: bool,
    pub idle: Option<Duration>,
    pub interval: Option<Duration>,
    pub count: Option<u32>,
    pub user_timeout: Option<Duration>,
}
