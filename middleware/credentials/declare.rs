//! What a step that authenticates declares of itself.

use http::StatusCode;

use super::CredentialSources;
use crate::declare::{Answer, Credential, Declaration, Kind, Scheme};

impl CredentialSources {
    /// Declares the credentials, and the refusals that all such steps have. `format` is that of bearer tokens, such as `JWT`.
    pub(crate) fn declare(&self, format: Option<&str>, to: &mut Declaration) {
        to.kind(Kind::Authentication);
        for source in &self.sources {
            if let Some(scheme) = source.scheme_of(format) {
                if let Scheme::Cookie(_) = scheme {
                    // The step compares the origin of a request with a cookie with its own.
                    to.kind(Kind::ChecksOrigin);
                    let cause = "Another site caused the browser to send the cookie";
                    let refused = Answer::problem(StatusCode::FORBIDDEN, cause);
                    to.answers(refused.header("cache-control"));
                }
                let scopes = self.terms.scope.iter().flat_map(|scopes| scopes.split(' '));
                to.accepts(scopes.fold(Credential::new(scheme), Credential::scope));
            }
        }
        if self.reads_form {
            let bytes = self.form_limit as u64;
            to.kind(Kind::ReadsBody).limits_body(bytes).answers(Answer::problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The form with the credentials has more than {bytes} bytes"),
            ));
        }
        let refused = |status, cause: &str| {
            Answer::problem(status, cause).header("www-authenticate").header("cache-control")
        };
        to.answers(refused(
            StatusCode::BAD_REQUEST,
            "The credentials are malformed, or are sent in more than one place",
        ));
        to.answers(refused(
            StatusCode::UNAUTHORIZED,
            "The credentials are missing, or are not valid",
        ));
    }

    /// Declares the refusals of a step that asks others, such as an issuer or a function.
    pub(crate) fn declare_remote(to: &mut Declaration) {
        let later = |status, cause: &str| {
            Answer::problem(status, cause).header("cache-control").header("retry-after")
        };
        let cause = "The credentials can't be checked at the moment";
        to.answers(later(StatusCode::SERVICE_UNAVAILABLE, cause));
        let cause = "Too many credentials of this client are being checked";
        to.answers(later(StatusCode::TOO_MANY_REQUESTS, cause));
    }
}
