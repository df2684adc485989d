//! The example `api` as its users meet it: its program is started, asked over sockets, pasted into a shell, and its page is used in a browser.

mod browser;
mod program;
mod table;
