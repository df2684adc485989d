//! The key that requests are counted under.

use std::any::TypeId;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use super::error::{RateLimitError, checked};
use crate::Request;

/// The key that requests are counted under.
///
/// Defaults to the address of the client. A request that lacks the key, such as a header, is also counted under the address of its client: a client
/// that leaves the header out does not escape the limit.
///
/// # Example
///
/// ```
/// use tower_chain::middleware::rate_limit::LimitKey;
/// use tower_chain::RateLimit;
///
/// #[derive(Clone)]
/// struct User { id: u64 }
///
/// // After an authentication that provides `User`.
/// let limit = RateLimit::per_minute(600).key(LimitKey::provided(|user: &User| user.id));
/// # let _ = limit;
/// ```
#[derive(Clone)]
pub struct LimitKey {
    pub(crate) kind: KeyKind,
    optional: bool,
    /// The type of the subjects, and its name for an error.
    subject: (TypeId, &'static str),
}

#[derive(Clone)]
pub(crate) enum KeyKind {
    Client(Prefixes),
    Everyone,
    Header(HeaderName),
    /// A part of a value that an earlier step provides.
    Provided(Arc<SyncKey>),
    Own(Arc<SyncKey>),
    Asynchronous(Arc<AsyncKey>),
}

type SyncKey = dyn Fn(&Request) -> Option<Subject> + Send + Sync;
type AsyncKey = dyn for<'a> Fn(&'a Parts) -> BoxFuture<'a, Option<Subject>> + Send + Sync;

impl LimitKey {
    /// The address of the client: of the peer, or the one that [`TrustedProxies`](crate::extract::TrustedProxies) find.
    ///
    /// IPv6 clients are counted under their /64, which is one subnet. An IPv6 address that contains an IPv4 address (mapped, or of NAT64) counts as
    /// that IPv4 address.
    pub fn client() -> Self {
        Self::of::<IpAddr>(KeyKind::Client(Prefixes::default()))
    }

    /// One key for all requests.
    pub fn everyone() -> Self {
        Self::of::<()>(KeyKind::Everyone)
    }

    /// The value of a header, such as `x-api-key`. A request whose header is longer than 1 KiB, or is sent twice, is counted under the address of its
    /// client.
    ///
    /// The value is not verified: before an authentication, a client can invent values, each with a quota of its own. Add a policy per client, or
    /// place the limiter after the authentication.
    pub fn header(name: HeaderName) -> Self {
        Self::of::<String>(KeyKind::Header(name))
    }

    /// The credentials in the `Authorization` header. The scheme before them, in any case, is not part of the key. See [`header`](LimitKey::header).
    pub fn authorization() -> Self {
        Self::header(AUTHORIZATION)
    }

    /// A part of a value that an earlier step provides, such as the id of the user.
    pub fn provided<T, S, F>(f: F) -> Self
    where
        T: Send + Sync + 'static,
        S: Into<Subject> + 'static,
        F: Fn(&T) -> S + Send + Sync + 'static,
    {
        let of = move |req: &Request| req.extensions().get::<T>().map(|value| f(value).into());
        Self::of::<S>(KeyKind::Provided(Arc::new(of)))
    }

    /// The value that a function returns for the request. `None` if the request lacks it.
    pub fn from_fn<S, F>(f: F) -> Self
    where
        S: Into<Subject> + 'static,
        F: Fn(&Request) -> Option<S> + Send + Sync + 'static,
    {
        Self::of::<S>(KeyKind::Own(Arc::new(move |req| f(req).map(Into::into))))
    }

