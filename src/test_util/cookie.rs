//! Cookies that a response sets, and the jar.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::SET_COOKIE;

/// A cookie that a response sets. Made by [`TestResponse::cookie`](super::TestResponse::cookie).
///
/// # Example
///
/// ```
/// use tower_chain::Chain;
/// use tower_chain::test_util::TestClient;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let sign_in = async || [("set-cookie", "sid=7; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax")];
/// let client = TestClient::new(Chain::new().post(sign_in).build());
///
/// let response = client.post("/").send().await;
/// response.cookie("sid").assert_value("7").assert_http_only().assert_secure().assert_same_site("Lax").assert_path("/");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TestCookie {
    line: String,
    cookie: cookie::Cookie<'static>,
}

impl TestCookie {
    pub(super) fn all(headers: &HeaderMap) -> Vec<Self> {
        let lines = headers.get_all(SET_COOKIE).iter();
        lines.filter_map(|line| Self::parse(str::from_utf8(line.as_bytes()).ok()?)).collect()
    }

    fn parse(line: &str) -> Option<Self> {
        let cookie = cookie::Cookie::parse(line.to_owned()).ok()?;
        Some(Self { line: line.to_owned(), cookie })
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.cookie.name()
    }

    /// The value, as it was sent.
    pub fn value(&self) -> &str {
        self.cookie.value()
    }

    /// Whether it makes the client delete the cookie: it has expired.
    pub fn is_removal(&self) -> bool {
        if let Some(age) = self.cookie.max_age() {
            return age <= cookie::time::Duration::ZERO;
        }
        let until = self.cookie.expires_datetime();
        until.is_some_and(|until| until <= cookie::time::OffsetDateTime::from(SystemTime::now()))
    }

    /// Asserts the value.
    #[track_caller]
    pub fn assert_value(&self, value: &str) -> &Self {
        self.check(self.value() == value, format_args!("has the value `{value}`"))
    }

    /// Asserts `HttpOnly`: scripts can't read it.
    #[track_caller]
    pub fn assert_http_only(&self) -> &Self {
        self.check(self.cookie.http_only() == Some(true), "is HttpOnly")
    }

    /// Asserts `Secure`: it is sent over TLS only.
    #[track_caller]
    pub fn assert_secure(&self) -> &Self {
        self.check(self.cookie.secure() == Some(true), "is Secure")
    }

    /// Asserts `SameSite`: `Strict`, `Lax` or `None`.
    #[track_caller]
    pub fn assert_same_site(&self, policy: &str) -> &Self {
        let same = self.cookie.same_site().map(|s| s.to_string());
        let same = same.is_some_and(|same| same.eq_ignore_ascii_case(policy));
        self.check(same, format_args!("has SameSite={policy}"))
    }

    /// Asserts `Path`.
    #[track_caller]
    pub fn assert_path(&self, path: &str) -> &Self {
        self.check(self.cookie.path() == Some(path), format_args!("has Path={path}"))
    }

    /// Asserts `Domain`.
    #[track_caller]
    pub fn assert_domain(&self, domain: &str) -> &Self {
        self.check(self.cookie.domain() == Some(domain), format_args!("has Domain={domain}"))
    }

    /// Asserts `Max-Age`.
    #[track_caller]
    pub fn assert_max_age(&self, age: Duration) -> &Self {
        let same = self.cookie.max_age().is_some_and(|have| have == age);
        self.check(same, format_args!("has Max-Age={}", age.as_secs()))
    }

    /// Asserts that it makes the client delete the cookie.
    #[track_caller]
    pub fn assert_removal(&self) -> &Self {
        self.check(self.is_removal(), "is a removal")
    }

    #[track_caller]
    fn check(&self, holds: bool, what: impl std::fmt::Display) -> &Self {
        assert!(holds, "expected that the cookie {what}, but it is\n  set-cookie: {}", self.line);
        self
    }
}

/// The cookies of one host, as a browser stores them.
#[derive(Debug, Default)]
pub(super) struct Jar(Vec<StoredCookie>);

#[derive(Debug)]
struct StoredCookie {
    name: String,
    value: String,
    path: String,
    until: Option<SystemTime>,
}

impl Jar {
    pub(super) fn value(&mut self, name: &str) -> Option<String> {
        self.forget();
        self.0.iter().find(|stored| stored.name == name).map(|stored| stored.value.clone())
    }

    /// Adds the cookies for a request of this path. RFC 6265, 5.4: longer paths first.
    pub(super) fn add(&mut self, path: &str, cookies: &mut Vec<String>) {
        self.forget();
        let own = cookies.len();
        let mut fit: Vec<_> = self.0.iter().filter(|kept| within(path, &kept.path)).collect();
        fit.sort_by_key(|kept| std::cmp::Reverse(kept.path.len()));
        for kept in fit {
            // A cookie of the test replaces those of the jar. The jar may have several of one name, with different paths.
            if !cookies[..own].iter().any(|own| own.split('=').next() == Some(&kept.name)) {
                cookies.push(format!("{}={}", kept.name, kept.value));
            }
        }
    }

    /// RFC 6265, 5.3, for one host.
    pub(super) fn store(&mut self, asked: &str, headers: &HeaderMap) {
        for set in TestCookie::all(headers) {
            let path = match set.cookie.path() {
                Some(path) if path.starts_with('/') => path.to_owned(),
                _ => default_path(asked).to_owned(),
            };
            self.0.retain(|kept| kept.name != set.name() || kept.path != path);
            if set.is_removal() {
                continue;
            }
            let until = match (set.cookie.max_age(), set.cookie.expires_datetime()) {
                (Some(age), _) => {
                    let age = age.try_into().unwrap_or(Duration::ZERO);
                    SystemTime::now().checked_add(age)
                }
                (None, until) => until.map(SystemTime::from),
            };
            let (name, value) = (set.name().to_owned(), set.value().to_owned());
            self.0.push(StoredCookie { name, value, path, until });
        }
    }

    fn forget(&mut self) {
        let now = SystemTime::now();
        self.0.retain(|kept| kept.until.is_none_or(|until| until > now));
    }
}

/// RFC 6265, 5.1.4.
fn default_path(asked: &str) -> &str {
    match asked.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &asked[..at],
    }
}

/// RFC 6265, 5.1.4.
fn within(path: &str, cookie: &str) -> bool {
    match path.strip_prefix(cookie) {
        Some(rest) => rest.is_empty() || cookie.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}
