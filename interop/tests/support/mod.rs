//! Helpers for several tests.

pub(crate) mod aws;
pub(crate) mod browser;
pub(crate) mod ports;
pub(crate) mod programs;
pub(crate) mod proxy;
pub(crate) mod redis_server;
