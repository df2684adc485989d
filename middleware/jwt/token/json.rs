//! Reads claims in one pass: deserializes the type of the application, and at the same time reads the registered claims and finds duplicates.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, IntoDeserializer,
    MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Value;

use super::claims::{ClaimName, Texts, Times};
use super::confirmation::Confirmation;
use crate::middleware::credentials::one_of;
use crate::middleware::jwt::refusal::JwtRefusal;

/// What is read beside the claims of the user.
#[derive(Default)]
pub(crate) struct Read<'de> {
    pub(crate) texts: Texts<'de>,
    pub(crate) times: Times,
    pub(crate) audience: Audience<'de>,
    /// What the token is bound to. `None` for a bearer token.
    pub(crate) confirmation: Option<Confirmation>,
    /// How many of the claims with required values have one of them.
    pub(crate) exact: usize,
    /// Whether `scope` is present and is not a string.
    pub(crate) odd_scope: bool,
    /// The tenant of the issuer, if a rule asks for it.
    pub(crate) tenant: Option<Cow<'de, str>>,
    names: MemberNames<'de>,
    complete: bool,
    /// The date that is read now. If its type is wrong, the parser fails.
    date: Option<&'static str>,
    refusal: Option<JwtRefusal>,
}

impl Read<'_> {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// The names of the members of one object. The first ones need no allocation.
#[derive(Default)]
struct MemberNames<'de> {
    first: [&'de str; 16],
    first_length: usize,
    more: Vec<Cow<'de, str>>,
    /// A small Bloom filter: one bit for each name that was added. Only names with the same bit are compared.
    bits: u64,
}

impl<'de> MemberNames<'de> {
    /// Returns `false` if the name is present already, or there are too many.
    fn add(&mut self, name: Cow<'de, str>) -> bool {
        let bit = Self::bit(&name);
        let full = self.first_length + self.more.len() == MEMBERS;
        if full || self.bits & bit != 0 && self.contains(&name) {
            return false;
        }
        self.bits |= bit;
        match (name, self.first.get_mut(self.first_length)) {
            (Cow::Borrowed(name), Some(place)) => {
                *place = name;
                self.first_length += 1;
            }
            (name, _) => self.more.push(name),
        }
        true
    }

    fn contains(&self, name: &str) -> bool {
        self.first.iter().take(self.first_length).any(|have| *have == name)
            || self.more.iter().any(|have| *have == name)
    }

    /// A hash of the first two characters, the last one and the length.
    fn bit(name: &str) -> u64 {
        let bytes = name.as_bytes();
        let at = |place: usize| bytes.get(place).copied().map_or(0, usize::from);
        let mix = at(0) * 31 + at(1) * 7 + at(bytes.len().wrapping_sub(1)) * 3 + bytes.len();
        1 << (mix % 64)
    }
}

/// The claim `aud`.
#[derive(Default)]
pub(crate) enum Audience<'de> {
    #[default]
    Absent,
    One(Cow<'de, str>),
    Several(Vec<Box<str>>),
}

impl Audience<'_> {
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::One(one) => *one == name,
            Self::Several(several) => several.iter().any(|one| **one == *name),
        }
    }
}

/// A claim whose value is given.
pub(crate) struct Exact {
    pub(crate) name: Box<str>,
    pub(crate) values: ExactValues,
}

pub(crate) enum ExactValues {
    /// One of these.
    OneOf(Vec<Box<str>>),
    /// The id of a tenant of the issuer: one of these, or any if there are none.
    #[cfg_attr(not(feature = "jwks"), expect(dead_code, reason = "only a preset creates it"))]
    Tenant(Vec<Box<str>>),
}

impl ExactValues {
    /// The accepted texts, as they are configured.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let (Self::OneOf(texts) | Self::Tenant(texts)) = self;
        texts.iter().map(|text| &**text)
    }

    /// What the claim must be, for the log.
    pub(crate) fn accepted(&self) -> String {
        match self {
            Self::Tenant(ids) if ids.is_empty() => "the id of a tenant".to_owned(),
            _ => one_of(self.texts()),
        }
    }
}

