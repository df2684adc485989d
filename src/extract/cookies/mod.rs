//! Cookies: read, set, signed and encrypted.

#[cfg(test)]
mod tests;

use std::fmt;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, IntoResponseParts, ResponseParts};
use cookie::CookieJar;
pub use cookie::{Cookie, Expiration, Key, KeyError, SameSite};
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::{Error, Response};

/// The cookies of a request, and those that the response sets.
///
/// # Reading
///
/// If several cookies have the same name, the first is used: browsers send the one with the longest path first. Values are percent-decoded. A
/// value that is not UTF-8 then is left unchanged. Quotes around a value are removed. A name is compared byte by
/// byte, without decoding (`__%48ost-` is not `__Host-`). Only spaces and tabs around a name and a value are removed, as a browser
/// does when it stores a cookie: any other character that looks blank, such as U+2000, is a part of the name. Otherwise another host
/// of the same site could plant a cookie that is read as `__Host-`. Anything that is not a pair of name and value is skipped.
///
/// # Setting
///
/// Return it before the body: each cookie that was set or removed becomes a `Set-Cookie` field, removals first. A browser identifies a cookie by
/// its name, domain and path (RFC 6265bis, 5.7), and stores partitioned cookies separately. The last change of each such cookie is sent. To move
/// a cookie to another path, remove it with the old path, and set it with the new one: both fields are sent.
///
/// By default a cookie is `HttpOnly`, `Secure`, `SameSite=Lax` and `Path=/`; set an attribute to change it. The prefixes of names are enforced, in
/// any letter case: a `__Host-` cookie is always secure, with the path `/` and no domain; a `__Secure-` cookie is always secure; a `__Http-`
/// cookie is always secure and `HttpOnly`; a `__Host-Http-` cookie is all of this.
///
/// A cookie that a browser would reject, or store in another way than it is set, is a 500. The log states what to change:
///
/// | cause | limit |
/// | --- | --- |
/// | name | a token of RFC 9110 |
/// | name and encoded value | 4,096 bytes together |
/// | path | visible ASCII without `;`, begins with `/`, at most 1,024 bytes |
/// | domain | a host name or IPv4 address in ASCII (`xn--..` for other letters), at most 1,024 bytes |
/// | `SameSite=None`, `Partitioned` | not with `secure(false)` |
///
/// # Example
///
/// ```
/// use tower_chain::extract::Cookies;
/// use tower_chain::extract::cookies::Cookie;
/// use tower_chain::Chain;
///
/// async fn visits(cookies: Cookies) -> (Cookies, String) {
///     let count: u64 = cookies.value("visits").and_then(|n| n.parse().ok()).unwrap_or(0);
///     let cookies = cookies.set(Cookie::new("visits", (count + 1).to_string()));
///     (cookies, format!("Visit {}", count + 1))
/// }
///
/// let chain = Chain::new().get(visits);
/// # let _ = chain.build();
/// ```
///
/// # Example: signed and encrypted
///
/// The client can read a signed cookie, but not an encrypted one. It can neither alter one nor move it to another name.
///
/// ```
/// use tower_chain::extract::Cookies;
/// use tower_chain::extract::cookies::{Cookie, Key};
/// use tower_chain::{Chain, Provided};
///
/// # fn main() -> Result<(), tower_chain::extract::cookies::KeyError> {
/// # let secret = [7; 64];
/// let key = Key::try_from(&secret[..])?; // 64 random bytes, from the environment
///
/// async fn login(Provided(key): Provided<Key>, cookies: Cookies) -> Cookies {
///     cookies.set_encrypted(&key, Cookie::new("__Host-session", "4711"))
/// }
///
/// async fn session(Provided(key): Provided<Key>, cookies: Cookies) -> Option<String> {
///     cookies.decrypted(&key, "__Host-session")
/// }
///
/// let chain = Chain::new()
///     .provide(key)
///     .at("/login", |c| c.post(login))
///     .at("/", |c| c.get(async |key: Provided<Key>, cookies: Cookies| session(key, cookies).await.unwrap_or_default()));
/// # let _ = chain.build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "cookies are set when they are returned with the response"]
pub struct Cookies {
    /// The values to read: those of the request, and those set since.
    jar: CookieJar,
    /// One for each cookie that a browser distinguishes, in the order of the calls.
    changes: Vec<Change>,
}

#[derive(Clone)]
struct Change {
    cookie: Cookie<'static>,
    is_removal: bool,
}

