//! Any patterns build or are refused, and any path is then routed without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tower_chain::extract::Path;
use tower_chain::{Body, Chain, Json, MatchedPath};
use tower_chain_fuzz::send;

// Patterns, an empty line, paths.
fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let patterns: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).take(4).collect();
    let handler = async |matched: MatchedPath, params: Option<Path<Vec<(String, String)>>>| {
        Json((matched.as_str().to_owned(), params.is_some()))
    };
    let pattern =
        |at: usize| patterns.get(at).copied().unwrap_or(["/-a", "/-b", "/-c/{x}", "/-d/{*y}"][at]);
    let built = Chain::new()
        .at(pattern(0), |c| c.get(handler))
        .at(pattern(1), |c| c.get(handler))
        .at(pattern(2), |c| c.at("/in/{q}", |c| c.get(handler)).get(handler))
        .at(pattern(3), |c| c.get(handler))
        .try_build();
    let chain = match built {
        Ok(chain) => chain,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    for path in lines.take(8).chain(patterns.iter().copied()) {
        let Ok(uri) = http::Uri::try_from(path) else { continue };
        let literal = !uri.path().contains(['{', '}', '%']) && uri.path() == path;
        let req = http::Request::get(uri).body(Body::empty()).expect("a request");
        let (status, body) = send(&chain, req);
        assert!([200, 400, 404, 500].contains(&status), "{status}");
        if status == 200 {
            let (matched, _): (String, bool) = serde_json::from_slice(&body).expect("JSON");
            assert!(matched.starts_with('/'));
        }
        // A path that is equal to a pattern without parameters matches.
        if literal && patterns.contains(&path) && patterns.len() <= 4 {
            assert_eq!(status, 200, "{path}");
        }
    }
});
