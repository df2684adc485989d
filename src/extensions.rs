//! The extensions of requests, whose memory is used again.
//!
//! `http::Extensions` is a table in a box. [`Server`](crate::Server) adds the address of the client to each request, and would allocate a table for
//! each.

use std::cell::Cell;
use std::mem;

use http::Extensions;

/// Empty extensions, if possible with the memory of those of an earlier request.
pub(crate) fn reused() -> Extensions {
    UNUSED.take().unwrap_or_default()
}

/// Empties the extensions of a request that was answered, and keeps their memory for a later one.
pub(crate) fn reuse(extensions: &mut Extensions) {
    if !extensions.is_empty() {
        // This drops the values of the request, as without the reuse: none is kept.
        extensions.clear();
        UNUSED.set(Some(mem::take(extensions)));
    }
}

thread_local! {
    /// Empty extensions with memory. One per thread: most requests are answered before the thread begins another one.
    static UNUSED: Cell<Option<Extensions>> = const { Cell::new(None) };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn no_value_of_an_earlier_request_is_kept() {
        let secret = Arc::new("secret");
        let mut extensions = reused();
        extensions.insert(secret.clone());
        reuse(&mut extensions);
        assert_eq!(Arc::strong_count(&secret), 1);
        assert!(extensions.is_empty() && reused().get::<Arc<&str>>().is_none());
    }
}
