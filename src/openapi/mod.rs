//! The contract of a chain as OpenAPI 3.1 or 3.2.
#![allow(
    missing_debug_implementations,
    unreachable_pub,
    reason = "the types of a chain are public to the compiler alone"
)]

mod arguments;
#[cfg(feature = "test-util")]
mod contract;
mod docs;
mod document;
mod documented;
mod exempt;
mod info;
mod page;
#[cfg(feature = "multipart")]
mod parts;
mod replies;
mod rules;
mod schemas;
mod security;

pub use self::docs::{Docs, Served};
pub use self::document::OpenApi;
pub use self::documented::Documented;
pub use self::exempt::{Described, Undescribed, described, undescribed};
pub use self::info::Info;
#[cfg(feature = "multipart")]
#[cfg_attr(docsrs, doc(cfg(feature = "multipart")))]
pub use self::parts::{File, Parts};
pub use self::replies::{DescribeParts, DescribeResponse};
pub use crate::declare::operation::{DescribeArgument, Operation, Parameter, Reply, Schemas};

/// Makes the doc comment of a handler the title and the description of its operation.
///
/// The function stays as it is. The attribute adds a module of the same name, whose function `docs` is the second argument of [`described`]. The
/// first paragraph is the title, the others are the description. In a function that sets more, call it: `|to| { user::docs(to); to.tag("users"); }`.
///
/// # Example
///
/// ```
/// use tower_chain::openapi::{Info, described, documented};
/// use tower_chain::{Chain, Path};
///
/// /// One user.
/// ///
/// /// The name of a *user*.
/// #[documented]
/// async fn user(Path(id): Path<u64>) -> String {
///     format!("user {id}")
/// }
///
/// # fn main() {
/// let user = described(user, user::docs);
/// let api = Chain::new().documented().at("/users/{id}", |c| c.get(user)).build();
/// let document = api.openapi(&Info::new("Users", "1.0"));
/// let operation = &document.value()["paths"]["/users/{id}"]["get"];
/// assert_eq!(operation["summary"], "One user.");
/// assert_eq!(operation["description"], "The name of a *user*.");
/// # }
/// ```
pub use tower_chain_derive::documented;

#[cfg(feature = "test-util")]
pub(crate) use self::contract::Contract;
use crate::ChainService;

impl ChainService {
    /// The document of the chain.
    ///
    /// Handlers that were added before [`Chain::documented`](crate::Chain::documented) are listed without a description.
    pub fn openapi(&self, info: &Info) -> OpenApi {
        document::document(self.routes(), info)
    }
}
