//! The example `api` as its users meet it: its program is started, asked over sockets, pasted into a shell, and its page is used in a browser.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod browser;
#[path = "../support/browser.rs"]
mod driver;
#[path = "../support/ports.rs"]
mod ports;
mod program;
#[path = "../support/programs.rs"]
mod programs;
mod table;
