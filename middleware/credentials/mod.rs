//! The sources of credentials in a request, and the challenges for clients. Shared by the steps that authenticate.

mod declare;
pub(crate) mod digest_cache;
mod error;
mod explanation;
mod head;
mod origin;
mod source;

use std::mem;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

pub use self::error::TokenSourceError;
pub(crate) use self::explanation::Explanation;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
pub(crate) use self::explanation::TRAILING_SLASH;
#[cfg(any(feature = "introspection", feature = "jwks"))]
pub(crate) use self::explanation::issuer_error;
#[cfg(any(feature = "introspection", feature = "jwt", feature = "jwt-rust-crypto"))]
pub(crate) use self::explanation::one_of;
pub(crate) use self::head::RequestHead;
use self::origin::{TrustedOrigin, is_cross_site};
pub use self::source::TokenSource;
pub(crate) use self::source::{Credentials, Malformed};
use crate::challenge::{Challenge, ChallengeError};
use crate::{Body, Error, Request, Response};

/// All sources of a step, and the challenges for requests without credentials.
pub(crate) struct CredentialSources {
    /// Each source once, in the order of the configuration.
    sources: Vec<TokenSource>,
    /// The index of the challenge of each source.
    challenge_of: Vec<usize>,
    /// One for each kind of credentials, in the order of the sources.
    challenges: Vec<String>,
    pub(crate) terms: Terms,
    trusted_origins: Vec<TrustedOrigin>,
    pub(crate) form_limit: usize,
    /// In bytes. Longer credentials are refused.
    pub(crate) longest: usize,
    reads_form: bool,
}

/// The parameters that all challenges share.
pub(crate) struct Terms {
    realm: String,
    resource_metadata: Option<String>,
    /// The algorithms for proofs (RFC 9449, 5.1).
    algorithms: Option<String>,
    /// The scopes that a token needs (RFC 6750, 3).
    scope: Option<String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { realm: "api".to_owned(), resource_metadata: None, algorithms: None, scope: None }
    }
}

impl Terms {
    pub(crate) fn set_realm(&mut self, realm: String) -> Result<(), ChallengeError> {
        Challenge::bearer().param("realm", &realm)?;
        self.realm = realm;
        Ok(())
    }

    pub(crate) fn set_resource_metadata(&mut self, url: String) -> Result<(), ChallengeError> {
        Challenge::bearer().url("resource_metadata", &url)?;
        self.resource_metadata = Some(url);
        Ok(())
    }

    /// Each scope is visible ASCII without quotes and backslashes (RFC 6749, 3.3).
    pub(crate) fn set_scopes(
        &mut self,
        scopes: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<(), ChallengeError> {
        let mut all = String::new();
        for scope in scopes {
            let scope = scope.as_ref();
            let allowed = |byte: u8| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
            if scope.is_empty() || !scope.bytes().all(allowed) {
                return Err(ChallengeError::NotQuotable { name: "scope".to_owned() });
            }
            if !all.is_empty() {
                all.push(' ');
            }
            all.push_str(scope);
        }
        self.scope = Some(all).filter(|scopes| !scopes.is_empty());
        Ok(())
    }

    /// Takes the scopes and the metadata of others, if there are none yet.
    #[cfg(feature = "authenticate")]
    pub(crate) fn complete(&mut self, other: &Self) {
        let Self { realm: _, resource_metadata, algorithms: _, scope } = other;
        self.resource_metadata =
            self.resource_metadata.take().or_else(|| resource_metadata.clone());
        self.scope = self.scope.take().or_else(|| scope.clone());
    }

    pub(crate) fn set_algorithms(&mut self, names: String) {
        self.algorithms = Some(names);
    }
}

/// Why no credentials could be read.
pub(crate) enum UnreadCredentials {
    /// The credentials in the source with this index are malformed. The text is for the client.
    Malformed(usize, &'static str),
    /// Another site caused a browser to send its cookie.
    CrossSite,
    /// The body could not be read as a form.
    Body(Error),
}

impl CredentialSources {
    pub(crate) fn new() -> Self {
        Self {
            sources: Vec::new(),
            challenge_of: Vec::new(),
            challenges: Vec::new(),
            terms: Terms::default(),
            trusted_origins: Vec::new(),
            form_limit: 64 * 1024,
            longest: 8 * 1024,
            reads_form: false,
        }
    }

