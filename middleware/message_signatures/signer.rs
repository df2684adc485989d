//! Signing messages, for clients and for tests.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Version, request, response};
use sfv::{BareItem, InnerList, Item, Key, Parameters};

use super::component::{
    Message, Origin, Structures, parse_component, signature_base, signature_params,
};
use super::digest::{CONTENT_DIGEST, DigestAlgorithm};
use super::error::MessageSignaturesError;
use super::input::{SIGNATURE, SIGNATURE_INPUT, TEXT_BYTES};
use super::key::{SignatureAlgorithm, SigningKey};
use crate::extract::ClientUri;

/// Signs requests and responses ([RFC 9421](https://www.rfc-editor.org/rfc/rfc9421)), for clients and for tests of a chain with
/// [`MessageSignatures`](super::MessageSignatures).
///
/// # Example
///
/// ```
/// use std::time::SystemTime;
///
/// use tower_chain::middleware::message_signatures::{MessageSigner, SignatureAlgorithm};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let secret = b"0123456789abcdef0123456789abcdef";
/// let signer = MessageSigner::new("client-1", SignatureAlgorithm::HmacSha256, secret)?;
///
/// let body = r#"{"amount":7}"#;
/// let (mut head, body) = http::Request::post("https://api.example.com/payments").body(body)?.into_parts();
/// signer.sign_request(&mut head, body.as_bytes(), SystemTime::now())?;
///
/// assert!(head.headers.contains_key("content-digest"));
/// assert!(head.headers["signature-input"].to_str()?.starts_with("sig=(\"@method\" \"@target-uri\" \"content-digest\");created="));
/// # Ok(())
/// # }
/// ```
pub struct MessageSigner {
    key_id: String,
    algorithm: SignatureAlgorithm,
    key: SigningKey,
    label: Key,
    /// `None` for the default, which depends on the message.
    components: Option<Vec<Item>>,
    origin: Option<Origin>,
    digest: DigestAlgorithm,
    with_algorithm: bool,
    expires_after: Option<Duration>,
    nonce: Option<Box<dyn Fn() -> String + Send + Sync>>,
    tag: Option<String>,
}

