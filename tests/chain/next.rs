//! How a step uses `Next`: the request and the rest of the chain.

use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method};
use tower_chain::extract::PeerAddr;
use tower_chain::extract::read_body;
use tower_chain::{
    Body, BoxMiddleware, Chain, ChainService, Endpoint, Error, IntoResponse, MatchedPath,
    Middleware, MiddlewareExt, Next, NextWith, Path, Provided, Request, Response, StatusCode,
    from_closure, from_fn, from_fn_with,
};

use super::support::{Trace, answer, ask, header, now, request, status, text};

// A request that replaces another.

/// The values that a handler takes: one from `provide`, and one from a guard.
#[derive(Clone)]
struct Database(&'static str);

#[derive(Clone)]
struct User(&'static str);

/// An extension of a request that replaces another.
#[derive(Clone)]
struct Own(u8);

/// The value that a step provides which also replaces the request.
#[derive(Clone)]
struct Extra(u8);

/// A way to replace the request that a `Next` holds.
#[derive(Clone, Copy, Debug)]
enum How {
    Assign,
    AssignWithExtensions,
    AssignTwice,
    BorrowAndAssign,
    BorrowTwice,
    Take,
    TakeAndPutBack,
    TakeTwiceAndPutBack,
    TakeApart,
    TakeApartAndClear,
    TakeAndRebuild,
    Replace,
    Swap,
    SwapTwice,
    ThroughFunction,
}

const ALL: [How; 15] = [
    How::Assign,
    How::AssignWithExtensions,
    How::AssignTwice,
    How::BorrowAndAssign,
    How::BorrowTwice,
    How::Take,
    How::TakeAndPutBack,
    How::TakeTwiceAndPutBack,
    How::TakeApart,
    How::TakeApartAndClear,
    How::TakeAndRebuild,
    How::Replace,
    How::Swap,
    How::SwapTwice,
    How::ThroughFunction,
];

fn own() -> Request {
    http::Request::builder().uri("/elsewhere").extension(Own(7)).body(Body::empty()).unwrap()
}

fn replace<N: Endpoint, T>(next: &mut Next<'_, N, T>, how: How) {
    fn overwrite(req: &mut Request) {
        *req = own();
    }
    match how {
        How::Assign => **next = Request::default(),
        How::AssignWithExtensions => **next = own(),
        How::AssignTwice => {
            **next = own();
            **next = Request::default();
        }
        How::BorrowAndAssign => {
            let _: &mut Request = next;
            **next = own();
        }
        How::BorrowTwice => {
            let _: &mut Request = next;
            let _: &mut Request = next;
        }
        How::Take => drop(mem::take(&mut **next)),
        How::TakeAndPutBack => {
            let mut req = mem::take(&mut **next);
            req.headers_mut().insert("x-seen", HeaderValue::from_static("1"));
            **next = req;
        }
        How::TakeTwiceAndPutBack => {
            let first = mem::take(&mut **next);
            let second = mem::replace(&mut **next, first);
            drop(second);
        }
        How::TakeApart => {
            let (parts, body) = mem::take(&mut **next).into_parts();
            **next = Request::from_parts(parts, body);
        }
        How::TakeApartAndClear => {
            let (mut parts, body) = mem::take(&mut **next).into_parts();
            parts.extensions.clear();
            **next = Request::from_parts(parts, body);
        }
        How::TakeAndRebuild => {
            let (parts, body) = mem::take(&mut **next).into_parts();
            let rebuilt = http::Request::builder().method(parts.method).uri(parts.uri);
            **next = rebuilt.extension(Own(8)).body(body).unwrap();
        }
        How::Replace => drop(mem::replace(&mut **next, own())),
        How::Swap => {
            let mut own = own();
            mem::swap(&mut **next, &mut own);
        }
        How::SwapTwice => {
            let mut other = own();
            mem::swap(&mut **next, &mut other);
            mem::swap(&mut **next, &mut other);
        }
        How::ThroughFunction => overwrite(next),
    }
}

/// As a type.
struct Type(How);

impl Middleware for Type {
    type Provides = ();

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
        replace(&mut next, self.0);
        next.run().await
    }
}

/// As a type that returns the future of the rest.
struct Direct(How);

impl Middleware for Direct {
    type Provides = ();

    fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> impl Future<Output = Response> + Send {
        replace(&mut next, self.0);
        next.run()
    }
}

/// As a type that provides a value.
struct Provides(How);

impl Middleware for Provides {
    type Provides = (Extra,);

    async fn call<N: Endpoint>(&self, mut next: Next<'_, N, (Extra,)>) -> Response {
        replace(&mut next, self.0);
        next.run_with(Extra(9)).await
    }
}

/// As a function.
async fn function(how: Provided<How>, mut next: Next<'_>) -> Response {
    replace(&mut next, how.0);
    next.run().await
}

/// As a function that provides a value.
async fn provides(how: Provided<How>, mut next: NextWith<'_, (Extra,)>) -> Response {
    replace(&mut next, how.0);
    next.run_with(Extra(9)).await
}

/// As a closure.
fn closure(how: How) -> impl Middleware<Provides = ()> {
    from_closure(move |mut next| {
        Box::pin(async move {
            replace(&mut next, how);
            next.run().await
        })
    })
}

async fn user() -> Result<User, Error> {
    Ok(User("ada"))
}

async fn show(
    Provided(Database(db)): Provided<Database>,
    Provided(User(user)): Provided<User>,
    Path(id): Path<u32>,
    matched: MatchedPath,
    req: Request,
) -> String {
    let peer = req.extensions().get::<PeerAddr>().map(|peer| peer.0.ip().to_string());
    format!("{db} {user} {id} {} {}", matched.as_str(), peer.unwrap_or_default())
}

async fn show_extra(Provided(Extra(extra)): Provided<Extra>, user: Provided<User>) -> String {
    format!("{extra} {}", user.0.0)
}

/// Chains whose step replaces the request.
fn chains(how: How) -> Vec<(&'static str, ChainService)> {
    let chain = || Chain::new().provide(how).provide(Database("db")).guard(user);
    macro_rules! with {
        ($step:expr) => {
            chain().use_($step).at("/users/{id}", |c| c.get(show)).build()
        };
    }
    let list = |list: Vec<BoxMiddleware>| with!(list);
    let layer = Chain::new().use_(Type(how)).into_layer();
    let inner = Chain::expecting::<(Database, User)>().use_(Type(how)).at("/{id}", |c| c.get(show));
    vec![
        ("type", with!(Type(how))),
        ("direct", with!(Direct(how))),
        ("function", with!(function)),
        ("closure", with!(closure(how))),
        ("when", with!(Type(how).when(|_| true))),
        ("closure when", with!(closure(how).when(|_| true))),
        ("unless", with!(Type(how).unless(|_| false))),
        ("option", with!(Some(Type(how)))),
        ("boxed", with!(Type(how).boxed())),
        ("boxed closure", with!(closure(how).boxed())),
        ("list of one", list(vec![Type(how).boxed()])),
        ("list of three", list(vec![Type(how).boxed(), closure(how).boxed(), Type(how).boxed()])),
        ("layer", with!(layer)),
        (
            "one after another",
            chain()
                .use_(Type(how))
                .use_(function)
                .use_(Direct(how))
                .at("/users/{id}", |c| c.get(show))
                .build(),
        ),
        (
            "under a prefix",
            chain().use_at("/users", Type(how)).at("/users/{id}", |c| c.get(show)).build(),
        ),
        ("inside of a path", chain().at("/users/{id}", |c| c.use_(function).get(show)).build()),
        ("inside of a mount", chain().mount("/users", inner).build()),
        (
            "always",
            Chain::new()
                .provide(how)
                .provide(Database("db"))
                .always(function)
                .guard(user)
                .at("/users/{id}", |c| c.get(show))
                .build(),
        ),
        (
            "handler that passes on",
            chain().at("/users/{id}", |c| c.get(function).get(show)).build(),
        ),
    ]
}

fn known_request() -> Request {
    let mut req = request("GET", "/users/7");
    req.extensions_mut().insert(PeerAddr(([192, 0, 2, 1], 80).into()));
    req
}

#[test]
fn a_request_that_replaces_another_keeps_what_is_known_of_it() {
    for how in ALL {
        for (kind, chain) in chains(how) {
            let response = now(chain.handle(known_request()));
            let found = (response.status().as_u16(), text(response));
            let expected = (200, "db ada 7 /users/{id} 192.0.2.1".to_owned());
            assert_eq!(found, expected, "{how:?} in {kind}");
        }
    }
}

#[test]
fn a_step_that_replaces_the_request_provides_its_value_all_the_same() {
    for how in ALL {
        let by_type = Chain::new().guard(user).use_(Provides(how)).get(show_extra).build();
        assert_eq!(answer(&by_type, "GET", "/"), "200 9 ada", "{how:?}");
        let by_function =
            Chain::new().guard(user).provide(how).use_(provides).get(show_extra).build();
        assert_eq!(answer(&by_function, "GET", "/"), "200 9 ada", "{how:?}");
    }
}

#[test]
fn the_request_itself_is_that_which_replaces() {
    async fn replaced(mut next: Next<'_>) -> Response {
        let mut req = own();
        *req.method_mut() = Method::PUT;
        *req.body_mut() = Body::from("new");
        req.headers_mut().insert("x-new", HeaderValue::from_static("1"));
        *next = req;
        next.run().await
    }
    async fn show(method: Method, uri: http::Uri, headers: HeaderMap, body: String) -> String {
        format!("{method} {uri} {} {} {body}", headers.len(), headers.contains_key("x-new"))
    }
    let chain = Chain::new().use_(replaced).post(show).build();
    let mut req = request("POST", "/");
    req.headers_mut().insert("x-old", HeaderValue::from_static("1"));
    *req.body_mut() = Body::from("old");
    // The steps that follow are those of the request as it came.
    assert_eq!(text(now(chain.handle(req))), "PUT /elsewhere 1 true new");
}

#[test]
fn the_extensions_of_both_requests_are_joined() {
    async fn other_database(mut next: Next<'_>) -> Response {
        *next = http::Request::builder()
            .extension(Own(7))
            .extension(Database("other"))
            .body(Body::empty())
            .unwrap();
        next.run().await
    }
    async fn show(db: Provided<Database>, user: Provided<User>, req: Request) -> String {
        let own = req.extensions().get::<Own>().map(|own| own.0);
        format!("{} {} {own:?}", db.0.0, user.0.0)
    }
    let chain =
        Chain::new().provide(Database("db")).guard(user).use_(other_database).get(show).build();
    assert_eq!(answer(&chain, "GET", "/"), "200 other ada Some(7)");
}

#[test]
fn an_extension_that_a_step_inserts_outlives_a_replaced_request_as_well() {
    async fn insert_and_replace(mut next: Next<'_>) -> Result<Response, Error> {
        read_body(&mut next).await?;
        next.extensions_mut().insert(Own(7));
        *next = http::Request::builder().extension(Extra(8)).body(Body::empty()).unwrap();
        *next = Request::default();
        Ok(next.run().await)
    }
    async fn show(user: Provided<User>, req: Request) -> String {
        let own = req.extensions().get::<Own>().map(|own| own.0);
        let extra = req.extensions().get::<Extra>().map(|extra| extra.0);
        format!("{} {own:?} {extra:?}", user.0.0)
    }
    let chain = Chain::new().guard(user).use_(insert_and_replace).get(show).build();
    assert_eq!(answer(&chain, "GET", "/"), "200 ada Some(7) Some(8)");
}

#[test]
fn an_extension_that_is_removed_stays_removed() {
    async fn removes(mut next: Next<'_>) -> Response {
        let removed = next.extensions_mut().remove::<User>();
        let _: &mut Request = &mut next;
        let mut response = next.run().await;
        response.headers_mut().insert("x-removed", u16::from(removed.is_some()).into());
        response
    }
    async fn show(req: Request) -> String {
        req.extensions().get::<User>().is_some().to_string()
    }
    let chain = Chain::new().guard(user).use_(removes).get(show).build();
    let response = ask(&chain, "GET", "/");
    assert_eq!(header(&response, "x-removed"), "1");
    assert_eq!(text(response), "false");
}

#[test]
fn a_borrow_of_the_whole_request_leaves_no_trace() {
    async fn borrows(mut next: Next<'_>) -> Response {
        let _: &mut Request = &mut next;
        next.run().await
    }
    async fn show(req: Request) -> String {
        req.extensions().len().to_string()
    }
    let known = |count: usize| {
        let mut req = request("GET", "/");
        if count == 2 {
            req.extensions_mut().insert(Own(1));
            req.extensions_mut().insert(Extra(1));
        }
        req
    };
    let plain = Chain::new().get(show).build();
    let borrowed = Chain::new().use_(borrows).use_(borrows).get(show).build();
    for count in [0, 2] {
        let expected = text(now(plain.handle(known(count))));
        assert_eq!(text(now(borrowed.handle(known(count)))), expected);
    }
}

// Functions that provide values.

#[test]
fn a_function_provides_one_value_or_two() {
    async fn one(next: NextWith<'_, (Extra,)>) -> Response {
        next.run_with(Extra(1)).await
    }
    async fn as_a_tuple(next: NextWith<'_, (Extra,)>) -> Response {
        next.run_with((Extra(2),)).await
    }
    async fn two(next: NextWith<'_, (Extra, User)>) -> Response {
        next.run_with((Extra(3), User("bob"))).await
    }
    async fn extra(extra: Provided<Extra>) -> String {
        extra.0.0.to_string()
    }
    let chain = Chain::new().use_(one).get(extra).build();
    assert_eq!(answer(&chain, "GET", "/"), "200 1");
    let chain = Chain::new().use_(as_a_tuple).get(extra).build();
    assert_eq!(answer(&chain, "GET", "/"), "200 2");
    let chain = Chain::new().use_(two).get(show_extra).build();
    assert_eq!(answer(&chain, "GET", "/"), "200 3 bob");
    let chain = Chain::new().always(two).at("/known", |c| c.get(show_extra)).build();
    assert_eq!(answer(&chain, "GET", "/known"), "200 3 bob");
    assert_eq!(status(&chain, "GET", "/unknown"), 404);
}

#[test]
fn extractors_and_provided_values_come_before_next() {
    async fn customer(
        method: Method,
        Provided(Database(db)): Provided<Database>,
        Path(id): Path<u8>,
        headers: HeaderMap,
        next: NextWith<'_, (Extra, User)>,
    ) -> Result<Response, Error> {
        if headers.contains_key("x-stop") {
            return Err(Error::new(StatusCode::FORBIDDEN, "Stop"));
        }
        let mut response = next.run_with((Extra(id), User("bob"))).await;
        response.headers_mut().insert("x-by", HeaderValue::try_from(format!("{method} {db}"))?);
        Ok(response)
    }
    /// Takes a value of another function, and provides one of its own.
    async fn double(extra: Provided<Extra>, next: NextWith<'_, (Own,)>) -> Response {
        next.run_with(Own(extra.0.0 * 2)).await
    }
    async fn show(user: Provided<User>, extra: Provided<Extra>, own: Provided<Own>) -> String {
        format!("{} {} {}", user.0.0, extra.0.0, own.0.0)
    }
    let inner = Chain::expecting::<(User, Extra, Own)>().get(show).seal();
    let chain = Chain::new()
        .provide(Database("db"))
        .at("/{id}", |c| c.use_(customer).use_(double).get(show).mount("/inner", inner))
        .build();
    for path in ["/4", "/4/inner"] {
        let response = ask(&chain, "GET", path);
        assert_eq!(header(&response, "x-by"), "GET db", "{path}");
        assert_eq!(text(response), "bob 4 8", "{path}");
    }
    assert_eq!(status(&chain, "GET", "/x"), 400);
    let mut req = request("GET", "/4");
    req.headers_mut().insert("x-stop", HeaderValue::from_static("1"));
    assert_eq!(now(chain.handle(req)).status(), 403);
}

#[test]
fn a_function_with_eight_arguments_before_next_provides_a_value() {
    type P = Provided<Database>;
    #[allow(clippy::too_many_arguments, reason = "as many as there may be")]
    async fn eight(
        _: Method,
        _: P,
        _: HeaderMap,
        _: P,
        _: Method,
        _: P,
        _: HeaderMap,
        Provided(Database(db)): P,
        next: NextWith<'_, (User,)>,
    ) -> Response {
        next.run_with(User(db)).await
    }
    let chain = Chain::new()
        .provide(Database("db"))
        .use_(eight)
        .get(async |user: Provided<User>| user.0.0)
        .build();
    assert_eq!(answer(&chain, "GET", "/"), "200 db");
}

#[test]
fn an_async_closure_provides_a_value() {
    let chain = Chain::new()
        .use_(async |next: NextWith<'_, (Extra, User)>| {
            next.run_with((Extra(5), User("eve"))).await
        })
        .get(show_extra)
        .build();
    assert_eq!(answer(&chain, "GET", "/"), "200 5 eve");
}

