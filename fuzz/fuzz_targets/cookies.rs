//! Any `Cookie` field can be parsed, and a `Set-Cookie` field contains no line breaks.

#![no_main]

use axum_core::response::IntoResponse;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use tower_chain::extract::cookies::{Cookie, Cookies, Key};

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append("cookie", value);
        }
    }
    let cookies = Cookies::of(&headers);
    let key = Key::from(&[7; 64]);
    let seen: Vec<(String, String)> =
        cookies.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut names: Vec<&String> = seen.iter().map(|(name, _)| name).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a name is there twice");
    for (name, value) in &seen {
        assert_eq!(cookies.value(name), Some(&**value));
        // Only this program has the key.
        assert_eq!(cookies.verified(&key, name), None);
        assert_eq!(cookies.decrypted(&key, name), None);
    }
    let mut answer = cookies;
    for (name, value) in seen {
        answer = answer.set(Cookie::new(name, value));
    }
    let response = answer.into_response();
    for field in response.headers().get_all("set-cookie") {
        assert!(!field.as_bytes().iter().any(|byte| b"\r\n\0".contains(byte)));
    }
});
