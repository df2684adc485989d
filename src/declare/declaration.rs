//! The declaration of one step.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use http::{Method, StatusCode};

use super::field::Field;
use super::notes::Notes;
use super::settings::Settings;

/// What a step declares of itself. See the [module](crate::declare).
///
/// Each method adds to the declaration, and returns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declaration {
    kinds: Vec<Kind>,
    answers: Vec<Answer>,
    adds: Vec<Field>,
    reads: Vec<Field>,
    credentials: Vec<Credential>,
    credentials_are_optional: bool,
    scopes: Vec<String>,
    roles: Vec<String>,
    body_limit: Option<u64>,
    pub(super) deprecated: bool,
    conditional: bool,
    uses: Vec<Resource>,
    methods: Vec<Method>,
    pub(super) notes: Notes,
    pub(super) settings: Settings,
}

impl Declaration {
    /// Declares a kind of the step. A step may have several kinds.
    pub fn kind(&mut self, kind: Kind) -> &mut Self {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
        self
    }

    /// Declares a response that the step may answer by itself.
    pub fn answers(&mut self, answer: Answer) -> &mut Self {
        self.answers.push(answer);
        self
    }

    /// Declares a header field that the step adds to the responses of the steps after it.
    pub fn adds(&mut self, field: Field) -> &mut Self {
        self.adds.push(field);
        self
    }

    /// Declares a header field of the request that the step reads, other than its credentials.
    pub fn reads(&mut self, field: Field) -> &mut Self {
        self.reads.push(field);
        self
    }

    /// Declares a credential that the step accepts. With several, each of them alone is enough.
    ///
    /// A request without any of them is refused, unless [`credentials_are_optional`](Self::credentials_are_optional) is called afterwards.
    pub fn accepts(&mut self, credential: Credential) -> &mut Self {
        self.credentials.push(credential);
        self.credentials_are_optional = false;
        self
    }

    /// Declares a scope that the step requires of the credential that an earlier step verified.
    pub fn requires_scope(&mut self, scope: impl Into<String>) -> &mut Self {
        self.scopes.push(scope.into());
        self
    }

    /// Declares a role or a permission that the step requires of the client that an earlier step verified.
    pub fn requires_role(&mut self, role: impl Into<String>) -> &mut Self {
        self.roles.push(role.into());
        self
    }

    /// Declares that a request without credentials passes the step.
    pub fn credentials_are_optional(&mut self) -> &mut Self {
        self.credentials_are_optional = true;
        self
    }

    /// Declares that the step limits the size of the body that later steps read, in bytes.
    pub fn limits_body(&mut self, bytes: u64) -> &mut Self {
        self.body_limit = Some(bytes);
        self
    }

    /// Declares that clients should no longer call the operations after the step.
    pub fn deprecates(&mut self) -> &mut Self {
        self.deprecated = true;
        self
    }

    /// Declares that the step does something for these methods only. Defaults to all methods.
    pub fn only_for(&mut self, methods: impl IntoIterator<Item = Method>) -> &mut Self {
        self.methods.extend(methods);
        self
    }

    /// Declares something that no other step should use as well.
    pub fn uses(&mut self, resource: Resource) -> &mut Self {
        self.uses.push(resource);
        self
    }

    /// Declares that the step takes part in some requests only, by a condition that is known only for each request.
    pub fn is_conditional(&mut self) -> &mut Self {
        self.conditional = true;
        self
    }

    /// The kinds of the step.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The responses that the step may answer by itself.
    pub fn answered(&self) -> &[Answer] {
        &self.answers
    }

    /// The header fields that the step adds to the responses of the steps after it.
    pub fn added(&self) -> &[Field] {
        &self.adds
    }

    /// The header fields of the request that the step reads.
    pub fn read(&self) -> &[Field] {
        &self.reads
    }

    /// The credentials that the step accepts.
    pub fn credentials(&self) -> &[Credential] {
        &self.credentials
    }

    /// Whether the step refuses a request without a credential.
    pub fn needs_credentials(&self) -> bool {
        let verifies = !self.credentials.is_empty() || self.kinds.contains(&Kind::Authentication);
        verifies && !self.credentials_are_optional
    }

    /// The scopes that the step requires of the credential that an earlier step verified.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The roles and permissions that the step requires of the client that an earlier step verified.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The limit of the body, in bytes.
    pub fn body_limit(&self) -> Option<u64> {
        self.body_limit
    }

    /// Whether the operations after the step are deprecated.
    pub fn is_deprecated(&self) -> bool {
        self.deprecated
    }

    /// Whether the step takes part in some requests only.
    pub fn conditional(&self) -> bool {
        self.conditional
    }

    /// Whether the step does something for this method. `None`: for some method.
    pub fn applies_to(&self, method: Option<&Method>) -> bool {
        self.methods.is_empty() || method.is_none_or(|method| self.methods.contains(method))
    }

    /// What no other step should use as well.
    pub fn used(&self) -> &[Resource] {
        &self.uses
    }
}