// Closures that capture.

#[test]
fn a_closure_that_captures_is_middleware() {
    let t = Trace::default();
    let tag = |name: &'static str| {
        let t = t.clone();
        from_closure(move |next| {
            let t = t.clone();
            Box::pin(async move {
                t.note(format!(">{name}"));
                let response = next.run().await;
                t.note(format!("<{name}"));
                response
            })
        })
    };
    let chain = Chain::new()
        .always(tag("always"))
        .use_(t.tag("type"))
        .use_(tag("a"))
        .use_(tag("skipped").when(|_| false))
        .use_(vec![tag("b").boxed(), t.tag("c").boxed(), tag("d").boxed()])
        .at("/", |c| c.get(t.handler("h")))
        .build();
    assert_eq!(status(&chain, "GET", "/"), 200);
    assert_eq!(t.take(), ">always >type >a >b >c >d h <d <c <b <a <type <always");
    assert_eq!(status(&chain, "GET", "/unknown"), 404);
    assert_eq!(t.take(), ">always <always");
}

#[test]
fn a_closure_that_captures_answers_and_changes_requests_as_a_function_does() {
    let limit = 3;
    let chain = Chain::new()
        .use_(from_closure(move |mut next| {
            Box::pin(async move {
                let length = next.uri().path().len();
                if length > limit {
                    return Err(Error::new(StatusCode::URI_TOO_LONG, "Too long"));
                }
                next.headers_mut().insert("x-length", length.into());
                Ok(next.run().await)
            })
        }))
        .use_(
            from_closure(|_| Box::pin(async { (StatusCode::CREATED, "answered") }))
                .when(|req| req.uri().path() == "/c"),
        )
        .get(async |headers: HeaderMap| headers["x-length"].to_str().unwrap().to_owned())
        .build();
    assert_eq!(answer(&chain, "GET", "/a"), "200 2");
    assert_eq!(answer(&chain, "GET", "/c"), "201 answered");
    assert_eq!(status(&chain, "GET", "/long"), 414);
}

