//! The built-in middleware: one file each, one feature each.

#[cfg(feature = "access-log")]
#[cfg_attr(docsrs, doc(cfg(feature = "access-log")))]
pub mod access_log;
#[cfg(feature = "authenticate")]
#[cfg_attr(docsrs, doc(cfg(feature = "authenticate")))]
pub mod authenticate;
#[cfg(feature = "body-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "body-limit")))]
pub mod body_limit;
#[cfg(any(feature = "garde", feature = "validate"))]
mod checking;
#[cfg(any(feature = "access-log", feature = "telemetry"))]
mod counted_body;
#[cfg(any(feature = "authenticate", feature = "jwt", feature = "jwt-rust-crypto"))]
mod credentials;
#[cfg(feature = "deprecated")]
#[cfg_attr(docsrs, doc(cfg(feature = "deprecated")))]
pub mod deprecated;
#[cfg(feature = "etag")]
#[cfg_attr(docsrs, doc(cfg(feature = "etag")))]
pub mod etag;
#[cfg(feature = "garde")]
#[cfg_attr(docsrs, doc(cfg(feature = "garde")))]
pub mod garde;
#[cfg(feature = "grpc-status")]
#[cfg_attr(docsrs, doc(cfg(feature = "grpc-status")))]
pub mod grpc_status;
#[cfg(feature = "idempotency")]
#[cfg_attr(docsrs, doc(cfg(feature = "idempotency")))]
pub mod idempotency;
#[cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "jwt", feature = "jwt-rust-crypto"))))]
pub mod jwt;
#[cfg(feature = "redis")]
mod lua_script;
#[cfg(feature = "message-signatures")]
#[cfg_attr(docsrs, doc(cfg(feature = "message-signatures")))]
pub mod message_signatures;
#[cfg(feature = "problem-details")]
#[cfg_attr(docsrs, doc(cfg(feature = "problem-details")))]
pub mod problem_details;
#[cfg(feature = "protected-resource")]
#[cfg_attr(docsrs, doc(cfg(feature = "protected-resource")))]
pub mod protected_resource;
#[cfg(feature = "rate-limit")]
#[cfg_attr(docsrs, doc(cfg(feature = "rate-limit")))]
pub mod rate_limit;
#[cfg(feature = "signed")]
mod raw_body;
#[cfg(all(
    feature = "redis",
    any(feature = "jwt", feature = "jwt-rust-crypto", feature = "signed")
))]
mod redis_connection;
#[cfg(feature = "require")]
#[cfg_attr(docsrs, doc(cfg(feature = "require")))]
pub mod require;
#[cfg(feature = "security-headers")]
#[cfg_attr(docsrs, doc(cfg(feature = "security-headers")))]
pub mod security_headers;
#[cfg(feature = "signed")]
mod seen;
#[cfg(feature = "server-timing")]
#[cfg_attr(docsrs, doc(cfg(feature = "server-timing")))]
pub mod server_timing;
#[cfg(feature = "shed")]
#[cfg_attr(docsrs, doc(cfg(feature = "shed")))]
pub mod shed;
#[cfg(feature = "signed")]
#[cfg_attr(docsrs, doc(cfg(feature = "signed")))]
pub mod signed;
#[cfg(all(
    test,
    any(
        feature = "authenticate",
        feature = "jwt",
        feature = "jwt-rust-crypto",
        feature = "require"
    )
))]
mod tables;
#[cfg(feature = "telemetry")]
#[cfg_attr(docsrs, doc(cfg(feature = "telemetry")))]
pub mod telemetry;
#[cfg(feature = "validate")]
#[cfg_attr(docsrs, doc(cfg(feature = "validate")))]
pub mod validate;
