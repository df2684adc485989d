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

#[test]
fn a_declaration_shows_no_secret() {
    let id = SecretId::of_digest(&[7; 32]);
    assert_eq!(format!("{id:?}"), "SecretId(..)");
}
