//! Cookies: read, set, signed and encrypted.

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
/// Return it before the body: each cookie that was added or removed becomes a `Set-Cookie` field. By default a cookie is `HttpOnly`, `Secure`,
/// `SameSite=Lax` and `Path=/`; set an attribute to change it. The prefixes of names are enforced: a `__Host-` cookie is always secure, with the
/// path `/` and no domain; a `__Secure-` cookie is always secure.
///
/// A name that is not a token, or an attribute with a line break, is a 500.
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
    jar: CookieJar,
    removed: Vec<Cookie<'static>>,
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
        Self { jar, removed: Vec::new() }
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
        self.jar.add(complete(cookie));
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
    pub fn set_encrypted(mut self, key: &Key, cookie: Cookie<'static>) -> Self {
        self.jar.private_mut(key).add(complete(cookie));
        self
    }

    /// Removes a cookie with the path `/` and no domain.
    pub fn remove(self, name: impl Into<String>) -> Self {
        self.remove_cookie(Cookie::new(name.into(), ""))
    }

    /// Removes a cookie with another path or a domain. They must be those with which it was set.
    pub fn remove_cookie(mut self, cookie: Cookie<'static>) -> Self {
        let mut cookie = complete(cookie);
        self.jar.force_remove(cookie.name());
        cookie.make_removal();
        self.removed.push(cookie);
        self
    }

    fn fields(&self) -> Result<Vec<HeaderValue>, Error> {
        let live = |cookie: &Cookie<'_>| self.jar.get(cookie.name()).is_none();
        let removed = self.removed.iter().filter(|cookie| live(cookie));
        let mut fields: Vec<_> = self
            .jar
            .delta()
            .filter(|cookie| self.jar.get(cookie.name()).is_some())
            .chain(removed)
            .map(field)
            .collect::<Result<_, _>>()?;
        fields.sort_unstable();
        fields.dedup();
        Ok(fields)
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

fn complete(mut cookie: Cookie<'static>) -> Cookie<'static> {
    let host = cookie.name().starts_with("__Host-");
    if host {
        cookie.unset_domain();
        cookie.set_path("/");
    }
    if host || cookie.name().starts_with("__Secure-") || cookie.secure().is_none() {
        cookie.set_secure(true);
    }
    if cookie.http_only().is_none() {
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

fn field(cookie: &Cookie<'_>) -> Result<HeaderValue, Error> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let attribute = |text: Option<&str>| !text.is_some_and(|text| text.contains(';'));
    if cookie.name().is_empty()
        || !cookie.name().bytes().all(token)
        || !attribute(cookie.path())
        || !attribute(cookie.domain())
    {
        return Err(Error::internal("a cookie has a name or an attribute that it can't have"));
    }
    let mut cookie = cookie.clone();
    let value = utf8_percent_encode(cookie.value(), NOT_IN_A_VALUE).to_string();
    cookie.set_value(value);
    HeaderValue::try_from(cookie.to_string()).map_err(Error::from)
}

/// What is removed around names and values (RFC 6265bis, 5.6: WSP).
const BLANKS: [char; 2] = [' ', '\t'];

/// The characters that a cookie's value can't contain (RFC 6265, 4.1.1), and those that decoding would change.
const NOT_IN_A_VALUE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b',').add(b';').add(b'\\').add(b'%');

/// The length of an HMAC-SHA256 in base64.
const MAC_LENGTH: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&[u8]]) -> Cookies {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
        }
        Cookies::of(&headers)
    }

    fn set(cookies: Cookies) -> Vec<String> {
        let response = (cookies, "body").into_response();
        let fields = response.headers().get_all(SET_COOKIE).iter();
        fields.map(|field| field.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn cookies_are_read_leniently() {
        for (fields, name, value) in [
            (&[&b"a=1; b=2;"[..]][..], "b", Some("2")),
            (&[b"a=1; a=2"], "a", Some("1")),
            (&[b"a=1", b"a=2; c=3"], "c", Some("3")),
            (&[b"a=%C3%A9%20x"], "a", Some("\u{e9} x")),
            (&[b"a=%ff"], "a", Some("%ff")),
            (&[b"a=%zz"], "a", Some("%zz")),
            (&[b"a=\"x y\""], "a", Some("x y")),
            (&[b"a=b=c"], "a", Some("b=c")),
            (&[b"a="], "a", Some("")),
            (&[b"a; =x; b=1"], "a", None),
            (&[b"__%48ost-a=1"], "__Host-a", None),
            (&[], "a", None),
        ] {
            assert_eq!(read(fields).value(name), value, "{fields:?}");
        }
    }

    #[test]
    fn only_spaces_and_tabs_around_a_name_are_removed() {
        for blank in [" ", "\t", " \t "] {
            let field = format!("{blank}__Host-a{blank}={blank}1{blank};b=2");
            assert_eq!(read(&[field.as_bytes()]).value("__Host-a"), Some("1"), "{blank:?}");
        }
        for odd in LOOK_BLANK {
            for name in
                [format!("{odd}__Host-a"), format!("__Host-a{odd}"), format!(" {odd} __Host-a")]
            {
                let cookies = read(&[format!("{name}=planted; b={odd}2{odd}").as_bytes()]);
                assert_eq!(cookies.value("__Host-a"), None, "{name:?}");
                assert_eq!(cookies.value(name.trim_matches(' ')), Some("planted"), "{name:?}");
                assert_eq!(cookies.value("b"), Some(&*format!("{odd}2{odd}")), "{odd:?}");
                let cookies = read(&[format!("{name}=planted; __Host-a=own").as_bytes()]);
                assert_eq!(cookies.value("__Host-a"), Some("own"), "{name:?}");
            }
        }
        // Case mapping would turn the first letter into one of ASCII.
        for name in ["\u{212a}ey", "\u{131}d", "\u{17f}id"] {
            let cookies = read(&[format!("{name}=planted").as_bytes()]);
            for own in ["key", "Key", "id", "Id", "sid", "Sid"] {
                assert_eq!(cookies.value(own), None, "{name}");
            }
        }
        // A header field can't contain these.
        for control in ["\0", "\u{b}", "\u{c}", "\r", "\n"] {
            let field = format!("{control}__Host-a=1");
            assert!(HeaderValue::from_bytes(field.as_bytes()).is_err(), "{control:?}");
        }
    }

    /// White space of Unicode beyond ASCII, and two invisible characters.
    const LOOK_BLANK: [&str; 12] = [
        "\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2003}", "\u{2028}", "\u{2029}", "\u{202f}",
        "\u{205f}", "\u{3000}", "\u{200b}", "\u{feff}",
    ];

    #[test]
    fn cookies_are_set_with_careful_defaults() {
        let cookies = read(&[b"kept=1; gone=2"])
            .set(Cookie::new("a", "x; y\u{e9}%"))
            .set(Cookie::build(("b", "1")).secure(false).path("/p").build())
            .set(
                Cookie::build(("__Host-c", "1"))
                    .secure(false)
                    .path("/p")
                    .domain("example.org")
                    .build(),
            )
            .remove("gone");
        assert_eq!(
            set(cookies),
            [
                "__Host-c=1; HttpOnly; SameSite=Lax; Secure; Path=/",
                "a=x%3B%20y%C3%A9%25; HttpOnly; SameSite=Lax; Secure; Path=/",
                "b=1; HttpOnly; SameSite=Lax; Path=/p",
            ]
            .iter()
            .map(|field| (*field).to_owned())
            .chain(set(read(&[]).remove("gone")))
            .collect::<Vec<_>>()
        );
        let gone = set(read(&[]).remove("gone")).remove(0);
        assert!(gone.starts_with("gone=;") && gone.contains("Max-Age=0"), "{gone}");
        assert_eq!(set(read(&[b"kept=1"])), Vec::<String>::new());
        assert_eq!(set(Cookies::default().remove("a").set(Cookie::new("a", "1"))).len(), 1);
        assert_eq!(set(Cookies::default().set(Cookie::new("a", "1")).remove("a")).len(), 1);
    }

    #[test]
    fn an_invalid_name_or_attribute_is_a_500() {
        for cookie in [
            Cookie::new("a b", "1"),
            Cookie::new("", "1"),
            Cookie::new("a\r\nx", "1"),
            Cookie::build(("a", "1")).path("/; Domain=x").build(),
            Cookie::build(("a", "1")).path("/\r\n").build(),
        ] {
            let response = Cookies::default().set(cookie).into_response();
            assert_eq!(response.status(), 500);
        }
    }

    #[test]
    fn signed_and_encrypted_cookies_can_not_be_altered() {
        let key = Key::from(&[7; 64]);
        let other = Key::from(&[8; 64]);
        let fields = set(Cookies::default()
            .set_signed(&key, Cookie::new("s", "v=1;\u{e9}"))
            .set_encrypted(&key, Cookie::new("p", "secret")));
        let sent: Vec<&str> = fields.iter().map(|field| field.split(';').next().unwrap()).collect();
        let back = read(&[sent.join("; ").as_bytes()]);
        assert_eq!(back.verified(&key, "s").as_deref(), Some("v=1;\u{e9}"));
        assert_eq!(back.decrypted(&key, "p").as_deref(), Some("secret"));
        assert_eq!(back.verified(&other, "s"), None);
        assert_eq!(back.decrypted(&other, "p"), None);
        assert!(!sent.join("").contains("secret"));
        for pair in &sent {
            let altered = read(&[format!("{pair}x").as_bytes()]);
            assert_eq!(altered.verified(&key, "s"), None);
            assert_eq!(altered.decrypted(&key, "p"), None);
            let (_, value) = pair.split_once('=').unwrap();
            let moved = read(&[format!("t={value}").as_bytes()]);
            assert_eq!(moved.verified(&key, "t"), None);
            assert_eq!(moved.decrypted(&key, "t"), None);
        }
        for short in ["", "x", "\u{e9}"] {
            assert_eq!(read(&[format!("s={short}").as_bytes()]).verified(&key, "s"), None);
        }
        assert!(!format!("{back:?}").contains("v=1"));
    }
}