impl Exact {
    fn read<'de>(&self, text: Cow<'de, str>, read: &mut Read<'de>) {
        let is_one_of = |values: &[Box<str>]| values.iter().any(|one| **one == *text);
        let accepted = match &self.values {
            ExactValues::OneOf(values) => is_one_of(values),
            ExactValues::Tenant(ids) => {
                let accepted = is_tenant_id(&text) && (ids.is_empty() || is_one_of(ids));
                read.tenant = Some(text);
                accepted
            }
        };
        read.exact += usize::from(accepted);
    }
}

/// Whether the text is a GUID in lower case, such as `9188040d-6c67-4c5b-b112-36a304b66dad`.
pub(crate) fn is_tenant_id(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex)
}

/// Reads a claim set. `exact` are the claims that must have one of some values.
pub(crate) fn claims<'de, C: DeserializeOwned>(
    payload: &'de [u8],
    exact: &[Exact],
    read: &mut Read<'de>,
) -> Result<C, JwtRefusal> {
    let text = bounded_text(payload).ok_or(JwtRefusal::Malformed)?;
    if text.trim_start_matches(WHITESPACE).as_bytes().first() != Some(&b'{') {
        return Err(JwtRefusal::Malformed);
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let claims = C::deserialize(Tapped { json: &mut json, read: &mut *read, exact });
    let end = json.end();
    if let Some(refusal) = read.refusal.take() {
        return Err(refusal);
    }
    match claims {
        Ok(_) if *ANY_NUMBER && !has_numbers_in_range(text) => Err(JwtRefusal::Malformed),
        Ok(claims) if end.is_ok() && read.complete => Ok(claims),
        Ok(_) => Err(JwtRefusal::Malformed),
        Err(error) if error.is_data() => Err(match read.date {
            None => JwtRefusal::Claims,
            // The parser stopped at a date that is not a number, and maybe not JSON either.
            Some(date) if has_value(text, date) => JwtRefusal::Claim(date),
            Some(_) => JwtRefusal::Malformed,
        }),
        Err(_) => Err(JwtRefusal::Malformed),
    }
}

/// Whether the value of a member is JSON, whatever follows it.
fn has_value(text: &str, member: &str) -> bool {
    struct Until<'a> {
        member: &'a str,
        found: &'a mut bool,
    }

    impl<'de> Visitor<'de> for Until<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(TextValue(name)) = map.next_key()? {
                let value: Value = map.next_value()?;
                if name == self.member {
                    *self.found = in_range(&value);
                    break;
                }
            }
            Ok(())
        }
    }

    let mut found = false;
    // The result is that of the whole object.
    let _ = serde_json::Deserializer::from_str(text)
        .deserialize_map(Until { member, found: &mut found });
    found
}

/// The header, as far as it matters (RFC 7515, 4.1). Unknown members are read over.
#[derive(Default)]
pub(crate) struct HeaderMembers<'de> {
    pub(crate) alg: Option<Cow<'de, str>>,
    pub(crate) kid: Option<Cow<'de, str>>,
    pub(crate) typ: Option<Cow<'de, str>>,
    pub(crate) cty: Option<Cow<'de, str>>,
    /// `crit`, `b64` or `zip` is there, whatever its value. We understand no extension, so each of them is a reason to refuse.
    pub(crate) extended: bool,
}

