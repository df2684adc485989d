use http::StatusCode;

use super::*;
use crate::declare::{Credential, Declaration, Kind, Resource, Scheme, SecretId, Subject};
use crate::step::{Declared, declared};
use crate::{Chain, Next, Response};

async fn pass(next: Next<'_>) -> Response {
    next.run().await
}

async fn check() -> Result<(), StatusCode> {
    Ok(())
}

async fn handler() {}

/// A step of these kinds.
fn step(
    kinds: &[Kind],
) -> Declared<
    fn(Next<'_>) -> futures_util::future::BoxFuture<'_, Response>,
    impl FnOnce(&mut Declaration) + use<>,
> {
    let kinds = kinds.to_vec();
    let f: fn(Next<'_>) -> futures_util::future::BoxFuture<'_, Response> =
        |next| Box::pin(pass(next));
    declared(f, move |to| {
        for kind in kinds {
            if kind == Kind::Authentication {
                to.accepts(Credential::new(Scheme::Bearer(None)));
            }
            to.kind(kind);
        }
    })
}

fn names(api: &ChainService) -> Vec<&'static str> {
    api.audit().list().iter().map(|finding| finding.rule().name()).collect()
}

const AUTH: Kind = Kind::Authentication;

fn limit() -> Kind {
    Kind::Limit(Subject::Address)
}

/// Each publicly reported order, as a chain that breaks the rule, and the mended chain beside it.
#[test]
fn each_rule_finds_its_order_and_not_the_mended_one() {
    let unverified = || Kind::Limit(Subject::Unverified("authorization".to_owned()));
    let cookie = |to: &mut Declaration| {
        to.kind(AUTH).accepts(Credential::new(Scheme::Cookie("id".to_owned())));
    };
    let limiter = |name: &'static str| {
        declared(pass, move |to: &mut Declaration| {
            to.kind(limit()).uses(Resource::Limiter(name.to_owned()));
        })
    };
    let counts = |instance: &'static str| {
        declared(pass, move |to: &mut Declaration| {
            let instance = Resource::Limiter(instance.to_owned());
            to.kind(limit()).uses(instance).uses(Resource::Counts("api".to_owned()));
        })
    };
    let secret = |digest: u8| {
        declared(pass, move |to: &mut Declaration| {
            to.uses(Resource::Secret(SecretId::of_digest(&[digest; 32])));
        })
    };
    let new = Chain::new;
    let cases = [
        (
            "authentication-before-limit",
            new().use_(step(&[AUTH])).use_(step(&[limit()])).get(handler).build(),
            new().use_(step(&[limit()])).use_(step(&[AUTH])).get(handler).build(),
        ),
        (
            "authentication-before-limit",
            new().use_(step(&[AUTH])).at("/a", |c| c.use_(step(&[limit()])).get(handler)).build(),
            new()
                .always(step(&[limit()]))
                .use_(step(&[AUTH]))
                .at("/a", |c| c.use_(step(&[limit()])).get(handler))
                .build(),
        ),
        (
            "authentication-before-limit",
            new()
                .use_(step(&[AUTH]))
                .use_(step(&[Kind::Limit(Subject::Verified)]))
                .get(handler)
                .build(),
            new()
                .use_(step(&[limit()]))
                .use_(step(&[AUTH]))
                .use_(step(&[Kind::Limit(Subject::Verified)]))
                .get(handler)
                .build(),
        ),
        (
            "unverified-limit",
            new().use_(step(&[unverified()])).use_(step(&[AUTH])).get(handler).build(),
            new().use_(step(&[unverified(), limit()])).use_(step(&[AUTH])).get(handler).build(),
        ),
        (
            "unverified-limit",
            new().use_(step(&[unverified()])).get(handler).build(),
            new()
                .use_(step(&[limit()]))
                .use_(step(&[AUTH]))
                .use_(step(&[unverified()]))
                .get(handler)
                .build(),
        ),
        (
            "forwarded-address",
            new().use_(step(&[Kind::Limit(Subject::ForwardedAddress)])).get(handler).build(),
            new().use_(step(&[limit()])).get(handler).build(),
        ),
        (
            "shared-responses",
            new()
                .use_(step(&[Kind::StoresResponses(Subject::Everyone)]))
                .use_(step(&[AUTH]))
                .get(handler)
                .build(),
            new()
                .use_(step(&[AUTH]))
                .use_(step(&[Kind::StoresResponses(Subject::Verified)]))
                .get(handler)
                .build(),
        ),
        (
            "shared-responses",
            new()
                .use_(step(&[AUTH]))
                .use_(step(&[Kind::StoresResponses(Subject::Address)]))
                .get(handler)
                .build(),
            new().use_(step(&[Kind::StoresResponses(Subject::Everyone)])).get(handler).build(),
        ),
        (
            "open-write",
            new()
                .at("/orders", |c| c.post(handler))
                .use_(step(&[AUTH]))
                .at("/users", |c| c.post(handler))
                .build(),
            new()
                .use_(step(&[AUTH]))
                .at("/orders", |c| c.post(handler))
                .at("/users", |c| c.post(handler))
                .build(),
        ),
        ("open-write", new().all(handler).build(), new().get(handler).query(handler).build()),
        ("open-write", new().delete(handler).build(), new().guard(check).delete(handler).build()),
        (
            "open-write",
            new()
                .use_at("/admin", step(&[AUTH]))
                .at("/other", |c| c.put(handler))
                .at("/admin", |c| c.put(handler))
                .build(),
            new().use_at("/admin", step(&[AUTH])).at("/admin/x", |c| c.put(handler)).build(),
        ),
        (
            "cookie-without-origin-check",
            new().use_(declared(pass, cookie)).post(handler).build(),
            new()
                .use_(declared(pass, cookie))
                .use_(step(&[Kind::ChecksOrigin]))
                .post(handler)
                .build(),
        ),
        (
            "unbounded-body",
            new().use_(step(&[Kind::ReadsBody])).get(handler).build(),
            new()
                .use_(step(&[Kind::LimitsBody]))
                .use_(step(&[Kind::ReadsBody]))
                .get(handler)
                .build(),
        ),
        (
            "unbounded-body",
            new()
                .use_(step(&[Kind::ReplacesBody]))
                .use_(step(&[Kind::LimitsBody]))
                .get(handler)
                .build(),
            new()
                .use_(step(&[Kind::LimitsBody]))
                .use_(step(&[Kind::ReplacesBody]))
                .get(handler)
                .build(),
        ),
        (
            "refused-preflight",
            new().guard(check).always(step(&[Kind::Cors])).get(handler).build(),
            new().always(step(&[Kind::Cors])).guard(check).get(handler).build(),
        ),
        (
            "refused-preflight",
            new().use_(step(&[Kind::Cors])).get(handler).build(),
            new().always(step(&[Kind::Cors])).get(handler).build(),
        ),
        (
            "penalty-of-another",
            new()
                .use_(step(&[Kind::Limit(Subject::Verified), Kind::Penalty(Subject::Address)]))
                .get(handler)
                .build(),
            new().use_(step(&[limit(), Kind::Penalty(Subject::Address)])).get(handler).build(),
        ),
        (
            "unlogged-refusal",
            new().guard(check).always(step(&[Kind::Log])).get(handler).build(),
            new().always(step(&[Kind::Log])).guard(check).get(handler).build(),
        ),
        (
            "unlogged-refusal",
            new().use_(step(&[Kind::Log])).get(handler).build(),
            new().always(step(&[Kind::Log])).get(handler).build(),
        ),
        (
            "limiter-twice",
            new().use_(limiter("a")).at("/a", |c| c.use_(limiter("a")).get(handler)).build(),
            new()
                .at("/b", |c| c.use_(limiter("a")).get(handler))
                .at("/a", |c| c.use_(limiter("a")).get(handler))
                .build(),
        ),
        (
            "limiter-twice",
            new()
                .at("/b", |c| c.use_(counts("a")).get(handler))
                .at("/a", |c| c.use_(counts("b")).get(handler))
                .build(),
            new()
                .at("/b", |c| c.use_(counts("a")).get(handler))
                .at("/a", |c| c.use_(counts("a")).get(handler))
                .build(),
        ),
        (
            "signature-of-changed-body",
            new()
                .use_(step(&[Kind::LimitsBody]))
                .use_(step(&[Kind::ReplacesBody]))
                .use_(step(&[Kind::VerifiesBody]))
                .post(handler)
                .build(),
            new()
                .use_(step(&[Kind::LimitsBody]))
                .use_(step(&[Kind::VerifiesBody]))
                .use_(step(&[Kind::ReplacesBody]))
                .post(handler)
                .build(),
        ),
        (
            "shared-secret",
            new().use_(secret(1)).use_(secret(1)).get(handler).build(),
            new().use_(secret(1)).use_(secret(2)).get(handler).build(),
        ),
        (
            "check-of-unmatched",
            new().always(step(&[AUTH])).get(handler).build(),
            new().use_(step(&[AUTH])).get(handler).build(),
        ),
        (
            "unprotected-errors",
            new().use_(step(&[Kind::HardensResponses])).get(handler).build(),
            new().always(step(&[Kind::HardensResponses])).get(handler).build(),
        ),
        (
            "unknown-rule",
            new().allow("open-wirte", "anyone").get(handler).build(),
            new().allow("open-write", "anyone").post(handler).build(),
        ),
        (
            "unknown-rule",
            new().allow("open-write", " ").get(handler).build(),
            new().get(handler).build(),
        ),
    ];
    let mut tested = Vec::new();
    for (rule, broken, mended) in cases {
        assert_eq!(names(&broken), [rule], "{}\n{broken}", broken.audit());
        mended.audit().assert_none();
        tested.push(rule);
    }
    for rule in Rule::ALL {
        assert!(tested.contains(&rule.name()), "{} has no case", rule.name());
    }
}