impl Cookies {
    /// The cookies in the header fields of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut jar = CookieJar::new();
        for field in headers.get_all(COOKIE) {
            // RFC 6265 does not allow bytes beyond ASCII, but many clients send them.
            let text = String::from_utf8_lossy(field.as_bytes());
            for pair in text.split(';') {
                let Some((name, value)) = pair.split_once('=') else { continue };
                let (name, value) = (name.trim_matches(BLANKS), value.trim_matches(BLANKS));
                if !name.is_empty() && jar.get(name).is_none() {
                    jar.add_original(Cookie::new(name.to_owned(), decode(value)));
                }
            }
        }
        Self { jar, changes: Vec::new() }
    }

    /// The value of a cookie.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.jar.get(name).map(Cookie::value)
    }

    /// All names and values, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.jar.iter().map(Cookie::name_value)
    }

    /// The value of a cookie that [`set_signed`](Self::set_signed) made; `None` if its signature is not valid.
    pub fn verified(&self, key: &Key, name: &str) -> Option<String> {
        let (mac, value) = self.value(name)?.split_at_checked(MAC_LENGTH)?;
        let signed = Cookie::new(name.to_owned(), format!("{mac}{name}={value}"));
        let verified = self.jar.signed(key).verify(signed)?;
        Some(verified.value().strip_prefix(name)?.strip_prefix('=')?.to_owned())
    }

    /// The value of a cookie that [`set_encrypted`](Self::set_encrypted) made; `None` if it was altered.
    pub fn decrypted(&self, key: &Key, name: &str) -> Option<String> {
        self.jar.private(key).get(name).map(|cookie| cookie.value().to_owned())
    }

    /// Sets a cookie.
    pub fn set(mut self, cookie: Cookie<'static>) -> Self {
        let cookie = complete(cookie);
        self.jar.add_original(cookie.clone());
        self.change(cookie, false);
        self
    }

    /// Sets a cookie whose value is signed, together with its name.
    pub fn set_signed(self, key: &Key, mut cookie: Cookie<'static>) -> Self {
        let (name, value) = (cookie.name().to_owned(), cookie.value().to_owned());
        let mut jar = CookieJar::new();
        jar.signed_mut(key).add(Cookie::new(name.clone(), format!("{name}={value}")));
        let mac = jar.get(&name).and_then(|signed| signed.value().get(..MAC_LENGTH));
        cookie.set_value(format!("{}{value}", mac.unwrap_or_default()));
        self.set(cookie)
    }

    /// Sets a cookie whose value is encrypted, together with its name.
    pub fn set_encrypted(self, key: &Key, cookie: Cookie<'static>) -> Self {
        let name = cookie.name().to_owned();
        let mut jar = CookieJar::new();
        jar.private_mut(key).add(cookie);
        match jar.get(&name) {
            Some(encrypted) => self.set(encrypted.clone()),
            None => self,
        }
    }

    /// Removes a cookie with the path `/` and no domain.
    pub fn remove(self, name: impl Into<String>) -> Self {
        self.remove_cookie(Cookie::new(name.into(), ""))
    }

    /// Removes a cookie with another path or a domain, or a partitioned one. These must be those with which it was set.
    pub fn remove_cookie(mut self, cookie: Cookie<'static>) -> Self {
        let mut cookie = complete(cookie);
        cookie.make_removal();
        let name = cookie.name().to_owned();
        self.change(cookie, true);
        // Another cookie of this name, with another path for instance, may still be set.
        let set = |change: &&Change| !change.is_removal && change.cookie.name() == name;
        match self.changes.iter().rev().find(set) {
            Some(left) => self.jar.add_original(left.cookie.clone()),
            None => self.jar.force_remove(&name),
        }
        self
    }

    fn change(&mut self, cookie: Cookie<'static>, is_removal: bool) {
        self.changes.retain(|earlier| !is_same_cookie(&earlier.cookie, &cookie));
        self.changes.push(Change { cookie, is_removal });
    }

    /// The fields to send. A client that identifies cookies by fewer attributes keeps what is set, since removals are first.
    fn fields(&self) -> Result<Vec<HeaderValue>, Error> {
        let (removed, set): (Vec<_>, Vec<_>) =
            self.changes.iter().partition(|change| change.is_removal);
        removed.into_iter().chain(set).map(|change| field(&change.cookie)).collect()
    }
}

impl<S: Sync> FromRequestParts<S> for Cookies {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        Ok(Self::of(&parts.headers))
    }
}

impl IntoResponseParts for Cookies {
    type Error = Error;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Error> {
        for field in self.fields()? {
            parts.headers_mut().append(SET_COOKIE, field);
        }
        Ok(parts)
    }
}

impl IntoResponse for Cookies {
    fn into_response(self) -> Response {
        (self, ()).into_response()
    }
}

/// Shows only the names: values may be secrets.
impl fmt::Debug for Cookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.jar.iter().map(Cookie::name)).finish()
    }
}

