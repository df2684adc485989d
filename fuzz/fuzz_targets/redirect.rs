//! No target leads a browser to another origin, unless it is allowed.

#![no_main]

use axum_core::response::IntoResponse;
use libfuzzer_sys::fuzz_target;
use tower_chain::Redirect;
use url::Url;

fuzz_target!(|target: &str| {
    let base = Url::parse("https://home.example/dir/page?q#f").expect("a URL");
    let good = Url::parse("https://good.example").expect("a URL");
    for (redirect, allowed) in [
        (Redirect::to(target), false),
        (Redirect::to(target).allow_origin("https://good.example"), true),
    ] {
        let response = redirect.into_response();
        let Some(location) = response.headers().get("location") else {
            assert_eq!(response.status(), 400);
            continue;
        };
        assert_eq!(response.status(), 307);
        let joined = base.join(location.to_str().expect("ASCII")).expect("a browser can read it");
        let same = joined.origin() == base.origin();
        assert!(same || allowed && joined.origin() == good.origin(), "{joined}");
        assert!(joined.username().is_empty() && joined.password().is_none(), "{joined}");
    }
    if let Some(location) = Redirect::anywhere(target).into_response().headers().get("location") {
        // A target that browsers can't parse leads to no page.
        let joined = base.join(location.to_str().expect("ASCII"));
        assert!(joined.map_or(true, |url| ["http", "https"].contains(&url.scheme())));
    }
});
