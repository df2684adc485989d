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
mod replies;
mod rules;
mod schemas;
mod security;

pub use self::docs::{Docs, Served};
pub use self::document::OpenApi;
pub use self::documented::Documented;
pub use self::exempt::{Described, Undescribed, described, undescribed};
pub use self::info::Info;
pub use self::replies::{DescribeParts, DescribeResponse};
pub use crate::declare::operation::{DescribeArgument, Operation, Parameter, Reply, Schemas};

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