/// Reads a header.
pub(crate) fn header(bytes: &[u8]) -> Result<HeaderMembers<'_>, JwtRefusal> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = HeaderMembers<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HeaderMembers<'de>, A::Error> {
            let mut header = HeaderMembers::default();
            let mut names = MemberNames::default();
            while let Some(TextValue(name)) = map.next_key()? {
                if !names.add(name.clone()) {
                    return Err(A::Error::custom("duplicate"));
                }
                match &*name {
                    "alg" => header.alg = Some(map.next_value::<TextValue<'de>>()?.0),
                    "kid" => header.kid = Some(map.next_value::<TextValue<'de>>()?.0),
                    "typ" => header.typ = Some(map.next_value::<TextValue<'de>>()?.0),
                    "cty" => header.cty = Some(map.next_value::<TextValue<'de>>()?.0),
                    "crit" | "b64" | "zip" => {
                        map.next_value::<IgnoredAny>()?;
                        header.extended = true;
                    }
                    _ => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
            Ok(header)
        }
    }

    let text = bounded_text(bytes).ok_or(JwtRefusal::Malformed)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let header = json.deserialize_map(Members).map_err(|_| JwtRefusal::Malformed)?;
    json.end().map_err(|_| JwtRefusal::Malformed)?;
    Ok(header)
}

/// The claim `iss` alone, of a token that is not verified yet: it chooses among keys, and decides nothing.
pub(crate) fn peek_issuer(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: String,
    }
    object::<Issuer>(payload).map(|peeked| peeked.iss)
}

/// Reads a JSON object that is foreign, and not nested too deeply.
pub(crate) fn object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Option<T> {
    serde_json::from_str(bounded_text(bytes)?).ok().map(|Object(read)| read)
}

/// A `T` that was an object. What is derived would take an array as well, whose values stand for members that it never named.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// UTF-8 that is not nested too deeply. What a parser skips it doesn't check, so this comes first.
pub(crate) fn bounded_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    // Counting brackets is many times cheaper than following them, and nearly always enough.
    let count = |part: &[u8]| -> u8 { part.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum() };
    let brackets: usize = bytes.chunks(usize::from(u8::MAX)).map(count).map(usize::from).sum();
    (brackets <= DEPTH || depth(bytes) <= DEPTH).then_some(text)
}

fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The deserializer that the type of the user sees: that of the JSON, with a tap on its members.
struct Tapped<'a, 'de, D> {
    json: D,
    read: &'a mut Read<'de>,
    exact: &'a [Exact],
}

impl<'de, D> Deserializer<'de> for Tapped<'_, 'de, D>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let Self { json, read, exact } = self;
        json.deserialize_map(TappedVisitor { visitor, read, exact })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    /// `()` is for those who want no claim.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        IgnoredAny::deserialize(self)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.deserialize_unit(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct TappedVisitor<'a, 'de, V> {
    visitor: V,
    read: &'a mut Read<'de>,
    exact: &'a [Exact],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for TappedVisitor<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let Self { visitor, read, exact } = self;
        visitor.visit_map(TappedMap { map, read, exact, registered: None, wanted: None })
    }
}

struct TappedMap<'a, 'de, A> {
    map: A,
    read: &'a mut Read<'de>,
    exact: &'a [Exact],
    /// The member whose value comes next, if it is one that we read as well.
    registered: Option<Registered>,
    /// What its value must be, if that is given.
    wanted: Option<&'a Exact>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for TappedMap<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(TextValue(name)) = self.map.next_key()? else {
            self.read.complete = true;
            return Ok(None);
        };
        self.registered = Registered::named(&name);
        self.wanted = self.exact.iter().find(|exact| *exact.name == *name);
        if !self.read.names.add(name.clone()) {
            self.read.refusal = Some(JwtRefusal::Malformed);
            return Err(A::Error::custom("duplicate"));
        }
        seed.deserialize(Raw::Text(name).of()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if self.registered.is_none() && self.wanted.is_none() {
            return self.map.next_value_seed(seed);
        }
        self.read.date = self.registered.and_then(Registered::required_date);
        let value: Raw<'de> = match self.read.date {
            Some(_) => self.map.next_value_seed(Number)?,
            None => self.map.next_value()?,
        };
        self.read.date = None;
        if matches!(value, Raw::OutOfRange) {
            self.read.refusal = Some(JwtRefusal::Malformed);
            return Err(A::Error::custom("number out of range"));
        }
        if let Some(registered) = self.registered
            && let Err(refusal) = registered.read(&value, self.read)
        {
            self.read.refusal = Some(refusal);
            return Err(A::Error::custom("refused"));
        }
        if let (Some(wanted), Raw::Text(text)) = (self.wanted, &value) {
            wanted.read(text.clone(), self.read);
        }
        seed.deserialize(value.of())
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