/// Where a rule could be wrong in either direction: a chain with its findings.
#[test]
fn a_finding_depends_on_what_the_other_steps_do() {
    let new = Chain::new;
    let always = |kind: Kind| new().always(step(&[kind]));
    let when = |kind: Kind| {
        declared(pass, move |to: &mut Declaration| {
            to.kind(kind).is_conditional();
        })
    };
    let kind_alone = || {
        declared(pass, |to: &mut Declaration| {
            to.kind(Kind::Authentication);
        })
    };
    let optional = || {
        declared(pass, |to: &mut Declaration| {
            to.kind(Kind::Authentication).credentials_are_optional();
        })
    };
    let unverified = || Kind::Limit(Subject::Unverified("x-key".to_owned()));
    let stores = |subject: Subject| step(&[Kind::StoresResponses(subject)]);
    let secret = |scheme: fn() -> Scheme| {
        declared(pass, move |to: &mut Declaration| {
            to.kind(AUTH).accepts(Credential::new(scheme()));
            to.uses(Resource::Secret(SecretId::of_digest(&[9; 32])));
        })
    };
    let header = || Scheme::Header("x-key".to_owned());
    let two_doors = |scheme: fn() -> Scheme| {
        new()
            .at("/a", |c| c.use_(secret(header)).get(handler))
            .at("/b", |c| c.use_(secret(scheme)).get(handler))
            .build()
    };
    for (name, api, expected) in [
        ("a kind is a check", new().use_(kind_alone()).post(handler).build(), vec![]),
        ("an optional one", new().use_(optional()).post(handler).build(), vec!["open-write"]),
        ("a conditional one", new().use_(when(AUTH)).post(handler).build(), vec!["open-write"]),
        (
            "a refusal by the kind",
            new().use_(step(&[AUTH])).always(step(&[Kind::Cors])).get(handler).build(),
            vec!["refused-preflight"],
        ),
        (
            "a log after a limit",
            new().always(step(&[limit()])).always(step(&[Kind::Log])).get(handler).build(),
            vec!["unlogged-refusal"],
        ),
        (
            "a second log after the first",
            always(Kind::Log).use_(step(&[AUTH])).use_(step(&[Kind::Log])).get(handler).build(),
            vec![],
        ),
        (
            "a second log after one that is too late",
            new()
                .use_(step(&[AUTH]))
                .always(step(&[Kind::Log]))
                .use_(step(&[Kind::Log]))
                .get(handler)
                .build(),
            vec!["unlogged-refusal", "unlogged-refusal"],
        ),
        (
            "a log that runs for some requests",
            new()
                .always(when(Kind::Log))
                .use_(step(&[AUTH]))
                .use_(step(&[Kind::Log]))
                .get(handler)
                .build(),
            vec!["unlogged-refusal"],
        ),
        (
            "other header fields for one path",
            always(Kind::HardensResponses)
                .at("/a", |c| c.use_(step(&[Kind::HardensResponses])).get(handler))
                .build(),
            vec![],
        ),
        (
            "CORS for one path after CORS for all",
            always(Kind::Cors).at("/a", |c| c.use_(step(&[Kind::Cors])).get(handler)).build(),
            vec![],
        ),
        (
            "a limit per client after the one by a header field",
            new().use_(step(&[unverified()])).use_(step(&[limit()])).get(handler).build(),
            vec![],
        ),
        (
            "a limit by a header field that an earlier step verifies",
            new()
                .use_(step(&[limit()]))
                .use_(secret(header))
                .use_(step(&[unverified()]))
                .get(handler)
                .build(),
            vec![],
        ),
        (
            "responses per principal, before the principal is known",
            new().use_(stores(Subject::Verified)).use_(step(&[AUTH])).get(handler).build(),
            vec!["shared-responses"],
        ),
        (
            "responses per principal that a guard provides",
            new().guard(check).use_(stores(Subject::Verified)).get(handler).build(),
            vec![],
        ),
        (
            "responses for everyone, after a session",
            new().use_(step(&[Kind::Session])).use_(stores(Subject::Everyone)).get(handler).build(),
            vec!["shared-responses"],
        ),
        (
            "a session",
            new().use_(step(&[Kind::Session])).guard(check).post(handler).build(),
            vec!["cookie-without-origin-check"],
        ),
        (
            "a session, and a check of the origin before it",
            new()
                .use_(step(&[Kind::ChecksOrigin]))
                .use_(step(&[Kind::Session]))
                .guard(check)
                .post(handler)
                .build(),
            vec![],
        ),
        (
            "a session that only reads",
            new().use_(step(&[Kind::Session])).get(handler).build(),
            vec![],
        ),
        (
            "extractors without a bound",
            new().provide(crate::extract::MaxBody::unlimited()).get(handler).build(),
            vec!["unbounded-body"],
        ),
        (
            "extractors without a bound of their own",
            new()
                .use_(step(&[Kind::LimitsBody]))
                .provide(crate::extract::MaxBody::unlimited())
                .get(handler)
                .build(),
            vec![],
        ),
        ("one secret, and one way to send it", two_doors(header), vec![]),
        ("one secret, and two ways to send it", two_doors(|| Scheme::Basic), vec!["shared-secret"]),
        (
            "a reason of white space",
            new().allow("open-write", " \u{a0}\t").post(handler).build(),
            vec!["open-write", "unknown-rule"],
        ),
        (
            "the methods that change nothing",
            new().get(handler).head(handler).options(handler).query(handler).build(),
            vec![],
        ),
    ] {
        assert_eq!(names(&api), expected, "{name}\n{}\n{api}", api.audit());
    }
}