// Lists.

#[test]
fn a_list_runs_in_its_order_however_long_it_is() {
    const NAMES: [&str; 9] = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    for length in [0, 1, 2, 9] {
        let t = Trace::default();
        let list: Vec<BoxMiddleware> =
            NAMES[..length].iter().map(|name| t.tag(name).boxed()).collect();
        let chain =
            Chain::new().use_(t.tag("a")).use_(list).use_(t.tag("z")).get(t.handler("h")).build();
        assert_eq!(status(&chain, "GET", "/"), 200);
        let mut names = vec!["a"];
        names.extend(&NAMES[..length]);
        names.push("z");
        let mut expected: Vec<String> = names.iter().map(|name| format!(">{name}")).collect();
        expected.push("h".to_owned());
        expected.extend(names.iter().rev().map(|name| format!("<{name}")));
        assert_eq!(t.take(), expected.join(" "), "{length}");
    }
}

#[test]
fn any_of_a_list_may_answer() {
    for at in 0..9 {
        let t = Trace::default();
        let list: Vec<BoxMiddleware> = (0..9)
            .map(|n| if n == at { from_fn(closed).boxed() } else { t.tag("m").boxed() })
            .collect();
        let chain = Chain::new().use_(list).get(t.handler("h")).build();
        assert_eq!(status(&chain, "GET", "/"), 503);
        assert_eq!(t.take().matches(">m").count(), at);
    }
}