    /// The value that an asynchronous function returns for the head of the request. `None` if the request lacks it.
    ///
    /// # Example
    ///
    /// ```
    /// use http::request::Parts;
    /// use tower_chain::middleware::rate_limit::LimitKey;
    /// use tower_chain::RateLimit;
    ///
    /// async fn tenant(host: Option<String>) -> Option<String> {
    ///     host // looked up in a database
    /// }
    ///
    /// let key = LimitKey::from_async_fn(|parts: &Parts| tenant(parts.uri.host().map(str::to_owned)));
    /// let limit = RateLimit::per_second(50).key(key);
    /// # let _ = limit;
    /// ```
    pub fn from_async_fn<S, F, Fut>(f: F) -> Self
    where
        S: Into<Subject> + 'static,
        F: Fn(&Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<S>> + Send + 'static,
    {
        Self::of::<S>(KeyKind::Asynchronous(Arc::new(move |parts| {
            let found = f(parts);
            Box::pin(async move { found.await.map(Into::into) })
        })))
    }

    /// Leaves the policy out for requests that lack the key, instead of counting them under the address of the client.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Counts IPv6 clients under a prefix of this length. Defaults to 64. Has no effect on keys that are not addresses.
    ///
    /// # Panics
    ///
    /// If [`try_ipv6_prefix`](LimitKey::try_ipv6_prefix) fails.
    #[track_caller]
    #[must_use]
    pub fn ipv6_prefix(self, length: u8) -> Self {
        checked(self.try_ipv6_prefix(length))
    }

    /// Counts IPv6 clients under a prefix whose length comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Prefix`] unless it is 1 to 128.
    pub fn try_ipv6_prefix(mut self, length: u8) -> Result<Self, RateLimitError> {
        if !(1..=128).contains(&length) {
            return Err(RateLimitError::Prefix);
        }
        if let KeyKind::Client(prefixes) = &mut self.kind {
            prefixes.v6 = [length, 0, 0];
        }
        Ok(self)
    }

    /// Counts IPv6 clients under their /64, and at the same time under the /56 with four times the quota and under the /48 with sixteen times the
    /// quota.
    ///
    /// A client that has a /48 could use 65,536 subnets; with this option it has the quota of sixteen. Defaults to the /64 alone.
    #[must_use]
    pub fn ipv6_hierarchy(mut self) -> Self {
        if let KeyKind::Client(prefixes) = &mut self.kind {
            prefixes.v6 = [64, 56, 48];
        }
        self
    }

    /// Counts IPv4 clients under a prefix of this length. Defaults to 32. Has no effect on keys that are not addresses.
    ///
    /// # Panics
    ///
    /// If [`try_ipv4_prefix`](LimitKey::try_ipv4_prefix) fails.
    #[track_caller]
    #[must_use]
    pub fn ipv4_prefix(self, length: u8) -> Self {
        checked(self.try_ipv4_prefix(length))
    }

    /// Counts IPv4 clients under a prefix whose length comes from configuration.
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Prefix`] unless it is 1 to 32.
    pub fn try_ipv4_prefix(mut self, length: u8) -> Result<Self, RateLimitError> {
        if !(1..=32).contains(&length) {
            return Err(RateLimitError::Prefix);
        }
        if let KeyKind::Client(prefixes) = &mut self.kind {
            prefixes.v4 = length;
        }
        Ok(self)
    }

    /// One form for names that mean the same: credentials without their scheme, which can be written in several ways.
    #[inline]
    pub(crate) fn canonical<'a>(&self, named: SubjectRef<'a>) -> SubjectRef<'a> {
        match (&self.kind, named) {
            (KeyKind::Header(name), SubjectRef::Text(text)) if *name == AUTHORIZATION => {
                let text = text.trim_ascii();
                let scheme = text.iter().position(|byte| *byte == b' ' || *byte == b'\t');
                SubjectRef::Text(scheme.map_or(text, |end| text[end..].trim_ascii_start()))
            }
            _ => named,
        }
    }

    fn of<S: 'static>(kind: KeyKind) -> Self {
        let subject = (TypeId::of::<S>(), std::any::type_name::<S>());
        Self { kind, optional: false, subject }
    }

    /// Checks that `K` is the type of the subjects of this key. [`Subject`] is the type of all of them.
    pub(crate) fn check_type<K: 'static>(&self) -> Result<(), RateLimitError> {
        let (found, name) = self.subject;
        match [found, TypeId::of::<Subject>()].contains(&TypeId::of::<K>()) {
            true => Ok(()),
            false => Err(RateLimitError::SubjectType(name)),
        }
    }

    #[inline]
    pub(crate) fn prefixes(&self) -> Prefixes {
        match self.kind {
            KeyKind::Client(prefixes) => prefixes,
            _ => Prefixes::default(),
        }
    }

    /// Calls `show` with the subject of the request. `None` if the policy does not apply to it.
    ///
    /// `found` is the result of an asynchronous function.
    #[inline]
    pub(crate) fn with<T>(
        &self,
        req: &Request,
        client: Option<IpAddr>,
        found: Option<&Subject>,
        show: impl FnOnce(SubjectRef<'_>) -> T,
    ) -> Option<T> {
        let own;
        let named = match &self.kind {
            KeyKind::Client(_) => None,
            KeyKind::Everyone => Some(SubjectRef::Everyone),
            KeyKind::Header(name) => {
                let mut values = req.headers().get_all(name).iter();
                match (values.next(), values.next()) {
                    (None, _) => None,
                    (Some(value), None) if value.len() <= LONGEST => {
                        Some(SubjectRef::Text(value.as_bytes()))
                    }
                    // A header that cannot be read counts as one that is missing, but never leaves the policy out: a client could otherwise escape it
                    // on purpose.
                    _ => Some(client.map_or(SubjectRef::Unknown, SubjectRef::Addr)),
                }
            }
            KeyKind::Own(f) | KeyKind::Provided(f) => {
                own = f(req);
                own.as_ref().map(Subject::named)
            }
            KeyKind::Asynchronous(_) => found.map(Subject::named),
        };
        let is_client = matches!(self.kind, KeyKind::Client(_));
        match named {
            Some(named) => Some(show(named)),
            None if self.optional && !is_client => None,
            None => Some(show(client.map_or(SubjectRef::Unknown, SubjectRef::Addr))),
        }
    }
}

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            KeyKind::Client(prefixes) => f.debug_tuple("Client").field(prefixes).finish(),
            KeyKind::Everyone => f.write_str("Everyone"),
            KeyKind::Header(name) => f.debug_tuple("Header").field(name).finish(),
            KeyKind::Own(_) | KeyKind::Provided(_) => f.write_str("Function"),
            KeyKind::Asynchronous(_) => f.write_str("AsyncFunction"),
        }
    }
}

/// The subject of a limit: an address, a name or a number. The limiter stores only a keyed hash of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject(OwnedSubject);

#[derive(Clone, PartialEq, Eq)]
enum OwnedSubject {
    V4(u32),
    V6(u64, u64),
    Text(Box<[u8]>),
    Number(u64),
    Everyone,
}

impl Subject {
    #[inline]
    pub(crate) fn named(&self) -> SubjectRef<'_> {
        match self.0 {
            OwnedSubject::V4(bits) => SubjectRef::Addr(IpAddr::V4(Ipv4Addr::from_bits(bits))),
            OwnedSubject::V6(high, low) => {
                let bits = u128::from(high) << 64 | u128::from(low);
                SubjectRef::Addr(IpAddr::V6(Ipv6Addr::from_bits(bits)))
            }
            OwnedSubject::Text(ref text) => SubjectRef::Text(text),
            OwnedSubject::Number(number) => SubjectRef::Number(number),
            OwnedSubject::Everyone => SubjectRef::Everyone,
        }
    }
}

/// The value is not shown: it may be a secret.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(..)")
    }
}

impl From<IpAddr> for Subject {
    #[inline]
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(addr) => addr.into(),
            IpAddr::V6(addr) => addr.into(),
        }
    }
}

impl From<Ipv4Addr> for Subject {
    #[inline]
    fn from(addr: Ipv4Addr) -> Self {
        Self(OwnedSubject::V4(addr.to_bits()))
    }
}

impl From<Ipv6Addr> for Subject {
    #[inline]
    fn from(addr: Ipv6Addr) -> Self {
        let bits = addr.to_bits();
        Self(OwnedSubject::V6((bits >> 64) as u64, bits as u64))
    }
}

impl From<&str> for Subject {
    fn from(text: &str) -> Self {
        Self(OwnedSubject::Text(text.as_bytes().into()))
    }
}

impl From<String> for Subject {
    fn from(text: String) -> Self {
        Self(OwnedSubject::Text(text.into_bytes().into()))
    }
}

impl From<Vec<u8>> for Subject {
    fn from(bytes: Vec<u8>) -> Self {
        Self(OwnedSubject::Text(bytes.into()))
    }
}

impl From<u64> for Subject {
    fn from(number: u64) -> Self {
        Self(OwnedSubject::Number(number))
    }
}

/// The one subject of [`LimitKey::everyone`].
impl From<()> for Subject {
    fn from((): ()) -> Self {
        Self(OwnedSubject::Everyone)
    }
}

/// A subject, borrowed from the request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SubjectRef<'a> {
    Addr(IpAddr),
    Text(&'a [u8]),
    Number(u64),
    Everyone,
    /// No peer is known: a Unix socket, or a host that does not provide one. All such requests share one key.
    Unknown,
}

/// The lengths of the prefixes. An IPv6 length of 0 ends the list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prefixes {
    v4: u8,
    v6: [u8; LEVELS],
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { v4: 32, v6: [64, 0, 0] }
    }
}

impl Prefixes {
    /// The network of an IPv4 address, which has only one level.
    #[inline]
    pub(crate) fn only(&self, addr: &IpAddr) -> Option<Ipv4Addr> {
        let mask = u32::MAX << (32 - u32::from(self.v4.clamp(1, 32)));
        ipv4(addr).map(|addr| Ipv4Addr::from_bits(addr.to_bits() & mask))
    }

    /// The networks that an address is counted under, the smallest first.
    pub(crate) fn levels(&self, addr: IpAddr) -> impl Iterator<Item = IpAddr> + use<> {
        let (only, v6) = (self.only(&addr), self.v6);
        let wide = match addr {
            IpAddr::V6(addr) if only.is_none() => Some(addr),
            _ => None,
        };
        let networks = v6.into_iter().enumerate().map_while(move |(level, length)| {
            let addr = wide?;
            // 6to4 assigns a /48 to each IPv4 host.
            let is_6to4 = addr.segments()[0] == 0x2002;
            let length = if is_6to4 { length.min(48) } else { length };
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            (length > 0 && (level == 0 || !is_6to4))
                .then(|| IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & mask)))
        });
        only.map(IpAddr::V4).into_iter().chain(networks)
    }
}

/// The factor by which the quota of a level is larger.
pub(crate) fn factor(level: usize) -> u32 {
    1 << (2 * level.min(8))
}

/// The IPv4 address that an address is or contains: mapped, or of NAT64 (RFC 6052, 2.1).
#[inline]
fn ipv4(addr: &IpAddr) -> Option<Ipv4Addr> {
    match addr {
        IpAddr::V4(addr) => Some(*addr),
        IpAddr::V6(addr) => match addr.segments() {
            [0, 0, 0, 0, 0, 0xffff, _, _] | [0x64, 0xff9b, 0, 0, 0, 0, _, _] => {
                Some(Ipv4Addr::from_bits(addr.to_bits() as u32))
            }
            _ => None,
        },
    }
}

/// The largest number of networks that an address is counted under.
pub(crate) const LEVELS: usize = 3;
const LONGEST: usize = 1024;