#[test]
fn each_rule_is_allowed_at_its_place() {
    let open = Chain::new()
        .at("/a", |c| c.allow("open-write", "public").post(handler))
        .at("/b", |c| c.post(handler))
        .build();
    let audit = open.audit();
    assert_eq!(audit.list().len(), 1);
    assert_eq!(audit.list()[0].routes(), ["POST /b"]);
    let outer = Chain::new().allow("open-write", "a demo").at("/a", |c| c.post(handler)).build();
    outer.audit().assert_none();
    let other =
        Chain::new().allow("unbounded-body", "a demo").at("/a", |c| c.post(handler)).build();
    assert_eq!(names(&other), ["open-write"]);
}

#[test]
fn a_finding_has_its_place_its_routes_and_the_remedy() {
    let api = Chain::new()
        .use_(step(&[AUTH]))
        .use_(step(&[limit()]))
        .at("/a", |c| c.get(handler).post(handler))
        .at("/b", |c| c.get(handler))
        .build();
    let audit = api.audit();
    let [finding] = audit.list() else { panic!("{audit}") };
    assert!(finding.location().file().ends_with("tests.rs"));
    assert_eq!(finding.routes(), ["GET /a", "POST /a", "GET /b"]);
    let text = audit.to_string();
    for part in [
        "1 finding",
        "tests.rs:",
        "authentication-before-limit",
        "RateLimit",
        ".allow(\"",
        "GET /a",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_test_fails_with_the_findings() {
    let api = Chain::new().post(handler).build();
    let failed =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| api.audit().assert_none()));
    let text = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("open-write"), "{text}");
}

