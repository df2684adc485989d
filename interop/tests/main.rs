//! tower-chain together with other software: hosts, browsers, curl, an issuer of tokens, Redis, published test vectors.
//!
//! A test that needs a program or a file has a `cfg_attr` with a cfg of `build.rs`, which ignores it if that is missing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot continue has failed")]

mod api;
mod browser;
mod curl;
mod examples;
mod forms;
mod hosts;
mod issuer;
mod multipart;
mod openapi;
mod rate_limit;
mod redis;
mod schemas;
mod support;
mod vectors;
mod wycheproof;