/// A claim that we read, whatever the type of the user does with it.
#[derive(Clone, Copy)]
enum Registered {
    Text(ClaimName, &'static str),
    /// Of another type it is for the type of the user alone.
    TextIfAny(ClaimName),
    Audience,
    Expires,
    NotBefore,
    Issued,
    Authenticated,
    Confirmation,
}

impl Registered {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "iss" => Self::Text(ClaimName::Issuer, "iss"),
            "sub" => Self::Text(ClaimName::Subject, "sub"),
            "jti" => Self::Text(ClaimName::Id, "jti"),
            // Some issuers send a list.
            "scope" => Self::TextIfAny(ClaimName::Scope),
            // Some issuers send a number.
            "acr" => Self::TextIfAny(ClaimName::Acr),
            "aud" => Self::Audience,
            "exp" => Self::Expires,
            "nbf" => Self::NotBefore,
            "iat" => Self::Issued,
            "auth_time" => Self::Authenticated,
            "cnf" => Self::Confirmation,
            _ => return None,
        })
    }

    /// The name of a date that must be a number.
    fn required_date(self) -> Option<&'static str> {
        match self {
            Self::Expires => Some("exp"),
            Self::NotBefore => Some("nbf"),
            Self::Issued => Some("iat"),
            _ => None,
        }
    }

    fn read<'de>(self, value: &Raw<'de>, read: &mut Read<'de>) -> Result<(), JwtRefusal> {
        match self {
            Self::Text(name, written) => {
                let text = value.text().ok_or(JwtRefusal::Claim(written))?;
                read.texts.set(name, text);
            }
            Self::TextIfAny(name) => match value.text() {
                Some(text) => read.texts.set(name, text),
                None => read.odd_scope |= matches!(name, ClaimName::Scope),
            },
            Self::Expires => read.times.expires = Some(value.date("exp")?),
            Self::NotBefore => read.times.not_before = Some(value.date("nbf")?),
            Self::Issued => {
                read.times.issued = Some(value.date("iat")?);
                read.times.issued_micros = value.micros();
            }
            Self::Authenticated => read.times.authenticated = value.date("auth_time").ok(),
            Self::Audience => read.audience = value.audience()?,
            Self::Confirmation => read.confirmation = Some(value.confirmation()),
        }
        Ok(())
    }
}

