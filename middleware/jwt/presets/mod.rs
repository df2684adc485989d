//! Policies for the tokens of common issuers.

mod argument;
pub(crate) mod load_balancer;
#[cfg(all(test, feature = "test-util"))]
mod tests;

use serde::de::DeserializeOwned;

use self::argument::{host, list, name};
use self::load_balancer::LoadBalancerKeys;
use super::algorithm::Algorithm::{self, Ed25519, Es256, Ps256, Rs256};
use super::token::json::{Exact, ExactValues, is_tenant_id};
use super::token::policy::{ENTRA_V2, ID_TOKEN_CLAIMS, LoadBalancer};
use super::{Jwks, Jwt, JwtError, TokenSource, impossible};

/// # Presets
///
/// Each preset has the rules for the tokens of one issuer: where its keys are, which algorithms it uses, and what distinguishes an access token for this
/// application from its other tokens. All other settings can be added, and [`keys`](Jwt::keys) replaces the source of the keys.
/// [`AccessToken`](super::AccessToken) reads the scopes, roles and permissions of each of them.
impl<C: DeserializeOwned + Send + Sync + 'static> Jwt<C> {
    /// Accepts access tokens of an [Auth0](https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles) tenant for an API.
    ///
    /// `domain` is that of the tenant, such as `example.eu.auth0.com`, or a custom domain. `audience` is the identifier of the API. ID tokens are refused.
    ///
    /// # Errors
    ///
    /// If the domain is not a host name, or the audience is empty.
    pub fn auth0(domain: &str, audience: &str) -> Result<Self, JwtError> {
        let domain = host(domain, "the domain of an Auth0 tenant", "example.eu.auth0.com")?;
        let jwt = Self::discovered(&format!("https://{domain}/"), [Rs256, Ps256])?;
        jwt.audience(audience)?.without_id_tokens().with_claims(&["iat", "sub"])
    }

    /// Accepts access tokens of an [Okta](https://developer.okta.com/docs/guides/validate-access-tokens/) authorization server.
    ///
    /// `issuer` is that of a custom authorization server, such as `https://example.okta.com/oauth2/default`. Tokens of the org authorization server, whose
    /// issuer has no path, can be verified by Okta alone. ID tokens are refused.
    ///
    /// # Errors
    ///
    /// If the issuer is not the URL of a custom authorization server, or the audience is empty.
    pub fn okta(issuer: &str, audience: &str) -> Result<Self, JwtError> {
        let (what, example) = (
            "the issuer of a custom Okta authorization server",
            "https://example.okta.com/oauth2/default",
        );
        let server = issuer.strip_prefix("https://").and_then(|rest| rest.split_once("/oauth2/"));
        let (domain, server) = server.ok_or(JwtError::Preset { what, example })?;
        host(domain, what, example)?;
        name(server, "", what, example)?;
        let jwt = Self::discovered(issuer, [Rs256])?.audience(audience)?;
        jwt.without_id_tokens().with_claims(&["iat", "sub", "cid", "jti"])
    }

    /// Accepts [access tokens of version 1](https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference) of Microsoft Entra ID,
    /// which APIs get whose manifest does not set `requestedAccessTokenVersion` to 2. The rules are those of [`entra_v2`](Jwt::entra_v2).
    ///
    /// `audience` is the application ID URI, such as `api://11111111-2222-3333-4444-555555555555`.
    ///
    /// # Errors
    ///
    /// The errors of [`entra_v2`](Jwt::entra_v2).
    pub fn entra_v1<I>(tenants: I, audience: &str) -> Result<Self, JwtError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Self::entra(&EntraVersion::V1, tenant_ids(tenants)?, audience)
    }

    /// Accepts [access tokens of version 2](https://learn.microsoft.com/en-us/entra/identity-platform/access-token-claims-reference) of these tenants of
    /// Microsoft Entra ID.
    ///
    /// `tenants` are the ids of the tenants, not their names: `["9188040d-6c67-4c5b-b112-36a304b66dad"]`. The claim `tid` must be one of them, `iss` must be
    /// the issuer of the same tenant, and so must be the tenant of the key, if the key has one. `audience` is the client id of the API. A token must have
    /// `scp` or `roles`; ID tokens are refused. The keys are those of the global cloud.
    ///
    /// # Errors
    ///
    /// If there is no tenant, if one is not a GUID (such as `common`, `{tenantid}` or a domain), or if the audience is empty.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::Jwt;
    /// use tower_chain::middleware::jwt::AccessToken;
    ///
    /// # fn main() -> Result<(), tower_chain::middleware::jwt::JwtError> {
    /// let tenant = "9188040d-6c67-4c5b-b112-36a304b66dad";
    /// let jwt = Jwt::<AccessToken>::entra_v2([tenant], "11111111-2222-3333-4444-555555555555")?;
    /// # let _ = jwt;
    /// # Ok(())
    /// # }
    /// ```
    pub fn entra_v2<I>(tenants: I, audience: &str) -> Result<Self, JwtError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Self::entra(&EntraVersion::V2, tenant_ids(tenants)?, audience)
    }

    /// The same as [`entra_v1`](Jwt::entra_v1), for every tenant. See [`entra_v2_any_tenant`](Jwt::entra_v2_any_tenant).
    ///
    /// # Errors
    ///
    /// If the audience is empty.
    pub fn entra_v1_any_tenant(audience: &str) -> Result<Self, JwtError> {
        Self::entra(&EntraVersion::V1, Vec::new(), audience)
    }

    /// The same as [`entra_v2`](Jwt::entra_v2), for every tenant: anyone can create one. `iss`, `tid` and the key must be of the same tenant.
    ///
    /// The application must decide by `tid` what a caller may see. A `sub` or an `oid` is unique within its tenant only.
    ///
    /// # Errors
    ///
    /// If the audience is empty.
    pub fn entra_v2_any_tenant(audience: &str) -> Result<Self, JwtError> {
        Self::entra(&EntraVersion::V2, Vec::new(), audience)
    }

    fn entra(
        version: &EntraVersion,
        tenants: Vec<Box<str>>,
        audience: &str,
    ) -> Result<Self, JwtError> {
        let tenant = match &tenants[..] {
            [tenant] => tenant,
            _ => "common",
        };
        let login = format!("https://login.microsoftonline.com/{tenant}");
        let (issuers, path, application, number) = match version {
            EntraVersion::V1 => (ENTRA_V1, "/discovery/keys", "appid", "1.0"),
            EntraVersion::V2 => (ENTRA_V2, "/discovery/v2.0/keys", "azp", "2.0"),
        };
        let keys = Jwks::url(&format!("{login}{path}"), [Rs256])?;
        let mut jwt = Self::new(keys).audience(audience)?.without_id_tokens();
        jwt = jwt.claim("ver", number)?.with_claims(&["iat", "sub", application])?;
        jwt.policy.tenant_issuers = issuers;
        jwt.policy.any_of = &["scp", "roles"];
        let values = ExactValues::Tenant(tenants);
        jwt.policy.exact.push(Exact { name: Box::from("tid"), values });
        Ok(jwt)
    }

    /// Accepts access tokens of a [Keycloak](https://www.keycloak.org/docs/latest/server_admin/) realm.
    ///
    /// `issuer` is the URL of the realm, such as `https://sso.example.org/realms/main`. `audience` must be in `aud`: add a mapper of the type "Audience" to
    /// the client scope of the API. The claim `typ` must be `Bearer`, or `DPoP` for tokens that are [bound](Jwt::dpop) to a key: refresh tokens, ID tokens and
    /// logout tokens are refused.
    ///
    /// # Errors
    ///
    /// If the issuer is not the URL of a realm, or the audience is empty.
    pub fn keycloak(issuer: &str, audience: &str) -> Result<Self, JwtError> {
        let (what, example) =
            ("the URL of a Keycloak realm", "https://sso.example.org/realms/main");
        let realm = issuer.split_once("/realms/").map(|(_, realm)| realm);
        name(realm.unwrap_or_default(), "._", what, example)?;
        let jwt = Self::discovered(issuer, [Rs256, Ps256, Es256, Ed25519])?.audience(audience)?;
        jwt.claim("typ", "Bearer")?.claim("typ", "DPoP")?.with_claims(&["iat", "azp"])
    }

    /// Accepts access tokens of an [Amazon Cognito](https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html)
    /// user pool that were issued to these app clients.
    ///
    /// `user_pool` is its id, such as `eu-central-1_AbCdEf123`. These tokens have no audience: `client_id` must be one of `clients`, and `token_use` must be
    /// `access`. ID tokens are refused.
    ///
    /// # Errors
    ///
    /// If the id is not that of a user pool, or if there is no client or one is empty.
    pub fn cognito<I>(user_pool: &str, clients: I) -> Result<Self, JwtError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let (what, example) = ("the id of a Cognito user pool", "eu-central-1_AbCdEf123");
        let parts = user_pool.split_once('_').filter(|(region, _)| region.contains('-'));
        let (region, pool) = parts.ok_or(JwtError::Preset { what, example })?;
        name(region, "", what, example)?;
        name(pool, "", what, example)?;
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{user_pool}");
        let mut jwt = Self::discovered(&issuer, [Rs256])?.claim("token_use", "access")?;
        let what = "a list of Cognito app clients";
        for client in list(clients, what, "1example23456789")? {
            jwt = jwt.claim("client_id", client)?;
        }
        jwt.with_claims(&["iat", "sub", "jti"])
    }

    /// Accepts [ID tokens of Google](https://developers.google.com/identity/gsi/web/guides/verify-google-id-token) for an application.
    ///
    /// `client_id` is that of the application, such as `1234-abc.apps.googleusercontent.com`. Identify a user by `sub`. To accept the members of a Workspace
    /// only, add `.claim("hd", "example.org")`; an address without `hd` and `email_verified` may belong to anyone.
    ///
    /// # Errors
    ///
    /// If the client id is empty.
    pub fn google(client_id: &str) -> Result<Self, JwtError> {
        let keys = Jwks::url("https://www.googleapis.com/oauth2/v3/certs", [Rs256])?;
        let jwt =
            Self::new(keys).issuer("https://accounts.google.com")?.issuer("accounts.google.com")?;
        jwt.audience(client_id)?.with_claims(&["iat", "sub"])
    }

    /// Accepts [ID tokens of Firebase](https://firebase.google.com/docs/auth/admin/verify-id-tokens) for a project.
    ///
    /// `sub` must not be empty, and `auth_time` must not be after `iat`. Session cookies have another issuer, and are refused.
    ///
    /// # Errors
    ///
    /// If the project is not the id of a project.
    pub fn firebase(project: &str) -> Result<Self, JwtError> {
        name(project, "", "the id of a Firebase project", "example-project-1")?;
        let account = "securetoken@system.gserviceaccount.com";
        let keys = format!("https://www.googleapis.com/service_accounts/v1/jwk/{account}");
        let jwt = Self::new(Jwks::url(&keys, [Rs256])?);
        let jwt = jwt.issuer(format!("https://securetoken.google.com/{project}"))?;
        let jwt = jwt.audience(project)?.with_claims(&["iat", "sub"])?.check(|_, token| {
            let named = token.subject().is_some_and(|subject| !subject.is_empty());
            named && token.authenticated_at().is_some_and(|at| Some(at) <= token.issued_at())
        });
        Ok(jwt)
    }

    /// Accepts [access tokens of Supabase](https://supabase.com/docs/guides/auth/jwts) for users of a project.
    ///
    /// `url` is that of the project, such as `https://abcdefghijkl.supabase.co`. `role` must be `authenticated`, so the keys `anon` and `service_role` are
    /// refused. Users of anonymous sign-ins have that role as well; they have `is_anonymous: true`. The project must use an asymmetric signing key.
    ///
    /// # Errors
    ///
    /// If the URL is not an https URL without a path.
    pub fn supabase(url: &str) -> Result<Self, JwtError> {
        let (what, example) = ("the URL of a Supabase project", "https://abcdefghijkl.supabase.co");
        let domain =
            url.strip_prefix("https://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let domain = host(domain.unwrap_or_default(), what, example)?;
        let issuer = format!("https://{domain}/auth/v1");
        let keys = Jwks::url(&format!("{issuer}/.well-known/jwks.json"), [Es256, Rs256])?;
        let jwt = Self::new(keys).issuer(&issuer)?.audience("authenticated")?;
        jwt.claim("role", "authenticated")?.with_claims(&["iat", "sub", "session_id"])
    }

    /// Accepts tokens of [GitHub Actions](https://docs.github.com/en/actions/concepts/security/openid-connect) from workflows of these repositories.
    ///
    /// `audience` is the text for which the workflow requests the token. Anyone can get a token of this issuer, so the repositories are required:
    /// `["octo-org/octo-repo"]`. To accept a branch or an environment only, add `.claim("ref", "refs/heads/main")` or `.claim("environment", "prod")`. A
    /// repository can be deleted and its name taken by another owner; `.claim("repository_id", "74")` prevents this.
    ///
    /// # Errors
    ///
    /// If the audience is empty, if there is no repository, or if one is not of the form `owner/name`.
    pub fn github_actions<I>(audience: &str, repositories: I) -> Result<Self, JwtError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let (what, example) = ("a list of repositories on GitHub", "octo-org/octo-repo");
        let issuer = "https://token.actions.githubusercontent.com";
        let mut jwt = Self::discovered(issuer, [Rs256])?.audience(audience)?;
        for repository in list(repositories, what, example)? {
            let parts = repository.split_once('/').ok_or(JwtError::Preset { what, example })?;
            name(parts.0, "", what, example)?;
            name(parts.1, "._", what, example)?;
            jwt = jwt.claim("repository", repository)?;
        }
        jwt.with_claims(&["iat", "sub", "jti"])
    }

    /// Accepts [tokens of Kubernetes service accounts](https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/) of a cluster.
    ///
    /// `issuer` is the value of `--service-account-issuer`, and `audience` the one of the projected volume. Every account can get a token for every audience,
    /// so the accounts are required: `["namespace:name"]`. Old tokens, from secrets, do not expire and are refused.
    ///
    /// # Errors
    ///
    /// The errors of [`Jwks::issuer`]; if the audience is empty, if there is no account, or if one is not of the form `namespace:name`.
    pub fn kubernetes<I>(issuer: &str, audience: &str, accounts: I) -> Result<Self, JwtError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let (what, example) = ("a list of Kubernetes service accounts", "namespace:name");
        let mut jwt = Self::discovered(issuer, [Rs256, Es256])?.audience(audience)?;
        for account in list(accounts, what, example)? {
            let parts = account.split_once(':').ok_or(JwtError::Preset { what, example })?;
            name(parts.0, "", what, example)?;
            name(parts.1, ".", what, example)?;
            jwt = jwt.subject(format!("system:serviceaccount:{account}"))?;
        }
        jwt.with_claims(&["iat", "kubernetes.io"])
    }

    /// Accepts [tokens of Cloudflare Access](https://developers.cloudflare.com/cloudflare-one/identity/authorization-cookie/validating-json/) for an
    /// application, in the header `Cf-Access-Jwt-Assertion`.
    ///
    /// `team` is the name of the team, the first part of `example.cloudflareaccess.com`. `audience` is the "Application Audience (AUD) Tag". `type` must be
    /// `app`. A service token has an empty `sub` and a `common_name`.
    ///
    /// # Errors
    ///
    /// If the team is not a name, or the audience is empty.
    pub fn cloudflare_access(team: &str, audience: &str) -> Result<Self, JwtError> {
        name(team, "", "the name of a Cloudflare team", "example")?;
        let issuer = format!("https://{team}.cloudflareaccess.com");
        let keys = Jwks::url(&format!("{issuer}/cdn-cgi/access/certs"), [Rs256])?;
        let jwt = Self::new(keys).issuer(&issuer)?.audience(audience)?.claim("type", "app")?;
        jwt.with_claims(&["iat", "sub"])?.sources([TokenSource::header("cf-access-jwt-assertion")?])
    }

    /// Accepts [the claims of users that an AWS Application Load Balancer](https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html)
    /// has authenticated, in the header `X-Amzn-Oidc-Data`.
    ///
    /// `arn` is that of the load balancer, which must be the `signer` in the header of the token, and `client_id` the one of this application at the issuer.
    /// The parts of these tokens are padded, and their time is in the header; both are accepted here alone. The keys are [`LoadBalancerKeys`] of the region
    /// in the ARN.
    ///
    /// # Errors
    ///
    /// If the text is not the ARN of an Application Load Balancer, or the client id is empty.
    pub fn aws_load_balancer(arn: &str, client_id: &str) -> Result<Self, JwtError> {
        let (what, example) = (
            "the ARN of an Application Load Balancer",
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/name/50dc6c495c0c9188",
        );
        let mut parts = arn.splitn(6, ':');
        let (prefix, partition, service) = (parts.next(), parts.next(), parts.next());
        let (region, account, resource) = (parts.next(), parts.next(), parts.next());
        let is_arn = prefix == Some("arn")
            && matches!(partition, Some("aws" | "aws-us-gov"))
            && service == Some("elasticloadbalancing")
            && account.is_some_and(|account| account.len() == 12)
            && resource.is_some_and(|resource| resource.starts_with("loadbalancer/app/"));
        let region = region.filter(|_| is_arn).ok_or(JwtError::Preset { what, example })?;
        let mut jwt = Self::new(LoadBalancerKeys::new(region)?).any_audience();
        jwt.policy.padded = true;
        let client = impossible::text(client_id, "the client id")?;
        jwt.policy.load_balancer = Some(LoadBalancer { signer: Box::from(arn), client });
        jwt.require("sub")?.sources([TokenSource::header("x-amzn-oidc-data")?])
    }

    /// With the keys in the metadata of the issuer.
    fn discovered(
        issuer: &str,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, JwtError> {
        // Also in the policy, so the rule stays if the keys are replaced.
        Self::new(Jwks::issuer(issuer, algorithms)?).issuer(issuer)
    }

    fn without_id_tokens(mut self) -> Self {
        self.policy.forbidden = ID_TOKEN_CLAIMS;
        self
    }

    fn with_claims(self, names: &[&str]) -> Result<Self, JwtError> {
        names.iter().try_fold(self, |jwt, name| jwt.require(*name))
    }
}

enum EntraVersion {
    V1,
    V2,
}

fn tenant_ids(tenants: impl IntoIterator<Item: AsRef<str>>) -> Result<Vec<Box<str>>, JwtError> {
    let (what, example) =
        ("a list of ids of Entra ID tenants", "9188040d-6c67-4c5b-b112-36a304b66dad");
    let tenants = list(tenants, what, example)?;
    let ids = tenants.into_iter().map(|id| id.to_ascii_lowercase().into_boxed_str());
    let checked = ids.map(|id| is_tenant_id(&id).then_some(id));
    checked.collect::<Option<_>>().ok_or(JwtError::Preset { what, example })
}

/// The issuer of Entra ID for tokens of version 1.
const ENTRA_V1: &[&str] = &["https://sts.windows.net/{tenantid}/"];
