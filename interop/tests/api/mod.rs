//! The example `api` as users see it: the tests start its program, send requests over sockets, run its curl lines, and use its page in a browser.

mod browser;
mod program;
mod table;
