//! Layers of other crates, recognized by the names of their types.
//!
//! They have no declaration of their own. What the audit has to know of the most frequent ones is stated here, so a forgotten
//! [`declared`](fn@crate::step::declared) does not hide a wrong order. Only the audit depends on it, and only when a chain is built.

use crate::declare::{Declaration, Kind, Subject};

/// Adds the kinds of a layer, by the full name of its type. The layers in a stack of layers are known as well.
pub(super) fn declare(full_name: &str, to: &mut Declaration) {
    let is_separator = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':'));
    for path in full_name.split(is_separator) {
        let Some(crate_name) = path.split("::").next() else { continue };
        let name = path.rsplit("::").next().unwrap_or_default();
        if let Some(kind) = kind_of(crate_name, name) {
            to.kind(kind);
        }
    }
}

fn kind_of(crate_name: &str, name: &str) -> Option<Kind> {
    let kind = match (crate_name, name) {
        ("tower_http", "CorsLayer") => Kind::Cors,
        ("tower_http", "CsrfLayer") => Kind::ChecksOrigin,
        ("tower_http", "TraceLayer") => Kind::Log,
        ("tower_http", "RequestBodyLimitLayer") => Kind::LimitsBody,
        ("tower_http", "RequestDecompressionLayer") => Kind::ReplacesBody,
        ("tower_http", "AsyncRequireAuthorizationLayer") => Kind::Authentication,
        ("tower_sessions", "SessionManagerLayer") => Kind::Session,
        ("tower", "RateLimitLayer") => Kind::Limit(Subject::Everyone),
        // The key is a type parameter of the layer.
        ("tower_governor", "SmartIpKeyExtractor") => Kind::Limit(Subject::ForwardedAddress),
        ("tower_governor", "PeerIpKeyExtractor") => Kind::Limit(Subject::Address),
        ("tower_governor", "GlobalKeyExtractor") => Kind::Limit(Subject::Everyone),
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(full_name: &str) -> Vec<Kind> {
        let mut declaration = Declaration::default();
        declare(full_name, &mut declaration);
        declaration.kinds().to_vec()
    }

    #[test]
    fn frequent_layers_are_known_by_their_crate_and_name() {
        type Stack<A, B> = tower::layer::util::Stack<A, B>;
        type Cors = tower_http::cors::CorsLayer;
        type Trace = tower_http::trace::TraceLayer<
            tower_http::classify::SharedClassifier<tower_http::classify::ServerErrorsAsFailures>,
        >;
        let limited = Kind::Limit;
        let of = |name: &str, kinds: &[Kind]| (name.to_owned(), kinds.to_vec());
        for (name, expected) in [
            of(std::any::type_name::<Cors>(), &[Kind::Cors]),
            of(std::any::type_name::<Trace>(), &[Kind::Log]),
            of(std::any::type_name::<tower_http::csrf::CsrfLayer>(), &[Kind::ChecksOrigin]),
            of(
                std::any::type_name::<tower_http::decompression::RequestDecompressionLayer>(),
                &[Kind::ReplacesBody],
            ),
            of(std::any::type_name::<Stack<Cors, Trace>>(), &[Kind::Cors, Kind::Log]),
            of(std::any::type_name::<(Trace, Cors)>(), &[Kind::Log, Kind::Cors]),
            of(std::any::type_name::<tower::ServiceBuilder<Stack<Cors, ()>>>(), &[Kind::Cors]),
            of("tower_http::limit::layer::RequestBodyLimitLayer", &[Kind::LimitsBody]),
            of(
                "tower_governor::governor::GovernorLayer<tower_governor::key_extractor::SmartIpKeyExtractor, M>",
                &[limited(Subject::ForwardedAddress)],
            ),
            of("tower_sessions::service::SessionManagerLayer<MemoryStore>", &[Kind::Session]),
            of("api::cors::CorsLayer", &[]),
            of("tower_http::timeout::service::TimeoutLayer", &[]),
            of("tower_http::cors::CorsLayerX", &[]),
            of("", &[]),
        ] {
            assert_eq!(kinds(&name), expected, "{name}");
        }
    }
}