/// The text of a claim, to explain a refusal.
pub(crate) fn text_of(payload: &[u8], name: &str) -> Option<String> {
    let mut claims: serde_json::Map<String, Value> = serde_json::from_slice(payload).ok()?;
    match claims.remove(name)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// A value that both we and the type of the user look at. Texts are borrowed from the token where they hold no escape.
enum Raw<'de> {
    Text(Cow<'de, str>),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Other(Value),
    /// It contains a number that no `f64` is near. The parser refuses one, unless a feature of `serde_json` keeps its text.
    OutOfRange,
}

impl<'de> Raw<'de> {
    fn text(&self) -> Option<Cow<'de, str>> {
        match self {
            Self::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// A NumericDate (RFC 7519, 2): whole seconds from the epoch to the end of the year 9999.
    fn date(&self, name: &'static str) -> Result<u64, JwtRefusal> {
        let seconds = match *self {
            Self::Unsigned(seconds) => Some(seconds),
            // A range check that no NaN passes; within it the cast is exact but for the fraction, which goes.
            Self::Float(seconds) if (0.0..=LAST_SECOND as f64).contains(&seconds) => {
                Some(seconds as u64)
            }
            _ => None,
        };
        seconds.filter(|seconds| *seconds <= LAST_SECOND).ok_or(JwtRefusal::Claim(name))
    }

    /// The fraction of a date, in microseconds, which is as precise as an `f64` is.
    fn micros(&self) -> u32 {
        match *self {
            Self::Float(seconds) => (seconds.fract() * 1e6).clamp(0.0, 999_999.0) as u32,
            _ => 0,
        }
    }

    fn confirmation(&self) -> Confirmation {
        match self {
            Self::Other(value) => Confirmation::read(value),
            _ => Confirmation::read(&Value::Null),
        }
    }

    fn audience(&self) -> Result<Audience<'de>, JwtRefusal> {
        match self {
            Self::Text(one) => Ok(Audience::One(one.clone())),
            Self::Other(Value::Array(several)) => several
                .iter()
                .map(|one| one.as_str().map(Box::from))
                .collect::<Option<_>>()
                .map(Audience::Several)
                .ok_or(JwtRefusal::Claim("aud")),
            _ => Err(JwtRefusal::Claim("aud")),
        }
    }

    fn of<E>(self) -> RawDeserializer<'de, E> {
        RawDeserializer(self, PhantomData)
    }
}

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Raw<'de>, E> {
                Ok(Raw::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Raw<'de>, E> {
                Ok(Raw::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Raw<'de>, E> {
                Ok(Raw::Unsigned(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Raw<'de>, E> {
                Ok(Raw::Signed(number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Raw<'de>, E> {
                Ok(Raw::Float(number))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Raw<'de>, E> {
                Ok(Raw::Other(Value::Bool(value)))
            }

            fn visit_unit<E>(self) -> Result<Raw<'de>, E> {
                Ok(Raw::Other(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Raw<'de>, A::Error> {
                let value = Value::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(if in_range(&value) { Raw::Other(value) } else { Raw::OutOfRange })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Raw<'de>, A::Error> {
                let value = Value::deserialize(MapAccessDeserializer::new(map))?;
                // With the feature `arbitrary_precision` of `serde_json`, a fraction arrives as an object.
                Ok(match value.as_f64() {
                    Some(number) => Raw::Float(number),
                    None if in_range(&value) => Raw::Other(value),
                    None => Raw::OutOfRange,
                })
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A number. The parser is asked for one, because the form of a number for which it is not asked depends on the features of `serde_json`.
struct Number;

impl<'de> DeserializeSeed<'de> for Number {
    type Value = Raw<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw<'de>, D::Error> {
        deserializer.deserialize_f64(self)
    }
}

impl<'de> Visitor<'de> for Number {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw<'de>, E> {
        Ok(Raw::Unsigned(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw<'de>, E> {
        Ok(Raw::Signed(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Raw<'de>, E> {
        Ok(Raw::Float(number))
    }
}

fn has_numbers_in_range(text: &str) -> bool {
    serde_json::from_str(text).is_ok_and(|value| in_range(&value))
}

/// Whether each number is one that an `f64` can hold, as all are without the feature `arbitrary_precision` of `serde_json`.
fn in_range(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some(),
        Value::Array(values) => values.iter().all(in_range),
        Value::Object(members) => members.values().all(in_range),
        _ => true,
    }
}

struct RawDeserializer<'de, E>(Raw<'de>, PhantomData<E>);

impl<'de, E: serde::de::Error> Deserializer<'de> for RawDeserializer<'de, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.0 {
            Raw::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Raw::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Raw::Unsigned(number) => visitor.visit_u64(number),
            Raw::Signed(number) => visitor.visit_i64(number),
            Raw::Float(number) => visitor.visit_f64(number),
            Raw::Other(value) => value.deserialize_any(visitor).map_err(E::custom),
            Raw::OutOfRange => Err(E::custom("number out of range")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match self.0 {
            Raw::Other(Value::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        match self.0 {
            Raw::Text(text) => visitor.visit_enum(IntoDeserializer::<E>::into_deserializer(text)),
            Raw::Other(value) => value.deserialize_enum(name, variants, visitor).map_err(E::custom),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A string, borrowed where it holds no escape.
pub(super) struct TextValue<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for TextValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Str;

        impl<'de> Visitor<'de> for Str {
            type Value = TextValue<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<TextValue<'de>, E> {
                Ok(TextValue(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<TextValue<'de>, E> {
                Ok(TextValue(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Str)
    }
}

/// Whether any crate of the build enables the feature `arbitrary_precision` of `serde_json`. Numbers that the parser refuses without it must then be
/// found by a second look.
static ANY_NUMBER: LazyLock<bool> =
    LazyLock::new(|| serde_json::from_str::<Value>("1e400").is_ok());
const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];
/// How deeply JSON may be nested.
const DEPTH: usize = 32;
/// How many members an object may have.
const MEMBERS: usize = 256;
/// 9999-12-31T23:59:59Z.
pub(crate) const LAST_SECOND: u64 = 253_402_300_799;
