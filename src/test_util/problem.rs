//! Assertions about problem details and rate limits.

use std::time::Duration;

use http::StatusCode;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::Value;

use super::response::TestResponse;

impl TestResponse {
    /// Asserts that it is a problem (RFC 9457) with this status: media type, status line and the members `status`, `type` and `title`.
    #[track_caller]
    pub fn assert_problem(&self, status: u16) -> &Self {
        self.assert_status(status).assert_content_type("application/problem+json");
        self.assert_json_at("/status", status);
        let text = |value: &Value| value.is_string();
        self.assert_json_is("/type", "a text", text).assert_json_is("/title", "a text", text)
    }

    /// Asserts the `type` of a problem.
    #[track_caller]
    pub fn assert_problem_type(&self, uri: &str) -> &Self {
        self.assert_content_type("application/problem+json").assert_json_at("/type", uri)
    }

    /// Asserts the `detail` of a problem.
    #[track_caller]
    pub fn assert_detail(&self, detail: &str) -> &Self {
        self.assert_content_type("application/problem+json").assert_json_at("/detail", detail)
    }

    /// Asserts that a problem has an error for this field (a JSON Pointer) with this code. It may have further errors.
    #[track_caller]
    pub fn assert_field_error(&self, pointer: &str, code: &str) -> &Self {
        let errors = self.field_errors();
        if !errors.iter().any(|(at, why)| at == pointer && why == code) {
            self.fail(format_args!(
                "expected the error `{code}` at `{pointer}`, but the errors are {errors:?}"
            ));
        }
        self
    }

    /// The member `errors` of a problem: JSON Pointers and codes.
    ///
    /// # Panics
    ///
    /// If the response is not a problem, or has no such list.
    #[track_caller]
    pub fn field_errors(&self) -> Vec<(String, String)> {
        self.assert_content_type("application/problem+json");
        let text = |entry: &Value, name| entry[name].as_str().unwrap_or_default().to_owned();
        match self.json_at("/errors").as_array() {
            Some(list) => list.iter().map(|e| (text(e, "pointer"), text(e, "code"))).collect(),
            None => self.fail("expected a list at `/errors`, but it is not a list"),
        }
    }

    /// Asserts that it is 401 with a challenge of this scheme, such as `Bearer`.
    #[track_caller]
    pub fn assert_challenge(&self, scheme: &str) -> &Self {
        self.assert_status(StatusCode::UNAUTHORIZED);
        let mut all = self.headers.get_all(WWW_AUTHENTICATE).iter();
        let of_scheme = |value: &str| {
            let first = value.split([' ', ',']).next();
            first.is_some_and(|first| first.eq_ignore_ascii_case(scheme))
        };
        if !all.any(|value| value.to_str().is_ok_and(of_scheme)) {
            self.fail(format_args!("expected a challenge of the scheme {scheme}"));
        }
        self
    }

    /// Asserts `Retry-After`, in whole seconds.
    #[track_caller]
    pub fn assert_retry_after(&self, wait: Duration) -> &Self {
        self.assert_header(RETRY_AFTER.as_str(), wait.as_secs().to_string())
    }

    /// Asserts the remaining quota of a policy in the header `RateLimit`
    /// ([draft 10](https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/)).
    #[track_caller]
    pub fn assert_rate_limit(&self, policy: &str, remaining: u64) -> &Self {
        let all = self.rate_limits();
        if !all.iter().any(|field| field.policy == policy && field.remaining == remaining) {
            self.fail(format_args!(
                "expected that {remaining} remain of `{policy}`, but the limits are {all:?}"
            ));
        }
        self
    }

    /// The entries of the header `RateLimit`, one for each policy.
    pub fn rate_limits(&self) -> Vec<RateLimitField> {
        let values = self.headers.get_all("ratelimit").iter().filter_map(|v| v.to_str().ok());
        values.flat_map(items).filter_map(RateLimitField::parse).collect()
    }
}

/// An entry of the header `RateLimit`, for one policy. Made by [`TestResponse::rate_limits`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimitField {
    /// The name of the policy.
    pub policy: String,
    /// How many requests remain.
    pub remaining: u64,
    /// After which time more requests are allowed.
    pub reset: Option<Duration>,
}

impl RateLimitField {
    fn parse(item: &str) -> Option<Self> {
        let (name, parameters) =
            item.trim_matches([' ', '\t']).strip_prefix('"')?.split_once('"')?;
        let number = |key: &str| {
            parameters
                .split(';')
                .find_map(|p| p.trim_matches([' ', '\t']).strip_prefix(key)?.parse::<u64>().ok())
        };
        let reset = number("t=").map(Duration::from_secs);
        Some(Self { policy: name.to_owned(), remaining: number("r=")?, reset })
    }
}

/// The items of a structured list (RFC 9651). Commas within quotes do not separate items.
fn items(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}
