//! `Idempotency` over HTTP: what the draft and public libraries do, what clients see when a request is cut off at any point, and random schedules.
//!
//! `interop` runs the faults and the schedules with a real Redis.
#![cfg(all(feature = "full", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that can't go on has failed")]

mod behaviours;
mod faults;
mod responses;
mod schedules;
mod settings;
mod world;
