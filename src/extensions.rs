//! The extensions of requests, whose memory is used again.
//!
//! `http::Extensions` is a table in a box. [`Server`](crate::Server) adds the address of the client to each request, and would allocate a table for
//! each.

use std::cell::Cell;
use std::mem;

use http::Extensions;

use crate::extract::PeerAddr;

/// Extensions with the address of a client, if possible with the memory of those of an earlier request.
pub(crate) fn reused(peer: PeerAddr) -> Extensions {
    let mut extensions = UNUSED.take().unwrap_or_default();
    match extensions.get_mut() {
        Some(earlier) => *earlier = peer,
        None => drop(extensions.insert(peer)),
    }
    extensions
}

/// Empties the extensions of a request that was answered, and keeps their memory for a later one.
pub(crate) fn reuse(extensions: &mut Extensions) {
    if extensions.is_empty() {
        return;
    }
    // This drops the values of the request, as without the reuse. An address alone stays, because `reused` replaces it.
    if extensions.len() > 1 || extensions.get::<PeerAddr>().is_none() {
        extensions.clear();
    }
    UNUSED.set(Some(mem::take(extensions)));
}

thread_local! {
    /// Extensions with memory, which are empty or have an address. One per thread: most requests are answered before the thread begins another one.
    static UNUSED: Cell<Option<Extensions>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn peer(port: u16) -> PeerAddr {
        PeerAddr(([192, 0, 2, 1], port).into())
    }

    #[test]
    fn no_value_of_an_earlier_request_is_kept() {
        for with_secret in [true, false] {
            let secret = Arc::new("secret");
            let mut extensions = reused(peer(1));
            if with_secret {
                extensions.insert(secret.clone());
            }
            reuse(&mut extensions);
            assert!(extensions.is_empty());
            assert_eq!(Arc::strong_count(&secret), 1);
            let next = reused(peer(2));
            assert!(next.len() == 1 && next.get::<PeerAddr>().unwrap().0.port() == 2);
        }
    }

    #[test]
    fn a_value_that_is_alone_is_no_address() {
        let mut extensions = Extensions::new();
        extensions.insert("secret");
        reuse(&mut extensions);
        assert_eq!(reused(peer(1)).len(), 1);
    }
}
