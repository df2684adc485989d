//! A token: how it is split and read (JWS, JSON), what its claims are, and which claims are accepted.

pub(crate) mod access_token;
pub(crate) mod claims;
pub(crate) mod confirmation;
pub(crate) mod json;
pub(crate) mod jws;
mod optional_claim;
pub(crate) mod policy;
