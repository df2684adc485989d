use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;

use super::*;
use crate::middleware::tables::rows;
use crate::{Body, Chain, Endpoint, Next};

/// A caller with the grants that its fields list.
#[derive(Clone, Default)]
struct Caller {
    scope: &'static str,
    roles: &'static [&'static str],
    permissions: &'static [&'static str],
    acr: Option<&'static str>,
    /// In seconds.
    signed_in: Option<u64>,
}

impl Grants for Caller {
    fn has_scope(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|own| own == scope)
    }

    fn has_role(&self, role: &str) -> bool {
        self.roles.contains(&role)
    }

    fn has_permission(&self, permission: &str) -> bool {
        self.permissions.contains(&permission)
    }

    fn acr(&self) -> Option<&str> {
        self.acr
    }

    fn authenticated_at(&self) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(self.signed_in?))
    }
}

type Rule = Require<Caller>;

fn request(uri: &str) -> Request {
    http::Request::get(uri).body(Body::empty()).unwrap()
}

/// Status and challenges, as one line; the steps behind must run for a 200 alone.
async fn answer<T>(caller: T, require: Require<T>, uri: &str) -> String
where
    T: Clone + Send + Sync + 'static,
{
    let served = Arc::new(AtomicUsize::new(0));
    let spy = served.clone();
    let service = Chain::new()
        .provide(caller)
        .use_(require)
        .get(move || {
            spy.fetch_add(1, Ordering::Relaxed);
            async {}
        })
        .build();
    let response = service.handle(request(uri)).await;
    let status = response.status();
    assert_eq!(served.load(Ordering::Relaxed), usize::from(status == 200));
    if status != 200 {
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let challenges: Vec<_> = challenges.map(|value| value.to_str().unwrap()).collect();
    format!("{} {}", status.as_u16(), challenges.join(" | ")).trim_end().to_owned()
}

#[tokio::test]
async fn what_is_granted_passes_and_what_is_not_is_403() -> Result<(), RequireError> {
    const PLAIN: &str = r#"403 Bearer realm="api", error="insufficient_scope""#;
    let reader = Caller {
        scope: "read other",
        roles: &["staff"],
        permissions: &["edit"],
        ..Caller::default()
    };
    let scoped = |scopes: &str| format!(r#"{PLAIN}, scope="{scopes}""#);
    let no = |_: &Caller, _: &Request| false;
    let yes = |_: &Caller, _: &Request| true;
    let table: Vec<(Rule, String)> = vec![
        (Rule::scope("read")?, "200".into()),
        (Rule::scope("other")?, "200".into()),
        (Rule::scope("write")?, scoped("write")),
        (Rule::scope("rea")?, scoped("rea")),
        (Rule::scope("Read")?, scoped("Read")),
        (Rule::scopes(["read", "other"])?, "200".into()),
        (Rule::scopes(["read", "write"])?, scoped("read write")),
        (Rule::scopes(["write", "read", "write"])?, scoped("write read")),
        (Rule::any_scope(["write", "read"])?, "200".into()),
        (Rule::any_scope(["b", "a"])?, scoped("b a")),
        (Rule::role("staff")?, "200".into()),
        (Rule::role("admin")?, PLAIN.into()),
        (Rule::role("edit")?, PLAIN.into()),
        (Rule::permission("edit")?, "200".into()),
        (Rule::permission("delete")?, PLAIN.into()),
        (Rule::permission("staff")?, PLAIN.into()),
        (Rule::policy(yes), "200".into()),
        (Rule::policy(no), PLAIN.into()),
        (Rule::role("staff")?.and(Rule::permission("edit")?), "200".into()),
        (Rule::role("staff")?.and(Rule::permission("delete")?), PLAIN.into()),
        (Rule::role("admin")?.and(Rule::permission("edit")?), PLAIN.into()),
        (Rule::role("admin")?.or(Rule::permission("edit")?), "200".into()),
        (Rule::role("admin")?.or(Rule::scope("write")?), scoped("write")),
        (Rule::all([Rule::scope("read")?, Rule::role("staff")?, Rule::policy(yes)])?, "200".into()),
        (Rule::all([Rule::scope("read")?, Rule::role("staff")?, Rule::policy(no)])?, scoped("read")),
        (Rule::any([Rule::scope("write")?, Rule::role("admin")?, Rule::policy(yes)])?, "200".into()),
        (Rule::any([Rule::scope("write")?, Rule::scopes(["a", "b"])?])?, scoped("write a b")),
        (Rule::any([Rule::policy(no)])?.and(Rule::scope("read")?), scoped("read")),
        (
            Rule::role("admin")?.realm(r#"a "b" \\ c"#)?,
            r#"403 Bearer realm="a \"b\" \\\\ c", error="insufficient_scope""#.into(),
        ),
        (
            Rule::scope("a")?.scheme("DPoP")?.realm("x")?,
            r#"403 DPoP realm="x", error="insufficient_scope", scope="a""#.into(),
        ),
        (Rule::scope("a")?.scheme("ApiKey")?, "403".into()),
        (
            Rule::scope("a")?.resource_metadata("https://a.example/m")?,
            r#"403 Bearer realm="api", resource_metadata="https://a.example/m", error="insufficient_scope", scope="a""#.into(),
        ),
    ];
    for (require, expected) in table {
        let what = format!("{require:?}");
        assert_eq!(answer(reader.clone(), require, "/").await, expected, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn who_is_not_authenticated_gets_a_401() -> Result<(), RequireError> {
    let member = Some(Caller { scope: "read", ..Caller::default() });
    let rule = || Require::<Option<Caller>>::scope("read");
    assert_eq!(answer(member.clone(), rule()?, "/").await, "200");
    let anonymous = answer(None, rule()?, "/").await;
    assert_eq!(anonymous, r#"401 Bearer realm="api", scope="read""#);
    let basic = rule()?.scheme("Basic")?.realm("x")?;
    assert_eq!(answer(None, basic, "/").await, r#"401 Basic realm="x""#);
    let mixed = Require::policy(|_: &Option<Caller>, _: &Request| false);
    let mixed = answer(None, mixed.and(rule()?), "/").await;
    assert_eq!(mixed, r#"401 Bearer realm="api", scope="read""#);
    assert!(answer(member, Require::role("admin").unwrap(), "/").await.starts_with("403"));
    Ok(())
}

/// RFC 9470, 3.
#[tokio::test]
async fn who_must_sign_in_again_gets_a_401_that_says_how() -> Result<(), RequireError> {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let caller = |acr, signed_in| Caller { scope: "read", acr, signed_in, ..Caller::default() };
    let mfa = || Rule::acr_values(["mfa", "hardware"]);
    let recent = || Rule::max_age(Duration::from_millis(300_999)).unwrap();
    let error = |rest: &str| {
        format!(
            r#"401 Bearer realm="api", error="insufficient_user_authentication", error_description="{rest}"#
        )
    };
    let level =
        error(r#"A different authentication level is required", acr_values="mfa hardware""#);
    let again = error(r#"More recent authentication is required", max_age="300""#);
    let both = error(
        r#"A different or more recent authentication is required", acr_values="mfa hardware", max_age="300""#,
    );
    let scoped = format!(r#"{level}, scope="read""#);
    let lacking = r#"403 Bearer realm="api", error="insufficient_scope", scope="write""#.to_owned();
    let yes = "200".to_owned();
    let table: Vec<(Rule, Option<&'static str>, Option<u64>, String)> = vec![
        (mfa()?, Some("mfa"), None, yes.clone()),
        (mfa()?, Some("hardware"), None, yes.clone()),
        (mfa()?, Some("MFA"), None, level.clone()),
        (mfa()?, Some("mfa hardware"), None, level.clone()),
        (mfa()?, Some(""), None, level.clone()),
        (mfa()?, None, None, level.clone()),
        (recent(), None, Some(1000), yes.clone()),
        (recent(), None, Some(700), yes.clone()),
        (recent(), None, Some(699), again.clone()),
        (recent(), None, Some(0), again.clone()),
        (recent(), None, Some(1001), yes.clone()),
        (recent(), None, Some(1060), yes.clone()),
        (recent(), None, Some(1061), again.clone()),
        (recent(), None, Some(1_000_000), again.clone()),
        (Rule::max_age(Duration::MAX)?, None, Some(0), yes.clone()),
        (recent(), None, None, again.clone()),
        (Rule::max_age(Duration::from_secs(1))?, None, Some(999), yes.clone()),
        (
            Rule::max_age(Duration::from_secs(1))?,
            None,
            Some(998),
            error(r#"More recent authentication is required", max_age="1""#),
        ),
        (recent().and(Rule::max_age(Duration::from_secs(900))?), None, Some(600), again.clone()),
        (recent().or(Rule::max_age(Duration::from_secs(900))?), None, Some(600), yes.clone()),
        (mfa()?.and(recent()), Some("mfa"), Some(900), yes.clone()),
        (mfa()?.and(recent()), Some("mfa"), Some(9), both.clone()),
        (mfa()?.and(recent()), Some("pwd"), Some(900), both),
        (Rule::scope("read")?.and(mfa()?), None, None, scoped),
        (Rule::scope("write")?.and(mfa()?), None, None, lacking),
        // One who lacks the role may still come in by signing in.
        (Rule::role("admin")?.or(mfa()?), None, None, level.clone()),
        (mfa()?.or(Rule::role("admin")?), None, None, level),
        (mfa()?.scheme("ApiKey")?.realm("x")?, None, None, r#"401 ApiKey realm="x""#.to_owned()),
        (
            mfa()?.scheme("DPoP")?.resource_metadata("https://a.example/m")?,
            None,
            None,
            r#"401 DPoP realm="api", resource_metadata="https://a.example/m", error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="mfa hardware""#.to_owned(),
        ),
    ];
    for (require, acr, signed_in, expected) in table {
        let what = format!("{require:?} {acr:?} {signed_in:?}");
        let require = require.clock(move || at(1000));
        assert_eq!(answer(caller(acr, signed_in), require, "/").await, expected, "{what}");
    }
    // No caller is no caller, whatever is required.
    let nobody = Require::<Option<Caller>>::max_age(Duration::from_secs(1))?;
    assert_eq!(answer(None, nobody, "/").await, r#"401 Bearer realm="api""#);
    Ok(())
}

#[tokio::test]
async fn a_refusal_carries_its_reason() -> Result<(), RequireError> {
    let table: Vec<(Require<Option<Caller>>, Option<Caller>, Option<(RequireRefusal, &str)>)> = vec![
        (Require::role("a")?, None, Some((RequireRefusal::Missing, "missing"))),
        (
            Require::role("a")?,
            Some(Caller::default()),
            Some((RequireRefusal::Insufficient, "insufficient_scope")),
        ),
        (
            Require::acr_values(["2"])?,
            Some(Caller::default()),
            Some((RequireRefusal::SignIn, "insufficient_user_authentication")),
        ),
        (
            Require::policy(|_: &Option<Caller>, _: &Request| {
                Err(Error::new(StatusCode::NOT_FOUND, ""))
            }),
            None,
            None,
        ),
    ];
    for (require, caller, expected) in table {
        let service = Chain::new().provide(caller).use_(require).get(async || {}).build();
        let response = service.handle(request("/")).await;
        let refusal = Error::of(&response).and_then(Error::source);
        let refusal = refusal.and_then(|source| source.downcast_ref::<RequireRefusal>());
        assert_eq!(refusal.map(|refusal| (*refusal, refusal.code())), expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_sees_caller_and_request_of_any_type() {
    #[derive(Clone)]
    struct User(&'static str);
    let own = || Require::policy(|user: &User, req: &Request| req.uri().path() == user.0);
    assert_eq!(answer(User("/ada"), own(), "/ada").await, "200");
    assert!(answer(User("/ada"), own(), "/bob").await.starts_with("403"));
}

/// Lets everyone pass, as an optional authentication does.
struct Visitor(Option<&'static str>);

#[derive(Clone)]
struct Maybe(Option<&'static str>);

impl Middleware for Visitor {
    type Provides = (Maybe,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (Maybe,)>) -> Response {
        if self.0.is_none() {
            next.extensions_mut().insert(Anonymous::<Maybe>::new());
        }
        next.run_with(Maybe(self.0)).await
    }
}

/// The type of the caller needs no `Grants` for that.
#[tokio::test]
async fn a_policy_that_refuses_nobody_asks_for_credentials() {
    let ann = || Require::policy(|Maybe(name): &Maybe, _: &Request| *name == Some("ann"));
    let all = || Require::policy(|_: &Maybe, _: &Request| true);
    let hidden =
        || Require::policy(|_: &Maybe, _: &Request| Err(Error::new(StatusCode::NOT_FOUND, "none")));
    let missing = r#"401 Bearer realm="api""#;
    let forbidden = r#"403 Bearer realm="api", error="insufficient_scope""#;
    for (caller, require, expected) in [
        (Some("ann"), ann(), "200"),
        (Some("bob"), ann(), forbidden),
        (None, ann(), missing),
        (None, ann().and(all()), missing),
        (None, ann().or(all()), "200"),
        (None, all(), "200"),
        (None, hidden(), "404"),
        (Some("bob"), hidden(), "404"),
        (None, ann().realm("x").unwrap(), r#"401 Bearer realm="x""#),
    ] {
        let what = format!("{caller:?} {require:?}");
        let service = Chain::new().use_(Visitor(caller)).use_(require).get(async || {}).build();
        let response = service.handle(request("/")).await;
        let challenges = response.headers().get_all("www-authenticate").iter();
        let challenge = challenges.map(|value| format!(" {}", value.to_str().unwrap()));
        let answer = format!("{}{}", response.status().as_u16(), challenge.collect::<String>());
        assert_eq!(answer, expected, "{what}");
    }
}

#[tokio::test]
async fn a_policy_may_answer_in_its_own_way() -> Result<(), RequireError> {
    let hidden = || {
        Rule::policy(|_: &Caller, _: &Request| {
            Err(Error::new(StatusCode::NOT_FOUND, "There is no such page"))
        })
    };
    let fine = Rule::policy(|_: &Caller, _: &Request| Ok::<(), Error>(()));
    assert_eq!(answer(Caller::default(), hidden(), "/").await, "404");
    assert_eq!(answer(Caller::default(), fine, "/").await, "200");
    let first = Rule::any([Rule::role("admin")?, hidden()])?;
    assert_eq!(answer(Caller::default(), first, "/").await, "404");
    let before = Rule::all([Rule::role("admin")?, hidden()])?;
    assert!(answer(Caller::default(), before, "/").await.starts_with("403"));
    Ok(())
}

#[tokio::test]
async fn a_refusal_tells_nothing_of_what_was_granted() {
    let caller = Caller { scope: "secret-scope", roles: &["secret-role"], ..Caller::default() };
    let service =
        Chain::new().provide(caller).use_(Rule::role("admin").unwrap()).get(async || {}).build();
    let response = service.handle(request("/")).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(
        body,
        r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"The caller was not granted what this requires"}"#
    );
    assert!(!format!("{parts:?}").contains("secret"));
}

#[tokio::test]
async fn as_a_layer_it_looks_into_the_extensions() {
    use tower::{Layer, ServiceExt};
    let served = Arc::new(AtomicUsize::new(0));
    let spy = served.clone();
    let inner = tower::service_fn(move |_: Request| {
        spy.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) }
    });
    let service = Rule::role("staff").unwrap().into_layer().layer(inner);
    let staff = Caller { roles: &["staff"], ..Caller::default() };
    for (caller, status) in [(Some(staff), 200), (Some(Caller::default()), 403), (None, 500)] {
        let mut req = request("/any");
        caller.map(|caller| req.extensions_mut().insert(caller));
        assert_eq!(service.clone().oneshot(req).await.unwrap().status(), status);
    }
    assert_eq!(served.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn it_guards_a_prefix_alone() {
    let service = Chain::new()
        .provide(Caller::default())
        .use_at("/admin", Rule::role("admin").unwrap())
        .at("/admin/users", |c| c.get(async || {}))
        .at("/users", |c| c.get(async || {}))
        .build();
    for (uri, status) in [("/admin/users", 403), ("/users", 200), ("/admin", 404)] {
        assert_eq!(service.handle(request(uri)).await.status(), status, "{uri}");
    }
}

#[test]
fn wrong_configuration_is_refused_and_says_what_to_change() {
    for scope in ["", "a b", "a\"b", "a\\b", "é", "a\nb", "a\u{7f}"] {
        let error = Rule::scope(scope).map(drop).unwrap_err();
        assert_eq!(error, RequireError::Scope { scope: scope.to_owned() });
        assert!(error.to_string().contains("one scope per call"));
        assert_eq!(Rule::scopes(["good", scope]).map(drop), Err(error));
    }
    for acr in ["", "a b", "a\"b", "a\\b", "é", "a\nb"] {
        let error = Rule::acr_values(["good", acr]).map(drop).unwrap_err();
        assert_eq!(error, RequireError::Acr { acr: acr.to_owned() });
        assert!(error.to_string().contains("as the issuer writes it"));
    }
    for empty in [
        Rule::all([]),
        Rule::any([]),
        Rule::scopes::<&str>([]),
        Rule::any_scope::<&str>([]),
        Rule::acr_values::<&str>([]),
    ] {
        let error = empty.map(drop).unwrap_err();
        assert_eq!(error, RequireError::Empty);
        assert!(error.to_string().contains("name at least one thing"));
    }
    for realm in ["a\r\nb", "a\nb", "é"] {
        let error = Rule::role("a").unwrap().realm(realm).map(drop).unwrap_err();
        assert!(error.to_string().contains("take out line breaks"), "{error}");
    }
    assert!(Rule::role("a").unwrap().scheme("Be arer").is_err());
    assert!(Rule::role("a").unwrap().resource_metadata("https://a\n").is_err());
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Require<Caller>>();
    crosses::<Required<Caller>>();
    crosses::<RequireError>();
    crosses::<RequireRefusal>();
}

/// A rule as the table writes it.
fn rule(text: &str) -> Require<Option<Caller>> {
    if let Some((kind, inner)) = text.split_once('(') {
        let inner = inner.strip_suffix(')').unwrap();
        let (mut depth, mut parts) = (0, vec![String::new()]);
        for c in inner.chars() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            match c {
                ',' if depth == 0 => parts.push(String::new()),
                c => parts.last_mut().unwrap().push(c),
            }
        }
        let parts = parts.iter().map(|part| rule(part));
        return if kind == "all" { Require::all(parts) } else { Require::any(parts) }.unwrap();
    }
    match text.split_once(':').unwrap() {
        ("s", name) => Require::scope(name).unwrap(),
        ("r", name) => Require::role(name).unwrap(),
        ("p", name) => Require::permission(name).unwrap(),
        ("acr", names) => Require::acr_values(names.split('|')).unwrap(),
        ("age", seconds) => {
            Require::max_age(Duration::from_secs(seconds.parse().unwrap())).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_rule_is_decided_as_the_table_says() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    for row in rows::<7>(include_str!("tables/rules.tsv")) {
        let [text, scopes, role, permission, acr, age, expected] = &row;
        let list = |name: &str| if name == "a" { &["a"][..] } else { &[] };
        let scope = match scopes.as_str() {
            "ab" => "a b",
            "a" => "a",
            "b" => "b",
            _ => "",
        };
        let acr = ["1", "2"].into_iter().find(|known| *known == acr.as_str());
        let signed_in = age.parse::<u64>().ok().map(|age| 1000 - age);
        let (roles, permissions) = (list(role), list(permission));
        let caller = Caller { scope, roles, permissions, acr, signed_in };
        let caller = (scopes != "nobody").then_some(caller);
        let require = rule(text).clock(move || now);
        assert_eq!(answer(caller, require, "/").await, *expected, "{row:?}");
    }
}
