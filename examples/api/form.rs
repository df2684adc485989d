//! A custom extractor: valid JSON or a valid form, whichever the client sends.

use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use tower_chain::extract::{Form, FromRequest, Json};
use tower_chain::{Error, Request, Valid};
use validator::Validate;

/// Valid data from a body that is JSON or a form, by its content type.
pub(crate) struct JsonOrForm<T>(pub(crate) T);

impl<T, S> FromRequest<S> for JsonOrForm<T>
where
    T: DeserializeOwned + Validate + Send + Sync + 'static,
    S: Sync,
{
    type Rejection = Error;

    async fn from_request(req: Request, state: &S) -> Result<Self, Error> {
        let content_type = req.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        if media_type
            .trim_matches([' ', '\t'])
            .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        {
            Valid::<Form<T>>::from_request(req, state).await.map(|Valid(form)| Self(form.0))
        } else {
            Valid::<Json<T>>::from_request(req, state).await.map(|Valid(json)| Self(json.0))
        }
    }
}