// The rest of the chain does not run, or does not complete.

async fn closed(_: Next<'_>) -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

/// Creates the future of the rest, and never polls it.
async fn not_polled(next: Next<'_>) -> StatusCode {
    drop(next.run());
    StatusCode::SERVICE_UNAVAILABLE
}

/// Changes the request before it answers.
async fn replaced_and_closed(mut next: Next<'_>) -> StatusCode {
    *next = own();
    StatusCode::SERVICE_UNAVAILABLE
}

#[test]
fn the_rest_does_not_run_if_next_is_dropped() {
    struct Closed;
    impl Middleware for Closed {
        type Provides = (Extra,);
        async fn call<N: Endpoint>(&self, next: Next<'_, N, (Extra,)>) -> Response {
            drop(next);
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
    async fn with_value(next: NextWith<'_, (Extra,)>) -> StatusCode {
        drop(next.run_with(Extra(1)));
        StatusCode::SERVICE_UNAVAILABLE
    }
    async fn with_arguments(_: Method, _: HeaderMap, _: Next<'_>) -> StatusCode {
        StatusCode::SERVICE_UNAVAILABLE
    }
    let code = StatusCode::SERVICE_UNAVAILABLE;
    let by_closure = from_closure(move |_| Box::pin(async move { code }));
    let t = Trace::default();
    macro_rules! chains {
        ($($step:expr),* $(,)?) => {
            [$(Chain::new().use_(t.tag("a")).use_($step).use_(t.tag("z")).get(t.handler("h")).build()),*]
        };
    }
    let chains = chains![
        closed,
        not_polled,
        replaced_and_closed,
        Closed,
        with_value,
        with_arguments,
        from_fn_with::<(Method, HeaderMap), _, _>(with_arguments),
        by_closure.clone(),
        by_closure.clone().boxed(),
        from_fn(not_polled).boxed(),
        vec![from_fn(not_polled).boxed()],
        vec![t.tag("b").boxed(), from_fn(closed).boxed(), t.tag("c").boxed()],
        Some(from_fn(not_polled)),
        from_fn(not_polled).when(|_| true),
    ];
    for (number, chain) in chains.iter().enumerate() {
        assert_eq!(status(chain, "GET", "/"), 503, "{number}");
        let trace = t.take();
        assert!([">a <a", ">a >b <b <a"].contains(&&*trace), "{number}: {trace}");
    }
}

/// Counts the futures of the rest that were dropped before they completed.
#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct OnDrop(Drops);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Never answers.
async fn hangs(Provided(drops): Provided<Drops>) {
    let _on_drop = OnDrop(drops);
    std::future::pending().await
}

/// Polls the rest once, drops it, and answers with the number of its futures that were dropped.
async fn gives_up<N: Endpoint>(next: Next<'_, N>) -> String {
    let drops = next.extensions().get::<Drops>().cloned().unwrap();
    assert!(next.run().now_or_never().is_none());
    drops.count().to_string()
}

async fn gives_up_in_a_function(next: Next<'_>) -> String {
    gives_up(next).await
}

async fn gives_up_with_arguments(_: Method, drops: Provided<Drops>, next: Next<'_>) -> String {
    assert!(next.run().now_or_never().is_none());
    drops.count().to_string()
}

async fn gives_up_with_a_value(drops: Provided<Drops>, next: NextWith<'_, (Extra,)>) -> String {
    assert!(next.run_with(Extra(1)).now_or_never().is_none());
    drops.count().to_string()
}

#[test]
fn dropping_the_future_of_run_drops_the_rest_at_once() {
    struct GivesUp;
    impl Middleware for GivesUp {
        type Provides = ();
        async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
            gives_up(next).await.into_response()
        }
    }
    async fn passes(next: Next<'_>) -> Response {
        next.run().await
    }
    let prefix = String::from("0");
    let by_closure = || {
        let prefix = prefix.clone();
        from_closure(move |next| {
            let prefix = prefix.clone();
            Box::pin(async move { prefix + &gives_up(next).await })
        })
    };
    let drops = Drops::default();
    macro_rules! chains {
        ($($step:expr),* $(,)?) => {
            // The rest is a step that is a type, one that is a function, and a handler in a chain of its own.
            [$(Chain::new()
                .provide(drops.clone())
                .use_($step)
                .use_(Trace::default().tag("z"))
                .use_(passes)
                .at("/", |c| c.get(hangs))
                .build()),*]
        };
    }
    let chains = chains![
        GivesUp,
        GivesUp.when(|_| true),
        GivesUp.boxed(),
        gives_up_in_a_function,
        gives_up_with_arguments,
        gives_up_with_a_value,
        from_fn(gives_up_in_a_function).boxed(),
        vec![from_fn(gives_up_in_a_function).boxed()],
        vec![from_fn(passes).boxed(), GivesUp.boxed(), from_fn(passes).boxed()],
        by_closure(),
        vec![from_fn(passes).boxed(), by_closure().boxed()],
    ];
    for (number, chain) in chains.iter().enumerate() {
        let response = ask(chain, "GET", "/");
        let seen = text(response).parse::<usize>().unwrap();
        assert_eq!(seen, number + 1, "{number}: the rest is dropped before the step goes on");
        assert_eq!(drops.count(), number + 1, "{number}: and only once");
    }
}

#[test]
fn dropping_a_request_half_way_drops_all_its_steps() {
    let drops = Drops::default();
    async fn passes(next: Next<'_>) -> Response {
        next.run().await
    }
    let chain = Chain::new()
        .provide(drops.clone())
        .use_(passes)
        .use_(vec![from_fn(passes).boxed(), from_fn(passes).boxed()])
        .use_(from_closure(|next| Box::pin(next.run())))
        .get(hangs)
        .build();
    let mut handling = Box::pin(chain.handle(request("GET", "/")));
    assert!((&mut handling).now_or_never().is_none());
    assert_eq!(drops.count(), 0);
    drop(handling);
    assert_eq!(drops.count(), 1);
}

/// Middleware that replaces the request and then calls other middleware.
#[tokio::test]
async fn middleware_that_is_called_with_a_replaced_request_sees_what_was_kept() {
    struct Replaces<M>(M);
    impl<M: Middleware<Provides = ()>> Middleware for Replaces<M> {
        type Provides = ();

        async fn call<N: Endpoint>(&self, mut next: Next<'_, N>) -> Response {
            *next = Request::default();
            self.0.call(next).await
        }
    }
    async fn inner(path: MatchedPath, next: Next<'_>) -> Response {
        assert_eq!(&*path, "/users/{id}");
        next.run().await
    }
    let service = Chain::new()
        .use_(Replaces(from_fn_with::<(MatchedPath,), _, _>(inner)))
        .at("/users/{id}", |c| c.get(async |Path(id): Path<u32>| id.to_string()))
        .build();
    let request = http::Request::get("/users/7").body(Body::empty()).unwrap();
    assert_eq!(service.handle(request).await.status(), 200);
}

#[test]
fn a_request_of_another_chain_takes_no_provided_value_away() {
    #[derive(Clone, Default)]
    struct Slot(Arc<Mutex<Option<Request>>>);

    async fn keep(Provided(slot): Provided<Slot>, mut next: Next<'_>) -> Response {
        *slot.0.lock().unwrap() = Some(mem::take(&mut *next));
        next.run().await
    }
    async fn put(Provided(slot): Provided<Slot>, mut next: Next<'_>) -> Response {
        if let Some(req) = slot.0.lock().unwrap().take() {
            *next = req;
        }
        next.run().await
    }
    let slot = Slot::default();
    let one = Chain::new().provide(slot.clone()).use_(keep).get(async || "one").build();
    let two = Chain::new()
        .provide(slot)
        .provide(7_u16)
        .use_(put)
        .get(async |Provided(seven): Provided<u16>| seven.to_string())
        .build();
    assert_eq!(answer(&one, "GET", "/"), "200 one");
    assert_eq!(answer(&two, "GET", "/"), "200 7");
}