    /// Sets the sources, and computes the challenges.
    pub(crate) fn set<'s>(&mut self, sources: impl IntoIterator<Item = &'s TokenSource>) {
        self.sources.clear();
        self.challenge_of.clear();
        self.challenges.clear();
        for source in sources {
            if self.sources.contains(source) {
                continue;
            }
            let text = source.challenge(&self.terms).to_string();
            let known = self.challenges.iter().position(|challenge| *challenge == text);
            self.challenge_of.push(known.unwrap_or(self.challenges.len()));
            if known.is_none() {
                self.challenges.push(text);
            }
            self.sources.push(source.clone());
        }
        self.reads_form = self.sources.iter().any(TokenSource::is_form);
    }

    /// Keeps only the challenge of this source. Credentials in the other sources are still found, and refused with this challenge.
    pub(crate) fn ask_only_for(&mut self, place: usize) {
        if let Some(only) = self.challenge_of.get(place).copied() {
            self.challenges.swap(0, only);
            self.challenges.truncate(1);
            self.challenge_of.fill(0);
        }
    }

    pub(crate) fn trust(&mut self, origin: String) -> Result<(), TokenSourceError> {
        self.trusted_origins.push(TrustedOrigin::new(origin)?);
        Ok(())
    }

    pub(crate) fn challenges(&self) -> &[String] {
        &self.challenges
    }

    /// The index of a source.
    pub(crate) fn position(&self, source: &TokenSource) -> Option<usize> {
        self.sources.iter().position(|own| own == source)
    }

    /// Whether [`read_form`](Self::read_form) must be called.
    pub(crate) fn reads_form(&self) -> bool {
        self.reads_form
    }

    /// Reads the body of a form, and puts it back.
    pub(crate) async fn read_form(
        &self,
        req: &mut Request,
    ) -> Result<Option<String>, UnreadCredentials> {
        let content_type = req.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type
            .and_then(|value| value.split(';').next())
            .map(|text| text.trim_matches([' ', '\t']));
        if !essence.is_some_and(|e| e.eq_ignore_ascii_case("application/x-www-form-urlencoded")) {
            return Ok(None);
        }
        let body = mem::take(req.body_mut());
        let body = match Limited::new(body, self.form_limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                return Err(UnreadCredentials::Body(Error::new(status, "The form is too long")));
            }
            Err(_) => {
                let status = StatusCode::BAD_REQUEST;
                return Err(UnreadCredentials::Body(Error::new(
                    status,
                    "The form could not be read",
                )));
            }
        };
        *req.body_mut() = Body::from(body.clone());
        // RFC 6750, 2.2: a form with a token is ASCII. A body that is not UTF-8 contains no token.
        Ok(String::from_utf8(body.into()).ok())
    }

    /// Marks the credentials as sensitive: `Debug` does not show them, and HTTP/2 does not index them.
    pub(crate) fn mark_sensitive(&self, headers: &mut HeaderMap) {
        self.sources.iter().for_each(|source| source.mark_sensitive(headers));
    }

