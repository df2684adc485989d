//! Header fields that turn on the protections of browsers.
//!
//! # What it does
//!
//! [`SecurityHeaders`] adds to each response the header fields that helmet 8 adds by default, and removes `X-Powered-By`. A field that
//! the response already has is kept.
//!
//! # Example
//!
//! ```
//! use tower_chain::{Chain, SecurityHeaders};
//!
//! let chain = Chain::new().always(SecurityHeaders::new()).get(async || "hello");
//! # let _ = chain.build();
//! ```
//!
//! # Example: another policy, and one field less
//!
//! ```
//! use tower_chain::{Chain, SecurityHeaders};
//!
//! # fn main() -> Result<(), tower_chain::middleware::security_headers::SecurityHeadersError> {
//! let headers = SecurityHeaders::new()
//!     .content_security_policy("default-src 'none'; frame-ancestors 'none'")?
//!     .x_frame_options("DENY")?
//!     .without("x-download-options");
//! let chain = Chain::new().always(headers).get(async || "hello");
//! # let _ = chain.build();
//! # Ok(())
//! # }
//! ```
//!
//! # What the client sees
//!
//! | field | default |
//! | --- | --- |
//! | `Content-Security-Policy` | `default-src 'self'` and the other directives of helmet |
//! | `Cross-Origin-Opener-Policy` | `same-origin` |
//! | `Cross-Origin-Resource-Policy` | `same-origin` |
//! | `Origin-Agent-Cluster` | `?1` |
//! | `Referrer-Policy` | `no-referrer` |
//! | `Strict-Transport-Security` | `max-age=31536000; includeSubDomains` |
//! | `X-Content-Type-Options` | `nosniff` |
//! | `X-DNS-Prefetch-Control` | `off` |
//! | `X-Download-Options` | `noopen` |
//! | `X-Frame-Options` | `SAMEORIGIN` |
//! | `X-Permitted-Cross-Domain-Policies` | `none` |
//! | `X-XSS-Protection` | `0` |
//!
//! # What it provides
//!
//! Nothing.
//!
//! # Where to put it
//!
//! First, with `always`, so that errors carry the fields as well.
//!
//! # Sources
//!
//! helmet 8 (defaults); RFC 6797 (HSTS); CSP Level 3; the Fetch and HTML standards.

use std::fmt;

use http::header::{HeaderName, InvalidHeaderValue};
use http::{HeaderMap, HeaderValue};

use crate::declare::{Declaration, Field};
use crate::{Endpoint, Middleware, Next, Response};

/// A step that adds header fields which turn on the protections of browsers. See the [module](self).
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    fields: HeaderMap,
}

macro_rules! setters {
    ($($name:ident $field:literal $default:literal;)*) => {
        impl SecurityHeaders {
            $(
                #[doc = concat!("Sets `", $field, "`. Defaults to `", $default, "`.")]
                ///
                /// # Errors
                ///
                /// [`SecurityHeadersError`] if the value has other characters than a header field may have.
                pub fn $name(mut self, value: &str) -> Result<Self, SecurityHeadersError> {
                    let value = HeaderValue::from_str(value)
                        .map_err(|source| SecurityHeadersError { field: $field, source })?;
                    self.fields.insert(HeaderName::from_static($field), value);
                    Ok(self)
                }
            )*
        }

        const DEFAULTS: &[(&str, &str)] = &[$(($field, $default)),*];
    };
}

setters! {
    content_security_policy "content-security-policy" "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests";
    cross_origin_opener_policy "cross-origin-opener-policy" "same-origin";
    cross_origin_resource_policy "cross-origin-resource-policy" "same-origin";
    origin_agent_cluster "origin-agent-cluster" "?1";
    referrer_policy "referrer-policy" "no-referrer";
    strict_transport_security "strict-transport-security" "max-age=31536000; includeSubDomains";
    x_content_type_options "x-content-type-options" "nosniff";
    x_dns_prefetch_control "x-dns-prefetch-control" "off";
    x_download_options "x-download-options" "noopen";
    x_frame_options "x-frame-options" "SAMEORIGIN";
    x_permitted_cross_domain_policies "x-permitted-cross-domain-policies" "none";
    x_xss_protection "x-xss-protection" "0";
}

impl SecurityHeaders {
    /// The defaults.
    pub fn new() -> Self {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Self { fields: DEFAULTS.iter().map(field).collect() }
    }

    /// Removes a field from those that are added.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }
}

impl Default for SecurityHeaders {
    fn default() -> Self {
        Self::new()
    }
}

impl Middleware for SecurityHeaders {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        let mut response = next.run().await;
        let headers = response.headers_mut();
        headers.remove("x-powered-by");
        for (name, value) in &self.fields {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        response
    }

    fn declare(&self, to: &mut Declaration) {
        for name in self.fields.keys() {
            to.adds(Field::from(name.as_str()));
        }
    }
}

/// Why a value can't be set: a header field may have only visible ASCII characters, spaces and tabs.
#[derive(Debug)]
pub struct SecurityHeadersError {
    field: &'static str,
    source: InvalidHeaderValue,
}

impl fmt::Display for SecurityHeadersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` takes visible ASCII characters and blanks alone", self.field)
    }
}

impl std::error::Error for SecurityHeadersError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tower::ServiceExt;

    use super::*;
    use crate::{Body, Chain};

    async fn headers(step: SecurityHeaders) -> HeaderMap {
        let handler = async || ([("x-powered-by", "x"), ("referrer-policy", "origin")], "hello");
        let chain = Chain::new().always(step).get(handler).build();
        let req = Request::get("/").body(Body::empty()).unwrap();
        chain.oneshot(req).await.unwrap().into_parts().0.headers
    }

    #[tokio::test]
    async fn what_the_handler_set_is_kept() {
        let found = headers(SecurityHeaders::new()).await;
        assert_eq!(found["referrer-policy"], "origin");
        assert!(!found.contains_key("x-powered-by"));
        assert!(DEFAULTS.iter().all(|(name, _)| found.get_all(*name).iter().count() == 1));
        assert_eq!(found["x-xss-protection"], "0");
    }

    #[tokio::test]
    async fn each_field_can_be_changed_or_left_out() {
        let step =
            SecurityHeaders::new().x_frame_options("DENY").unwrap().without("X-XSS-Protection");
        let found = headers(step).await;
        assert_eq!(found["x-frame-options"], "DENY");
        assert!(!found.contains_key("x-xss-protection"));
        let error = SecurityHeaders::new().referrer_policy("a\r\nb").unwrap_err();
        assert!(error.to_string().contains("referrer-policy"));
    }
}
