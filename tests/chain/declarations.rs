//! What steps declare, as a built chain returns it.

use http::StatusCode;
use tower_chain::declare::{Answer, Credential, Declaration, Field, Kind, Scheme, Subject};
use tower_chain::step::declared;
use tower_chain::{Chain, Endpoint, Middleware, MiddlewareExt, Next, Response, from_fn};

/// A middleware that declares itself.
struct Limit;

impl Middleware for Limit {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        next.run().await
    }

    fn declare(&self, to: &mut Declaration) {
        to.kind(Kind::Limit(Subject::Address))
            .answers(
                Answer::problem(StatusCode::TOO_MANY_REQUESTS, "Too many").header("Retry-After"),
            )
            .adds(Field::new("ratelimit", "What is left").optional());
    }
}

async fn log(next: Next<'_>) -> Response {
    next.run().await
}

/// The steps in front of each handler, in the words of `show`.
fn steps(
    api: &tower_chain::ChainService,
    show: fn(&tower_chain::declare::DeclaredStep) -> String,
) -> Vec<String> {
    api.routes()
        .iter()
        .flat_map(|route| {
            route.handlers().iter().map(move |handler| {
                let steps: Vec<String> =
                    handler.middleware().iter().map(|step| show(step)).collect();
                format!("{} {}", route.pattern().unwrap_or("any"), steps.join(", "))
            })
        })
        .collect()
}

#[test]
fn every_form_of_a_step_declares_itself() {
    let limits = |kinds: &[Kind]| kinds.contains(&Kind::Limit(Subject::Address));
    let built = [
        ("type", Chain::new().use_(Limit).get(async || "").build(), false),
        ("Some", Chain::new().use_(Some(Limit)).get(async || "").build(), false),
        ("boxed", Chain::new().use_(Limit.boxed()).get(async || "").build(), false),
        (
            "list",
            Chain::new().use_(vec![from_fn(log).boxed(), Limit.boxed()]).get(async || "").build(),
            false,
        ),
        ("when", Chain::new().use_(Limit.when(|_| true)).get(async || "").build(), true),
        ("unless", Chain::new().use_(Limit.unless(|_| true)).get(async || "").build(), true),
        ("always", Chain::new().always(Limit).get(async || "").build(), false),
        ("use_at", Chain::new().use_at("/", Limit).get(async || "").build(), false),
        ("outer", Chain::new().use_(Limit).at("/a", |c| c.get(async || "")).build(), false),
        (
            "mount",
            Chain::new().use_(Limit).mount("/a", Chain::new().get(async || "")).build(),
            false,
        ),
        ("group", Chain::new().use_(Limit).group(|c| c.get(async || "")).build(), false),
        ("service", Chain::new().use_(Limit).service("/a", Chain::new().build()).build(), false),
    ];
    for (form, api, conditional) in built {
        for route in api.routes() {
            let step = &route.handlers()[0].middleware()[0];
            assert!(limits(step.declaration().kinds()), "{form}");
            assert_eq!(step.declaration().conditional(), conditional, "{form}");
            let answer = &step.declaration().answered()[0];
            assert_eq!(answer.status(), 429, "{form}");
            assert_eq!(answer.headers()[0].name(), "retry-after", "{form}");
        }
    }
    let none = Chain::new().use_(None::<Limit>).get(async || "").build();
    assert!(none.routes()[0].handlers()[0].middleware()[0].declaration().kinds().is_empty());
}

#[test]
fn a_declaration_from_outside_is_added_to_the_steps_own() {
    let bearer = |to: &mut Declaration| {
        to.accepts(Credential::new(Scheme::Bearer(None)));
    };
    let cors = |to: &mut Declaration| {
        to.kind(Kind::Cors);
    };
    let api = Chain::new()
        .use_(declared(log, bearer))
        .use_(declared(Limit, bearer))
        .always(declared(tower_http::cors::CorsLayer::new(), cors))
        .use_(declared(declared(log, bearer), cors))
        .get(async || "")
        .build();
    let found = steps(&api, |step| {
        let declaration = step.declaration();
        format!("{}: {:?} {}", step.name(), declaration.kinds(), declaration.credentials().len())
    });
    assert_eq!(
        found,
        ["any log: [] 1, Limit: [Limit(Address)] 1, CorsLayer: [Cors] 0, log: [Cors] 1"]
    );
}

#[test]
fn a_step_is_listed_with_its_scope_prefix_and_place() {
    let api = Chain::new()
        .always(log)
        .use_at("/admin", Limit)
        .at("/admin/{id}", |c| c.guard(async || Ok::<_, http::StatusCode>(())).get(async || ""))
        .at("/public", |c| c.get(async || ""))
        .build();
    let found = steps(&api, |step| {
        assert!(step.location().file().ends_with("declarations.rs"));
        format!("{} {:?} {:?}", step.verb(), step.scope(), step.prefix())
    });
    assert_eq!(
        found,
        [
            r#"/admin/{id} always "" None, use_at "" Some("/admin"), guard "/admin/{id}" None"#,
            r#"/public always "" None"#,
        ]
    );
}

#[test]
fn a_finding_is_allowed_from_its_place_to_the_end_of_the_scope() {
    let api = Chain::new()
        .at("/a", |c| c.get(async || "").allow("rule", "why").post(async || ""))
        .at("/b", |c| c.get(async || ""))
        .allow("other", "because")
        .at("/c", |c| c.get(async || ""))
        .build();
    let found: Vec<String> = api
        .routes()
        .iter()
        .flat_map(|route| route.handlers())
        .map(|handler| format!("{:?}", handler.step().allowed()))
        .collect();
    assert_eq!(found, ["[]", r#"[("rule", "why")]"#, "[]", r#"[("other", "because")]"#]);
}