impl MessageSigner {
    /// Creates a signer with a key: a private key (PKCS#8) in PEM or DER, or the secret of an HMAC. `key_id` is the parameter `keyid`.
    ///
    /// # Errors
    ///
    /// If the key is not one for the algorithm, a secret has less than 32 bytes, or the identifier is not 1 to 256 printable ASCII characters.
    pub fn new(
        key_id: impl Into<String>,
        algorithm: SignatureAlgorithm,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, MessageSignaturesError> {
        let key_id = key_id.into();
        check_key_id(&key_id)?;
        Ok(Self {
            key_id,
            algorithm,
            key: SigningKey::new(algorithm, key.as_ref())?,
            label: key_of("sig")?,
            components: None,
            origin: None,
            digest: DigestAlgorithm::Sha256,
            with_algorithm: false,
            expires_after: None,
            nonce: None,
            tag: None,
        })
    }

    /// Sets the label of the signature. Defaults to `sig`.
    ///
    /// # Errors
    ///
    /// If it is not a key of a structured field.
    pub fn label(mut self, label: &str) -> Result<Self, MessageSignaturesError> {
        self.label = key_of(label)?;
        Ok(self)
    }

    /// Sets the components to cover: names, or identifiers with parameters, such as `"@query-param";name="page"`. Defaults to `@method`,
    /// `@target-uri` and, with a body, `content-digest`; for a response to `@status` and `content-digest`.
    ///
    /// # Errors
    ///
    /// If one can't be parsed.
    pub fn components<S: AsRef<str>>(
        mut self,
        components: impl IntoIterator<Item = S>,
    ) -> Result<Self, MessageSignaturesError> {
        let items = components.into_iter().map(|text| parse_component(text.as_ref()));
        self.components = Some(items.collect::<Result<_, _>>()?);
        Ok(self)
    }

    /// Sets the origin of requests whose URI is only a path. Defaults to the origin in the URI of the request.
    ///
    /// # Errors
    ///
    /// If it is not an absolute `http` or `https` URL.
    pub fn origin(mut self, url: &str) -> Result<Self, MessageSignaturesError> {
        self.origin = Some(Origin::parse(url)?);
        Ok(self)
    }

    /// Sets the algorithm of `Content-Digest`. Defaults to `sha-256`.
    #[must_use]
    pub fn digest(mut self, algorithm: DigestAlgorithm) -> Self {
        self.digest = algorithm;
        self
    }

    /// Sends the name of the algorithm as the parameter `alg`. Defaults to none: the verifier knows it from the key.
    #[must_use]
    pub fn with_algorithm(mut self) -> Self {
        self.with_algorithm = true;
        self
    }

    /// Sends the time at which the signature expires, this long after it is made. Defaults to none.
    #[must_use]
    pub fn expires_after(mut self, time: Duration) -> Self {
        self.expires_after = Some(time);
        self
    }

    /// Sends a nonce, which the function makes for each message. Defaults to none.
    #[must_use]
    pub fn nonces(mut self, nonce: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.nonce = Some(Box::new(nonce));
        self
    }

    /// Sends a tag, which names the application. Defaults to none.
    ///
    /// # Errors
    ///
    /// If it is not printable ASCII.
    pub fn tag(mut self, tag: &str) -> Result<Self, MessageSignaturesError> {
        string(tag).ok_or(MessageSignaturesError::Tag)?;
        self.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// Signs a request at a time: adds `Signature-Input` and `Signature`, and `Content-Digest` if it is covered and absent.
    ///
    /// # Errors
    ///
    /// If a covered component is missing, or the URI has no origin and [`origin`](Self::origin) is not set.
    pub fn sign_request(
        &self,
        head: &mut request::Parts,
        body: &[u8],
        time: SystemTime,
    ) -> Result<(), MessageSignaturesError> {
        let mut components = match &self.components {
            Some(components) => components.clone(),
            None => vec![parse_component("@method")?, parse_component("@target-uri")?],
        };
        if self.components.is_none() && !body.is_empty() {
            components.push(parse_component(CONTENT_DIGEST.as_str())?);
        }
        self.add_digest(&components, &mut head.headers, body);
        let uri = ClientUri::of(&head.uri, &head.extensions);
        let own = match (&self.origin, uri.scheme_str(), uri.authority()) {
            (Some(origin), ..) => origin.clone(),
            (None, Some(scheme), Some(authority)) => {
                Origin::parse(&format!("{scheme}://{authority}"))?
            }
            _ => return Err(MessageSignaturesError::Origin),
        };
        // The URI of a client contains the origin, but its request line does not.
        let message = Message {
            method: &head.method,
            origin: &own,
            uri,
            version: Version::HTTP_2,
            headers: &head.headers,
            response: None,
        };
        let fields = self.sign(components, &message, time)?;
        self.add(&mut head.headers, fields)
    }

    /// Signs a response to a request at a time, as [`sign_request`](Self::sign_request) does. Needs the [`origin`](Self::origin) only if a component
    /// of the request is covered.
    ///
    /// # Errors
    ///
    /// If a covered component is missing.
    pub fn sign_response(
        &self,
        request: &request::Parts,
        head: &mut response::Parts,
        body: &[u8],
        time: SystemTime,
    ) -> Result<(), MessageSignaturesError> {
        let components = match &self.components {
            Some(components) => components.clone(),
            None => vec![parse_component("@status")?, parse_component(CONTENT_DIGEST.as_str())?],
        };
        self.add_digest(&components, &mut head.headers, body);
        let unknown = Origin::parse("https://invalid")?;
        let message = Message {
            method: &request.method,
            origin: self.origin.as_ref().unwrap_or(&unknown),
            uri: ClientUri::of(&request.uri, &request.extensions),
            version: request.version,
            headers: &request.headers,
            response: Some((head.status, &head.headers)),
        };
        let fields = self.sign(components, &message, time)?;
        self.add(&mut head.headers, fields)
    }

    fn add_digest(&self, components: &[Item], headers: &mut http::HeaderMap, body: &[u8]) {
        let is_digest = |item: &Item| {
            item.bare_item.as_string().is_some_and(|name| name.as_str() == CONTENT_DIGEST)
        };
        if components.iter().any(is_digest) && !headers.contains_key(CONTENT_DIGEST) {
            headers.insert(CONTENT_DIGEST, self.digest.field(body));
        }
    }

    fn sign(
        &self,
        components: Vec<Item>,
        message: &Message<'_>,
        time: SystemTime,
    ) -> Result<[String; 2], MessageSignaturesError> {
        let covered = InnerList::with_params(components, self.params(time)?);
        let (base, _) = signature_base(&covered, message, &Structures::new())
            .map_err(MessageSignaturesError::Unsignable)?;
        let signature = self.key.sign(base.as_bytes());
        let signature = signature.ok_or(MessageSignaturesError::Unsignable("no random numbers"))?;
        Ok([signature_params(&covered), format!(":{}:", STANDARD.encode(signature))])
    }

    fn params(&self, time: SystemTime) -> Result<Parameters, MessageSignaturesError> {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
            sfv::Integer::try_from(since).ok()
        };
        let time_error = MessageSignaturesError::Time;
        let created = seconds(time).ok_or(time_error.clone())?;
        let mut params = Parameters::new();
        params.insert(key_of("created")?, BareItem::Integer(created));
        if let Some(after) = self.expires_after {
            let expires = time.checked_add(after).and_then(seconds).ok_or(time_error)?;
            params.insert(key_of("expires")?, BareItem::Integer(expires));
        }
        let nonce = self.nonce.as_ref().map(|nonce| nonce());
        let algorithm = self.with_algorithm.then(|| self.algorithm.name().to_owned());
        let texts = [
            ("nonce", nonce),
            ("alg", algorithm),
            ("keyid", Some(self.key_id.clone())),
            ("tag", self.tag.clone()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                let text = string(&text)
                    .ok_or(MessageSignaturesError::Unsignable("a text is not printable ASCII"))?;
                params.insert(key_of(name)?, text);
            }
        }
        Ok(params)
    }

    /// Appends the fields: a message can have several signatures.
    fn add(
        &self,
        headers: &mut http::HeaderMap,
        [input, signature]: [String; 2],
    ) -> Result<(), MessageSignaturesError> {
        for (name, text) in [(SIGNATURE_INPUT, input), (SIGNATURE, signature)] {
            let value = HeaderValue::try_from(format!("{}={text}", self.label.as_str()))
                .map_err(|_| MessageSignaturesError::Unsignable("a field is too long"))?;
            headers.append(name, value);
        }
        Ok(())
    }
}

impl fmt::Debug for MessageSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSigner")
            .field("key_id", &self.key_id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

pub(super) fn check_key_id(id: &str) -> Result<(), MessageSignaturesError> {
    let is_short = (1..=TEXT_BYTES).contains(&id.len());
    string(id).filter(|_| is_short).map(drop).ok_or(MessageSignaturesError::KeyId)
}

pub(super) fn string(text: &str) -> Option<BareItem> {
    sfv::String::from_string(text.to_owned()).ok().map(BareItem::String)
}

pub(super) fn key_of(text: &str) -> Result<Key, MessageSignaturesError> {
    Key::from_string(text.to_owned()).map_err(|_| MessageSignaturesError::Label)
}
