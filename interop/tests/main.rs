//! tower-chain together with programs that are not part of it: other hosts, browsers, curl, Redis.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue has failed")]

mod api;
mod browser;
mod examples;
mod hosts;
mod redis;
mod support;
