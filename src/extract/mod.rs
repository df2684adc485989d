//! What handlers take out of a request.

mod client_addr;

pub use client_addr::PeerAddr;
