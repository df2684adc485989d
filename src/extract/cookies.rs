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
            set(read(&[]).remove("gone"))
                .into_iter()
                .chain(
                    [
                        "a=x%3B%20y%C3%A9%25; HttpOnly; SameSite=Lax; Secure; Path=/",
                        "b=1; HttpOnly; SameSite=Lax; Path=/p",
                        "__Host-c=1; HttpOnly; SameSite=Lax; Secure; Path=/",
                    ]
                    .map(str::to_owned)
                )
                .collect::<Vec<_>>()
        );
        let gone = set(read(&[]).remove("gone")).remove(0);
        assert!(gone.starts_with("gone=;") && gone.contains("Max-Age=0"), "{gone}");
        assert_eq!(set(read(&[b"kept=1"])), Vec::<String>::new());
        assert_eq!(set(Cookies::default().remove("a").set(Cookie::new("a", "1"))).len(), 1);
        assert_eq!(set(Cookies::default().set(Cookie::new("a", "1")).remove("a")).len(), 1);
    }

    #[test]
    fn a_cookie_is_identified_by_name_domain_and_path() {
        let new = |path: &'static str| Cookie::build(("a", "new")).path(path);
        let old = |path: &'static str| Cookie::build(("a", "")).path(path).build();
        let at = |domain: &'static str| new("/").domain(domain).build();
        let cookies = || read(&[b"a=sent"]);
        for (case, cookies, value, starts) in [
            (
                "moved",
                cookies().set(new("/new").build()).remove_cookie(old("/old")),
                Some("new"),
                &["a=; Path=/old", "a=new; Path=/new"][..],
            ),
            (
                "moved, removed first",
                cookies().remove_cookie(old("/old")).set(new("/new").build()),
                Some("new"),
                &["a=; Path=/old", "a=new; Path=/new"],
            ),
            (
                "to a domain",
                cookies().set(at("example.org")).remove("a"),
                Some("new"),
                &["a=; Path=/", "a=new; Path=/; Domain=example.org"],
            ),
            (
                "of one domain in other letters",
                cookies().set(at("Example.org")).set(at(".example.ORG")),
                Some("new"),
                &["a=new; Path=/; Domain=example.ORG"],
            ),
            (
                "to a partition",
                cookies().remove("a").set(new("/").partitioned(true).build()),
                Some("new"),
                &["a=; Path=/", "a=new; Partitioned; Path=/"],
            ),
            (
                "on two paths",
                cookies().set(new("/x").build()).set(Cookie::new("a", "2")),
                Some("2"),
                &["a=new; Path=/x", "a=2; Path=/"],
            ),
            (
                "twice",
                cookies().set(Cookie::new("a", "1")).set(new("/").build()),
                Some("new"),
                &["a=new; Path=/"],
            ),
            ("set, removed", cookies().set(new("/").build()).remove("a"), None, &["a=; Path=/"]),
            (
                "removed, set",
                cookies().remove("a").set(new("/").build()),
                Some("new"),
                &["a=new; Path=/"],
            ),
            ("removed elsewhere", cookies().remove_cookie(old("/x")), None, &["a=; Path=/x"]),
        ] {
            assert_eq!(cookies.value("a"), value, "{case}");
            let fields: Vec<_> = set(cookies).iter().map(|field| short(field)).collect();
            assert_eq!(fields, starts, "{case}");
        }
    }

    /// A field without the defaults and without what makes it a removal.
    fn short(field: &str) -> String {
        let defaults = ["HttpOnly", "Secure", "SameSite=Lax", "Max-Age=0"];
        let kept = |part: &&str| !defaults.contains(part) && !part.starts_with("Expires=");
        field.split("; ").filter(kept).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_prefix_of_a_name_is_enforced_in_any_letter_case() {
        let host = "=1; HttpOnly; SameSite=Lax; Secure; Path=/";
        let secure = "=1; SameSite=Lax; Secure; Path=/p; Domain=example.org";
        let http = "=1; HttpOnly; SameSite=Lax; Secure; Path=/p; Domain=example.org";
        let none = "=1; SameSite=Lax; Path=/p; Domain=example.org";
        for (name, rest) in [
            ("__Host-Http-a", host),
            ("__hOST-hTTP-a", host),
            ("__Http-a", http),
            ("__HTTP-a", http),
            ("__http-", http),
            ("__Secure-a", secure),
            ("__secure-a", secure),
            ("__Http_a", none),
            ("__Host", none),
            ("a__Host-", none),
        ] {
            let cookie = Cookie::build((name, "1")).secure(false).http_only(false).path("/p");
            let fields = set(Cookies::default().set(cookie.domain("example.org").build()));
            assert_eq!(fields, [format!("{name}{rest}")]);
        }
        for name in ["__Host-a", "__HOST-a", "__host-a"] {
            let cookie = Cookie::build((name, "1")).secure(false).http_only(false).path("/p");
            let fields = set(Cookies::default().set(cookie.domain("example.org").build()));
            assert_eq!(fields, [format!("{name}=1; SameSite=Lax; Secure; Path=/")]);
            let gone =
                set(Cookies::default().remove_cookie(Cookie::build(name).path("/p").build()));
            assert!(gone[0].contains("; Secure; Path=/;"), "{gone:?}");
        }
    }

    #[test]
    fn an_invalid_name_or_attribute_is_a_500_with_the_fix() {
        let a = || Cookie::build(("a", "1"));
        let sized = |length: usize| Cookie::build(("abc", "x".repeat(length - 3)));
        let long = |length: usize| format!("/{}", "x".repeat(length - 1));
        let domain = |length: usize| format!("{}.org", "x".repeat(length - 4));
        for (cookie, fix) in [
            (Cookie::build(("a b", "1")), "in its name"),
            (Cookie::build(("", "1")), "in its name"),
            (Cookie::build(("a\r\nx", "1")), "in its name"),
            (Cookie::build(("caf\u{e9}", "1")), "in its name"),
            (a().path("/; Domain=x"), "percent-encode its path"),
            (a().path("/\r\n"), "percent-encode its path"),
            (a().path("/\t"), "percent-encode its path"),
            (a().path("/\u{7f}"), "percent-encode its path"),
            (a().path("/a b"), "percent-encode its path"),
            (a().path("/caf\u{e9}"), "percent-encode its path"),
            (a().path(""), "begin its path with a slash"),
            (a().path("p"), "begin its path with a slash"),
            (a().path(long(1025)), "1,024 bytes"),
            (a().path(long(1024)), ""),
            (a().domain("b\u{fc}cher.example"), "xn--"),
            (a().domain("xn--bcher-kva.example"), ""),
            (a().domain("127.0.0.1"), ""),
            (a().domain(""), "host name"),
            (a().domain("."), "host name"),
            (a().domain("a.example; Path=/x"), "host name"),
            (a().domain("a.example\0"), "host name"),
            (a().domain("https://a.example"), "host name"),
            (a().domain("a.example:443"), "host name"),
            (a().domain(" a.example"), "host name"),
            (a().domain(domain(1025)), "1,024 bytes"),
            (a().domain(domain(1024)), ""),
            (a().same_site(SameSite::None), ""),
            (a().same_site(SameSite::None).secure(false), "SameSite=None needs Secure"),
            (a().partitioned(true), ""),
            (a().partitioned(true).secure(false), "Partitioned needs Secure"),
            (sized(4096), ""),
            (sized(4097), "4,096 bytes"),
            // The encoded value is sent.
            (Cookie::build(("abc", " ".repeat(1364))), ""),
            (Cookie::build(("abc", " ".repeat(1365))), "4,096 bytes"),
        ] {
            let cookie = cookie.build();
            let response = Cookies::default().set(cookie.clone()).into_response();
            let detail = Error::of(&response).map(|error| error.detail().to_owned());
            assert_eq!(response.status() == 500, !fix.is_empty(), "{cookie:?} {detail:?}");
            assert!(detail.unwrap_or_default().contains(fix), "{cookie:?}");
            let removed = Cookies::default().remove_cookie(cookie).into_response();
            assert_eq!(removed.status() == 500, !["", "4,096 bytes"].contains(&fix), "{fix}");
        }
        let huge = Cookies::default()
            .set_encrypted(&Key::from(&[7; 64]), Cookie::new("a", "x".repeat(4000)))
            .into_response();
        assert_eq!(huge.status(), 500);
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
