//! JSON that is sent as plain text.

use crate::extract::Head;
use crate::extract::media_type::ContentType;

/// Lets `Json` and `JsonOrForm` read a body of the type `text/plain` as JSON. Provide it to the routes that need it.
///
/// `fetch(url, { method: "POST", body: JSON.stringify(data) })` sends this type, because it sets none. Without this value, the request is a 415.
///
/// **Security**: a browser sends `text/plain` to other sites without asking them first (a "simple" request of CORS), but not `application/json`.
/// If a cookie authenticates the route, protect it against requests of other sites, as `Authenticate` does, or let the page set
/// `"content-type": "application/json"` instead.
///
/// # Example
///
/// ```
/// use tower_chain::extract::TextAsJson;
/// use tower_chain::{Chain, Json};
///
/// let chain = Chain::new()
///     .at("/from-page", |c| c.provide(TextAsJson).post(async |Json(name): Json<String>| name));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextAsJson;

impl TextAsJson {
    /// Whether the request has such a body, and may have it.
    pub(crate) fn allows(head: Head<'_>) -> bool {
        head.extensions.get::<Self>().is_some()
            && ContentType::of_utf8(head.headers).is_some_and(|found| found.is("text", "plain"))
    }
}