/// The built-in steps, with the settings that make the difference.
#[cfg(feature = "full")]
#[test]
fn the_built_in_steps_declare_what_the_rules_need() {
    use std::time::Duration;

    use http::HeaderName;

    use crate::middleware::rate_limit::{LimitKey, Quota};
    use crate::{Authenticate, BodyLimit, Jwt, RateLimit, SecurityHeaders};

    const SECRET: &str = "a-secret-of-at-least-32-bytes-for-all";
    let token = || Authenticate::token(SECRET).unwrap();
    let jwt = || Jwt::<serde_json::Value>::hs256(SECRET).unwrap();
    let per_client = || RateLimit::per_minute(60);
    let by = |key: LimitKey| RateLimit::per_minute(60).key(key);
    let header = |name| LimitKey::header(HeaderName::from_static(name));
    let once = per_client();
    let new = Chain::new;
    let cases = [
        (
            new().use_(token()).use_(per_client()).get(handler).build(),
            vec!["authentication-before-limit"],
        ),
        (new().use_(per_client()).use_(token()).get(handler).build(), vec![]),
        (
            new().use_(by(LimitKey::authorization())).use_(jwt()).get(handler).build(),
            vec!["unverified-limit"],
        ),
        (new().use_(by(header("x-api-key"))).get(handler).build(), vec!["unverified-limit"]),
        (new().use_(by(header("x-forwarded-for"))).get(handler).build(), vec!["forwarded-address"]),
        (new().use_(by(header("x-forwarded-for")).shadow()).get(handler).build(), vec![]),
        (
            new()
                .use_(per_client().penalty(Quota::per_minute(5), Duration::from_secs(60)))
                .get(handler)
                .build(),
            vec![],
        ),
        (new().use_(once.clone()).use_(once).get(handler).build(), vec!["limiter-twice"]),
        (new().use_(BodyLimit::unlimited()).get(handler).build(), vec!["unbounded-body"]),
        (new().use_(SecurityHeaders::new()).get(handler).build(), vec!["unprotected-errors"]),
        (
            new().use_(token()).at("/a", |c| c.use_(jwt()).get(handler)).build(),
            vec!["shared-secret"],
        ),
        (new().use_(token().optional()).post(handler).build(), vec!["open-write"]),
        (new().use_(token()).post(handler).build(), vec![]),
    ];
    for (api, expected) in cases {
        assert_eq!(names(&api), expected, "{}\n{api}", api.audit());
    }
}