fn decode(value: &str) -> String {
    let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    let bare = bare.unwrap_or(value);
    percent_decode_str(bare)
        .decode_utf8()
        .map_or_else(|_| bare.to_owned(), |text| text.into_owned())
}

/// Sets the attributes that the prefix of the name requires, and the defaults of the others.
fn complete(mut cookie: Cookie<'static>) -> Cookie<'static> {
    let prefix = Prefix::of(cookie.name());
    if prefix.host {
        cookie.unset_domain();
        cookie.set_path("/");
    }
    if prefix.secure || cookie.secure().is_none() {
        cookie.set_secure(true);
    }
    if prefix.http || cookie.http_only().is_none() {
        cookie.set_http_only(true);
    }
    if cookie.same_site().is_none() {
        cookie.set_same_site(SameSite::Lax);
    }
    if cookie.path().is_none() {
        cookie.set_path("/");
    }
    cookie
}

/// The requirements of a name's prefix (RFC 6265bis, 4.1.3 and 5.4).
struct Prefix {
    secure: bool,
    http: bool,
    host: bool,
}

impl Prefix {
    fn of(name: &str) -> Self {
        // Browsers compare prefixes without case.
        let has = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let host = has("__Host-");
        let http = has("__Http-") || has("__Host-Http-");
        Self { secure: host || http || has("__Secure-"), http, host }
    }
}

/// Whether a browser stores one of the two in place of the other (RFC 6265bis, 5.7). A partitioned cookie has a store of its own.
fn is_same_cookie(one: &Cookie<'_>, other: &Cookie<'_>) -> bool {
    let domain = |cookie: &Cookie<'_>| cookie.domain().map(str::to_ascii_lowercase);
    one.name() == other.name()
        && one.path() == other.path()
        && domain(one) == domain(other)
        && one.partitioned().unwrap_or(false) == other.partitioned().unwrap_or(false)
}

fn field(cookie: &Cookie<'_>) -> Result<HeaderValue, Error> {
    let mut cookie = cookie.clone();
    let value = utf8_percent_encode(cookie.value(), NOT_IN_A_VALUE).to_string();
    cookie.set_value(value);
    if let Err(problem) = check(&cookie) {
        let name = cookie.name();
        return Err(Error::internal(format!("The cookie {name:?} can't be set: {problem}")));
    }
    HeaderValue::try_from(cookie.to_string()).map_err(Error::from)
}

/// What a browser would reject or change in a cookie whose value is encoded, and how to mend it.
fn check(cookie: &Cookie<'_>) -> Result<(), &'static str> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let (name, value) = cookie.name_value();
    if name.is_empty() || !name.bytes().all(token) {
        return Err("use only ASCII letters, digits and !#$%&'*+-.^_`|~ in its name");
    }
    if name.len() + value.len() > MAX_PAIR {
        return Err(
            "its name and value have more than 4,096 bytes: store the data on the server, \
            and a key of it in the cookie",
        );
    }
    let path = cookie.path().unwrap_or("/");
    if !path.starts_with('/') {
        return Err("begin its path with a slash, or set none");
    }
    if !path.bytes().all(|b| b.is_ascii_graphic() && b != b';') {
        return Err("percent-encode its path: it may contain visible ASCII characters except ';'");
    }
    if path.len() > MAX_ATTRIBUTE {
        return Err("shorten its path to at most 1,024 bytes");
    }
    if let Some(domain) = cookie.domain() {
        if !domain.is_ascii() {
            return Err("write its domain in ASCII, with xn-- (RFC 5890)");
        }
        let host = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if domain.is_empty() || !domain.bytes().all(host) {
            return Err(
                "set its domain to a host name, without scheme, port and path, or set none",
            );
        }
        if domain.len() > MAX_ATTRIBUTE {
            return Err("shorten its domain to at most 1,024 bytes");
        }
    }
    if cookie.secure() != Some(true) {
        if cookie.same_site() == Some(SameSite::None) {
            return Err("SameSite=None needs Secure: remove secure(false)");
        }
        if cookie.partitioned() == Some(true) {
            return Err("Partitioned needs Secure: remove secure(false)");
        }
    }
    Ok(())
}

/// What is removed around names and values (RFC 6265bis, 5.6: WSP).
const BLANKS: [char; 2] = [' ', '\t'];

/// The characters that a cookie's value can't contain (RFC 6265, 4.1.1), and those that decoding would change.
const NOT_IN_A_VALUE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// The most bytes of a name and a value together, and of an attribute's value (RFC 6265bis, 5.6 and 5.7).
const MAX_PAIR: usize = 4096;
const MAX_ATTRIBUTE: usize = 1024;

/// The length of an HMAC-SHA256 in base64.
const MAC_LENGTH: usize = 44;