/// What a step does, as far as the order of steps depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Verifies a credential, and refuses a request without one unless credentials are optional.
    Authentication,
    /// Recognizes a client by a cookie that it has set, such as a store of sessions.
    Session,
    /// Checks what an authenticated client may do.
    Authorization,
    /// Limits how much a client may send, by this subject.
    Limit(Subject),
    /// Blocks this subject for a time after too many refusals of the limit.
    Penalty(Subject),
    /// Refuses requests that an overloaded server can't finish.
    Overload,
    /// Reads the whole body before the steps after it run.
    ReadsBody,
    /// Limits the size of the body that later steps read.
    LimitsBody,
    /// Removes the limit of the body that later steps read.
    UnlimitsBody,
    /// Replaces the body by another one, such as a decompressed one.
    ReplacesBody,
    /// Answers preflight requests, and allows browsers of other origins to read responses.
    Cors,
    /// Records requests and their responses.
    Log,
    /// Stores responses, and answers later requests with them, by this subject.
    StoresResponses(Subject),
    /// Verifies a signature over the body as the client sent it.
    VerifiesBody,
    /// Refuses requests that a browser sends on behalf of another origin.
    ChecksOrigin,
    /// Adds header fields by which browsers restrict what a response may do.
    HardensResponses,
}

/// By what a step distinguishes clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// All clients are one.
    Everyone,
    /// The address of the client, by a connection or by a trusted proxy.
    Address,
    /// An address that any client can set, such as a field of an untrusted proxy.
    ForwardedAddress,
    /// What an earlier step verified, such as a principal.
    Verified,
    /// A part of the request that no step verified, such as a header field. Contains its name.
    Unverified(String),
    /// A function of the program.
    Function,
}

/// What a step uses, and no other step should use as well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// A limiter, by a name that no other limiter has. The clones of one limiter have one name.
    Limiter(String),
    /// The counts of limiters in a store, by their name in the store.
    Counts(String),
    /// A secret.
    Secret(SecretId),
}

/// Recognizes a secret without containing it: a hash with a key that is chosen at random for each process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretId(u64);

impl SecretId {
    /// The identity of the secret with this SHA-256 digest.
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        static KEY: OnceLock<RandomState> = OnceLock::new();
        Self(KEY.get_or_init(RandomState::new).hash_one(digest))
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretId(..)")
    }
}

/// A response that a step may answer by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    status: StatusCode,
    cause: String,
    content_type: Option<String>,
    problem_type: Option<String>,
    headers: Vec<Field>,
}

impl Answer {
    /// A response without content.
    pub fn new(status: StatusCode, cause: impl Into<String>) -> Self {
        let (content_type, problem_type) = (None, None);
        Self { status, cause: cause.into(), content_type, problem_type, headers: Vec::new() }
    }

    /// A refusal as `application/problem+json` (RFC 9457).
    pub fn problem(status: StatusCode, cause: impl Into<String>) -> Self {
        Self::new(status, cause).content_type("application/problem+json")
    }

    /// Sets the media type of the content.
    #[must_use]
    pub fn content_type(mut self, media_type: impl Into<String>) -> Self {
        self.content_type = Some(media_type.into());
        self
    }

    /// Sets the `type` of the problem. Defaults to `about:blank`.
    #[must_use]
    pub fn with_type(mut self, uri: impl Into<String>) -> Self {
        self.problem_type = Some(uri.into());
        self
    }

    /// Adds a header field that the response always has.
    #[must_use]
    pub fn header(mut self, field: impl Into<Field>) -> Self {
        self.headers.push(field.into());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// When the step answers this, in words.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// The media type of the content. `None`: no content.
    pub fn media_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The `type` of the problem, if it is not `about:blank`.
    pub fn problem_type(&self) -> Option<&str> {
        self.problem_type.as_deref()
    }

    /// The header fields of the response.
    pub fn headers(&self) -> &[Field] {
        &self.headers
    }
}

/// A credential that a step accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    scheme: Scheme,
    scopes: Vec<String>,
    description: String,
}

impl Credential {
    /// A credential of this scheme.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme, scopes: Vec::new(), description: String::new() }
    }

    /// Adds a scope that the credential must have.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Describes the credential in words.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// The scheme.
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// The scopes that the credential must have.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// The description, in words.
    pub fn text(&self) -> &str {
        &self.description
    }
}

/// The scheme of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// `Authorization: Basic` (RFC 7617).
    Basic,
    /// `Authorization: Bearer` (RFC 6750), with the format of the token if it is known, such as `JWT`.
    Bearer(Option<String>),
    /// Another scheme of `Authorization`, by its name, such as `DPoP`.
    Http(String),
    /// A header field of this name.
    Header(String),
    /// A cookie of this name.
    Cookie(String),
    /// A parameter of this name in the query.
    Query(String),
    /// An OpenID Connect or OAuth issuer, by its URL.
    Issuer(String),
    /// A certificate of the client (mutual TLS).
    Certificate,
}