/// The orders that were reported as security findings, with steps and layers as people write them: nothing is declared from outside.
#[cfg(feature = "full")]
#[test]
fn reported_orders_are_found_in_chains_of_real_steps() {
    use http::HeaderName;
    use tower_http::cors::CorsLayer;
    use tower_http::csrf::CsrfLayer;
    use tower_http::decompression::RequestDecompressionLayer;
    use tower_http::limit::RequestBodyLimitLayer;
    use tower_http::trace::TraceLayer;

    use crate::middleware::access_log::AccessLog;
    use crate::middleware::authenticate::ApiKeys;
    use crate::middleware::idempotency::Idempotency;
    use crate::middleware::rate_limit::LimitKey;
    use crate::middleware::signed::Signed;
    use crate::middleware::telemetry::Telemetry;
    use crate::{Authenticate, BodyLimit, Jwt, Principal, RateLimit, SecurityHeaders};

    const SECRET: &str = "a-secret-of-at-least-32-bytes-for-all";
    let token = || Authenticate::token(SECRET).unwrap();
    let jwt = || Jwt::<serde_json::Value>::hs256("another-secret-of-at-least-32-bytes").unwrap();
    let per_client = || RateLimit::per_minute(60);
    let by = |name| RateLimit::per_minute(60).key(LimitKey::header(HeaderName::from_static(name)));
    let signed = || Signed::standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let proxies = |network| {
        let header = crate::extract::ForwardedHeader::XForwardedFor;
        crate::extract::TrustedProxies::cidrs(header, [network]).unwrap()
    };
    let once = || Idempotency::per(|principal: &Principal| principal.name().to_owned());
    let new = Chain::new;
    for (rule, wrong, mended) in [
        (
            "authentication-before-limit",
            new().use_(jwt()).use_(per_client()).get(handler).build(),
            new().use_(per_client()).use_(jwt()).get(handler).build(),
        ),
        (
            "authentication-before-limit",
            new()
                .use_(Authenticate::api_keys(&ApiKeys::new()))
                .mount("/a", new().use_(per_client()).get(handler))
                .build(),
            new()
                .always(per_client())
                .use_(Authenticate::api_keys(&ApiKeys::new()))
                .mount("/a", new().use_(per_client()).get(handler))
                .build(),
        ),
        (
            "unverified-limit",
            new().use_(by("authorization")).use_(jwt()).get(handler).build(),
            new().use_(per_client()).use_(jwt()).use_(by("authorization")).get(handler).build(),
        ),
        (
            "forwarded-address",
            new().use_(by("x-real-ip")).get(handler).build(),
            new().use_(per_client()).get(handler).build(),
        ),
        (
            "forwarded-address",
            new().use_(per_client().trusted_proxies(proxies("0.0.0.0/0"))).get(handler).build(),
            new().use_(per_client().trusted_proxies(proxies("10.0.0.0/8"))).get(handler).build(),
        ),
        (
            "forwarded-address",
            new().provide(proxies("::/0")).use_(per_client()).get(handler).build(),
            new().provide(proxies("fd00::/8")).use_(per_client()).get(handler).build(),
        ),
        (
            "shared-responses",
            new().use_(Idempotency::for_anyone()).use_(token()).post(handler).build(),
            new().use_(token()).use_(once()).post(handler).build(),
        ),
        (
            "open-write",
            new().at("/orders", |c| c.post(handler)).use_(jwt()).get(handler).build(),
            new().use_(jwt()).at("/orders", |c| c.post(handler)).get(handler).build(),
        ),
        (
            "unbounded-body",
            new()
                .use_(RequestDecompressionLayer::new())
                .use_(BodyLimit::bytes(1 << 20))
                .use_(token())
                .post(handler)
                .build(),
            new()
                .use_(RequestBodyLimitLayer::new(1 << 20))
                .use_(RequestDecompressionLayer::new())
                .use_(token())
                .post(handler)
                .build(),
        ),
        (
            "refused-preflight",
            new().use_(jwt()).always(CorsLayer::permissive()).get(handler).build(),
            new().always(CorsLayer::permissive()).use_(jwt()).get(handler).build(),
        ),
        (
            "refused-preflight",
            new().use_(CorsLayer::permissive()).get(handler).build(),
            new().always(CorsLayer::permissive()).use_(CsrfLayer::new()).get(handler).build(),
        ),
        (
            "unlogged-refusal",
            new().use_(token()).use_(TraceLayer::new_for_http()).get(handler).build(),
            new().always(TraceLayer::new_for_http()).use_(token()).get(handler).build(),
        ),
        (
            "unlogged-refusal",
            new().use_(per_client()).always(Telemetry::new()).get(handler).build(),
            new().always(Telemetry::new()).use_(per_client()).get(handler).build(),
        ),
        (
            "unlogged-refusal",
            new().use_(AccessLog::combined()).get(handler).build(),
            new().always(AccessLog::combined()).get(handler).build(),
        ),
        (
            "signature-of-changed-body",
            new()
                .use_(BodyLimit::bytes(1 << 20))
                .use_(RequestDecompressionLayer::new())
                .use_(signed())
                .post(handler)
                .build(),
            new()
                .use_(BodyLimit::bytes(1 << 20))
                .use_(signed())
                .use_(RequestDecompressionLayer::new())
                .post(handler)
                .build(),
        ),
        (
            "shared-secret",
            new()
                .mount("/a", new().use_(token()).get(handler))
                .mount("/b", new().use_(Jwt::<()>::hs256(SECRET).unwrap()).get(handler))
                .build(),
            new()
                .mount("/a", new().use_(jwt()).get(handler))
                .mount("/b", new().use_(jwt()).get(handler))
                .build(),
        ),
        (
            "check-of-unmatched",
            new().always(token()).get(handler).build(),
            new().use_(token()).get(handler).build(),
        ),
        (
            "unprotected-errors",
            new().use_(SecurityHeaders::new()).get(handler).build(),
            new().always(SecurityHeaders::new()).get(handler).build(),
        ),
    ] {
        assert_eq!(names(&wrong), [rule], "{}\n{wrong}", wrong.audit());
        mended.audit().assert_none();
    }
}

#[test]
fn a_declaration_shows_no_secret() {
    let id = SecretId::of_digest(&[7; 32]);
    assert_eq!(format!("{id:?}"), "SecretId(..)");
}