    /// Finds the only source with credentials, and the credentials. A cookie beside another source with the same ones does not count.
    pub(crate) fn find<'r>(
        &self,
        req: &'r Request,
        form: Option<&'r str>,
    ) -> Result<Option<(usize, Credentials<'r>)>, UnreadCredentials> {
        let mut found: Option<(usize, Credentials<'r>, bool)> = None;
        for (place, source) in self.sources.iter().enumerate() {
            let here = source.find(req, form, self.longest);
            let here =
                here.map_err(|Malformed(detail)| UnreadCredentials::Malformed(place, detail))?;
            let Some(credentials) = here else { continue };
            let cookie = source.is_cookie();
            if let Some((_, other, other_cookie)) = &found {
                // A browser sends its cookie with each request, also if the page has put the same token elsewhere.
                if cookie == *other_cookie || credentials.as_bytes() != other.as_bytes() {
                    let detail = "Credentials are sent in more than one place";
                    return Err(UnreadCredentials::Malformed(place, detail));
                }
                // Another site can't send a token that it does not know, so the other source counts.
                if cookie {
                    continue;
                }
            }
            found = Some((place, credentials, cookie));
        }
        match found {
            Some((_, _, true)) if is_cross_site(req, &self.trusted_origins) => {
                Err(UnreadCredentials::CrossSite)
            }
            found => Ok(found.map(|(place, credentials, _)| (place, credentials))),
        }
    }

    /// Removes credentials from the URI and from the subprotocols, where later steps could log them or select them as a protocol. Returns whether the
    /// response needs [`came_by_query`].
    pub(crate) fn strip(&self, req: &mut Request, place: usize) -> bool {
        self.sources.get(place).is_some_and(|source| source.strip(req))
    }

    /// Adds the challenges. The error code is added to the challenge of the source in which the credentials were.
    pub(crate) fn challenge(&self, error: Error, about: Option<(usize, &str, &str)>) -> Error {
        let mut answer = error;
        let at = about.and_then(|(place, ..)| self.challenge_of.get(place));
        for (number, challenge) in self.challenges.iter().enumerate() {
            let value = match about {
                // Only the schemes of RFC 6750, 3 and RFC 9449, 7.1 have these parameters.
                Some((_, code, detail)) if at == Some(&number) && is_oauth(challenge) => {
                    HeaderValue::try_from(format!(
                        "{challenge}, error=\"{code}\", error_description=\"{detail}\""
                    ))
                }
                _ => HeaderValue::try_from(challenge),
            };
            if let Ok(value) = value {
                answer = answer.with_header(WWW_AUTHENTICATE, value);
            }
        }
        answer
    }
}

/// Whether a source is in the list twice.
pub(crate) fn has_twins(sources: &[TokenSource]) -> bool {
    let mut rest = sources;
    while let Some((first, others)) = rest.split_first() {
        if others.contains(first) {
            return true;
        }
        rest = others;
    }
    false
}

fn is_oauth(challenge: &str) -> bool {
    challenge.starts_with("Bearer ") || challenge.starts_with("DPoP ")
}

/// Keeps a refusal out of caches, because the next request may have credentials.
pub(crate) fn no_store(error: Error) -> Error {
    if error.headers().contains_key(CACHE_CONTROL) {
        return error;
    }
    error.with_header(CACHE_CONTROL, NO_STORE)
}

/// A refusal of a request that may succeed when it is sent again.
pub(crate) fn later(error: Error) -> Error {
    no_store(error).with_header(RETRY_AFTER, HeaderValue::from_static("5"))
}

/// Protects a response to a request whose URI contains a token (RFC 9700, 4.3.2).
pub(crate) fn came_by_query(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// The refusal of a request that another site caused.
pub(crate) fn cross_site() -> Error {
    let detail = "The request was made by another site";
    no_store(Error::new(StatusCode::FORBIDDEN, detail))
}

/// Whether a character does not show: white space of Unicode, a byte order mark, or another one without width. Settings are copied from documents along with
/// them.
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto", feature = "introspection"))]
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_ascii_whitespace()
        || matches!(
            c,
            '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200f}' | '\u{2028}' | '\u{2029}'
        )
        || matches!(c, '\u{202f}' | '\u{205f}' | '\u{2060}' | '\u{3000}' | '\u{feff}')
}

pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The `User-Agent` of requests to an issuer. Some firewalls refuse requests without one.
#[cfg(any(feature = "introspection", feature = "jwks"))]
pub(crate) const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("tower-chain/", env!("CARGO_PKG_VERSION")));
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
