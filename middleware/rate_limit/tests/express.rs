//! What express-rate-limit's own tests assert, asked of this limiter.
//!
//! | there | here |
//! | --- | --- |
//! | a limit of 0 blocks all | an error where it is built: what nobody may do is left out |
//! | undefined and unknown options, unknown drafts, a store without `get` or without a time | don't compile |
//! | a store's `init`, `shutdown` and timers | there are none: a store connects when it is used, and memory is swept by requests |
//! | a store that counts below 1 | charges are times, and never negative |
//! | a key promoted between two generations | there is one table; a client that has used something is in it |
//! | asynchronous `skip` and `limit` | an asynchronous guard before the limiter provides what they look at |
//! | an asynchronous `message` or `handler` | `on_error`, which is asynchronous, renders the refusal |
//! | nothing is written once the headers are sent | a response leaves after its headers are complete |
//! | no header at all when all sets are off | `Retry-After` stays: without it a client can't do right |
//! | `Date` beside `X-RateLimit-Reset` | the server writes it into each response |
//! | a limiter that is made anew in each request | a chain is built once; what is made in a handler limits nothing there either |
//! | single checks turned on and off | the log is filtered by its target, as all of `tracing` is |
//! | `resetAll` | to forget everybody at once, make a new limiter |

use super::*;

fn hourly(limit: u32) -> (RateLimit, LimitClock) {
    let clock = LimitClock::fake();
    (RateLimit::per_client(limit).every(secs(3600)).clock(clock.clone()), clock)
}

fn alice() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn remaining(handle: &PolicyHandle) -> u32 {
    handle.peek(alice()).now_or_never().unwrap()[0].remaining()
}

fn text(response: Response) -> String {
    let body = http_body_util::BodyExt::collect(response.into_body());
    String::from_utf8(body.now_or_never().unwrap().unwrap().to_bytes().to_vec()).unwrap()
}

mod core {
    use super::*;

    #[test]
    fn a_client_is_blocked_at_its_limit_and_admitted_after_the_window_again_and_again() {
        let (limit, clock) = hourly(2);
        let service = chain(limit);
        for _ in 0..3 {
            assert_eq!([(); 4].map(|()| status(&service, ALICE)), [200, 200, 429, 429]);
            clock.advance(secs(3600));
        }
    }

    #[test]
    fn a_limit_of_zero_is_an_error() {
        assert_eq!(Quota::try_new(0, secs(1)).unwrap_err(), RateLimitError::ZeroLimit);
    }

    #[test]
    fn what_is_set_on_a_clone_leaves_the_original_as_it_was() {
        let (limit, _) = hourly(1);
        let shadow = limit.clone().shadow().headers([]).skip(|_| true);
        let original = chain(limit);
        assert_eq!([(); 2].map(|()| status(&original, ALICE)), [200, 429]);
        assert_eq!([(); 2].map(|()| status(&chain(shadow.clone()), ALICE)), [200, 200]);
    }
}

mod response {
    use super::*;

    fn refused(limit: RateLimit) -> Response {
        let service = chain(limit);
        status(&service, ALICE);
        send(&service, request(ALICE))
    }

    #[test]
    fn a_message_is_text_json_or_what_a_function_makes_of_the_request() {
        let (limit, _) = hourly(1);
        let said = refused(limit.reject(|_, _| (StatusCode::TOO_MANY_REQUESTS, "too many")));
        assert_eq!((said.status().as_u16(), text(said)), (429, "too many".to_owned()));

        let (limit, _) = hourly(1);
        let said = refused(limit.reject(|req, decision| {
            let wait = decision.retry_after().map_or(0, |wait| wait.as_secs());
            let json = format!(r#"{{"path":"{}","wait":{wait}}}"#, req.uri().path());
            (StatusCode::TOO_MANY_REQUESTS, [("content-type", "application/json")], json)
        }));
        assert_eq!(header(&said, "content-type"), "application/json");
        assert_eq!(body(said), serde_json::json!({"path": "/", "wait": 3600}));
    }

    #[test]
    fn the_status_is_ones_own() {
        let (limit, _) = hourly(1);
        assert_eq!(refused(limit.reject(|_, _| StatusCode::IM_A_TEAPOT)).status(), 418);
    }

    #[test]
    fn an_asynchronous_function_renders_the_refusal() {
        let render = async |error: Error| {
            std::future::ready(()).await;
            (error.status(), format!("sorry: {}", error.title()))
        };
        let (limit, _) = hourly(1);
        let service = Chain::new().on_error(render).use_(limit).get(async || "hello").build();
        status(&service, ALICE);
        let refused = send(&service, request(ALICE));
        assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "3600"));
        assert_eq!(text(refused), "sorry: Too Many Requests");
    }

    #[test]
    fn what_fails_in_a_rejection_or_in_a_skip_rule_reaches_the_error_hook() {
        let (limit, _) = hourly(1);
        let panicking = limit.skip(|req| match req.headers().contains_key("x-bad") {
            true => panic!("a fault in a rule"),
            false => false,
        });
        let service = Chain::new()
            .on_error(async |error: Error| (error.status(), "hooked"))
            .catch_panics()
            .use_(panicking)
            .get(async || "hello")
            .build();
        let failed = send(&service, with(ALICE, "x-bad", "1"));
        assert_eq!((failed.status().as_u16(), text(failed)), (500, "hooked".to_owned()));
        let (limit, _) = hourly(1);
        let failing = limit.reject(|_, _| Error::new(StatusCode::BAD_GATEWAY, "no words"));
        let service = Chain::new()
            .on_error(async |error: Error| (error.status(), "hooked"))
            .use_(failing)
            .get(async || "hello")
            .build();
        status(&service, ALICE);
        let failed = send(&service, request(ALICE));
        assert_eq!((failed.status().as_u16(), text(failed)), (502, "hooked".to_owned()));
    }
}

mod keys {
    use super::*;

    /// What an asynchronous look-up found of whoever asks.
    #[derive(Clone)]
    struct Account {
        id: u64,
        is_internal: bool,
        limit: u32,
    }

    async fn account(headers: http::HeaderMap) -> Result<Account, Error> {
        std::future::ready(()).await;
        let id = headers.get("id").and_then(|id| id.to_str().ok()?.parse().ok()).unwrap_or(0);
        Ok(Account { id, is_internal: id == 1, limit: if id == 2 { 2 } else { 1 } })
    }

    fn accounts(limit: RateLimit) -> impl Fn(&'static str) -> u16 {
        let service = Chain::new().guard(account).use_(limit).get(async || "hello").build();
        move |id| send(&service, with(ALICE, "id", id)).status().as_u16()
    }

    #[test]
    fn a_key_is_what_a_function_says_at_once_or_later() {
        let sync =
            LimitKey::from_fn(|req| req.headers().get("id").map(|id| id.as_bytes().to_vec()));
        let later = LimitKey::from_async_fn(|parts| {
            let id = parts.headers.get("id").map(|id| id.as_bytes().to_vec());
            async move {
                std::future::ready(()).await;
                id
            }
        });
        for key in [sync, later, LimitKey::provided(|account: &Account| account.id)] {
            let call = accounts(hourly(1).0.key(key));
            assert_eq!([call("5"), call("5"), call("6")], [200, 429, 200]);
        }
    }

    #[test]
    fn requests_are_skipped_by_what_is_known_at_once_or_later() {
        let call =
            accounts(hourly(1).0.skip(|req| req.headers().get("id").is_some_and(|id| id == "7")));
        assert_eq!([call("7"), call("7"), call("8"), call("8")], [200, 200, 200, 429]);
        let internal = |req: &Request| {
            req.extensions().get::<Account>().is_some_and(|account| account.is_internal)
        };
        let call = accounts(hourly(1).0.skip(internal));
        assert_eq!([call("1"), call("1"), call("3"), call("3")], [200, 200, 200, 429]);
    }

    #[test]
    fn a_limit_is_what_is_known_at_once_or_later() {
        let own = Policy::new("own", Quota::per_hour(1)).quota_by(|req| {
            let limit = req.extensions().get::<Account>()?.limit;
            Some(Quota::per_hour(limit))
        });
        let limit = RateLimit::new(own).key(LimitKey::provided(|account: &Account| account.id));
        let call = accounts(limit.clock(LimitClock::fake()));
        assert_eq!([call("2"), call("2"), call("2")], [200, 200, 429]);
        assert_eq!([call("3"), call("3")], [200, 429]);
    }

    #[test]
    fn a_key_is_looked_up_and_reset_by_hand() {
        let (limit, _) = hourly(3);
        let handle = subjects(&limit);
        let service = chain(limit);
        status(&service, ALICE);
        let standing = &handle.peek(alice()).now_or_never().unwrap()[0];
        assert_eq!((standing.limit(), standing.used(), standing.remaining()), (3, 1, 2));
        handle.reset(alice()).now_or_never();
        assert_eq!(remaining(&handle), 3);
    }
}

mod uncounted {
    use super::*;

    /// Answers with the status that the request asks for; 0 never answers.
    fn asked(limit: RateLimit) -> ChainService {
        let answer = async |headers: http::HeaderMap| {
            let status: u16 = headers["status"].to_str().unwrap().parse().unwrap();
            match StatusCode::from_u16(status) {
                Ok(status) => status,
                Err(_) => std::future::pending().await,
            }
        };
        Chain::new().use_(limit).get(answer).build()
    }

    #[test]
    fn what_does_not_count_is_given_back_and_what_counts_is_not() {
        let by_header = |response: &Response| response.headers().contains_key("content-length");
        let never = |_: &Response| false;
        for (limit, answer, left) in [
            (hourly(3).0.count_failures(), "200", 3),
            (hourly(3).0.count_failures(), "302", 3),
            (hourly(3).0.count_failures(), "404", 2),
            (hourly(3).0.count_failures(), "500", 2),
            (hourly(3).0.count_successes(), "200", 2),
            (hourly(3).0.count_successes(), "302", 2),
            (hourly(3).0.count_successes(), "404", 3),
            (hourly(3).0.count_successes(), "500", 3),
            (hourly(3).0.count_if(true, by_header), "200", 3),
            (hourly(3).0.count_if(true, never), "500", 3),
        ] {
            let handle = subjects(&limit);
            assert_eq!(
                send(&asked(limit), with(ALICE, "status", answer)).status().as_str(),
                answer
            );
            assert_eq!(remaining(&handle), left, "{answer}");
        }
    }

    #[test]
    fn a_predicate_looks_at_what_the_handler_found_out_later() {
        #[derive(Clone)]
        struct Cached;
        let mark = async |next: crate::Next<'_>| {
            let is_cached = next.headers().contains_key("cached");
            let mut response = next.run().await;
            std::future::ready(()).await;
            if is_cached {
                response.extensions_mut().insert(Cached);
            }
            response
        };
        let limit = hourly(2).0.count_if(true, |r| r.extensions().get::<Cached>().is_none());
        let handle = subjects(&limit);
        let service = Chain::new().use_(limit).use_(mark).get(async || "hello").build();
        send(&service, with(ALICE, "cached", "1"));
        assert_eq!(remaining(&handle), 2);
        send(&service, request(ALICE));
        assert_eq!(remaining(&handle), 1);
    }

    #[test]
    fn a_client_that_hangs_up_has_made_no_successful_request() {
        let limit = hourly(3).0.count_successes();
        let handle = subjects(&limit);
        let service = asked(limit);
        assert!(service.handle(with(ALICE, "status", "0")).now_or_never().is_none());
        assert_eq!(remaining(&handle), 3);
    }

    #[test]
    fn nothing_is_given_back_after_its_time() {
        let (limit, clock) = hourly(2);
        let limit = limit.count_failures();
        let handle = subjects(&limit);
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let closed = gate.clone();
        let answer = move || {
            let closed = closed.clone();
            async move { closed.acquire().await.map_or("", |_| "hello") }
        };
        let service = Chain::new().use_(limit).get(answer).build();
        let mut running = service.handle(request(ALICE));
        assert!((&mut running).now_or_never().is_none());
        clock.advance(secs(3600));
        // Another one has been counted meanwhile; the end of the first takes nothing of it away.
        handle.charge(alice(), 2).now_or_never();
        assert_eq!(remaining(&handle), 0);
        gate.add_permits(1);
        assert_eq!(running.now_or_never().unwrap().status(), 200);
        assert_eq!(remaining(&handle), 0);
    }

    #[test]
    fn a_refused_request_gives_nothing_back() {
        let limit = hourly(1).0.count_failures();
        let handle = subjects(&limit);
        let service = asked(limit);
        assert_eq!(send(&service, with(ALICE, "status", "401")).status(), 401);
        for _ in 0..3 {
            assert_eq!(send(&service, with(ALICE, "status", "200")).status(), 429);
        }
        assert_eq!(remaining(&handle), 0);
    }
}

mod request_info {
    use super::*;

    #[test]
    fn two_limiters_provide_two_decisions() {
        #[derive(Clone)]
        struct Short(Decision);
        #[derive(Clone)]
        struct Long(Decision);
        let service = Chain::new()
            .use_(hourly(3).0.with_decision_as(Short))
            .use_(hourly(9).0.with_decision_as(Long))
            .get(async |short: Provided<Short>, long: Provided<Long>| {
                let of = |decision: &Decision| {
                    let standing = &decision.standings()[0];
                    format!("{} {} {}", standing.limit(), standing.used(), standing.remaining())
                };
                format!("{}, {}", of(&short.0.0), of(&long.0.0))
            })
            .build();
        assert_eq!(text(send(&service, request(ALICE))), "3 1 2, 9 1 8");
    }
}

mod store_errors {
    use super::*;

    /// A store that is never there.
    struct Away;

    impl LimitStore for Away {
        fn take<'a>(&'a self, _: &'a StoreCall) -> StoreFuture<'a, StoreAnswer> {
            Box::pin(async { Err(StoreError::new("away")) })
        }

        fn refund<'a>(&'a self, _: &'a [(String, Duration)]) -> StoreFuture<'a, ()> {
            Box::pin(async { Err(StoreError::new("away")) })
        }

        fn release<'a>(&'a self, _: &'a StoreSlot) -> StoreFuture<'a, ()> {
            Box::pin(async { Err(StoreError::new("away")) })
        }

        fn clear<'a>(&'a self, _: &'a [String]) -> StoreFuture<'a, ()> {
            Box::pin(async { Err(StoreError::new("away")) })
        }

        fn ping(&self) -> StoreFuture<'_, ()> {
            Box::pin(async { Err(StoreError::new("away")) })
        }
    }

    #[tokio::test]
    async fn two_limiters_of_a_chain_with_one_name_in_a_store_are_reported() {
        let limit = |name| hourly(9).0.shared(name, SharedLimits::new(Away));
        for (names, expected) in [(["a", "a"], 1), (["a", "b"], 0)] {
            let [first, second] = names.map(limit);
            let service = Chain::new().use_(first).use_(second).get(async || "hello").build();
            let log = Log::start();
            for _ in 0..3 {
                service.handle(request(ALICE)).await;
            }
            let log = log.text();
            let reports = log.matches("have the same name in a shared store").count();
            assert_eq!(reports, expected, "{log}");
        }
    }

    #[test]
    fn a_window_in_a_store_without_windows_is_an_error() {
        let daily = Quota::per_day(1).from_midnight_utc();
        let limit = RateLimit::new(daily).try_shared("a", SharedLimits::new(Away));
        assert_eq!(limit.unwrap_err(), RateLimitError::WindowInStore);
        let limit = RateLimit::per_hour(1).shared("a", SharedLimits::new(Away));
        assert_eq!(limit.try_and(daily).unwrap_err(), RateLimitError::WindowInStore);
    }

    #[tokio::test]
    async fn a_store_that_fails_is_answered_as_the_mode_says_and_the_handler_runs_once() {
        for (mode, expected) in [
            (WhileUnreachable::Local { servers: 1 }, [200, 200, 429]),
            (WhileUnreachable::Allow, [200, 200, 200]),
            (WhileUnreachable::Deny, [503, 503, 503]),
        ] {
            let runs = Arc::new(AtomicUsize::new(0));
            let counted = runs.clone();
            let limits = SharedLimits::new(Away).while_unreachable(mode);
            let service = Chain::new()
                .use_(hourly(2).0.shared("hourly", limits))
                .get(move || {
                    counted.fetch_add(1, Ordering::Relaxed);
                    async { "hello" }
                })
                .build();
            let mut statuses = [0; 3];
            for status in &mut statuses {
                *status = service.handle(request(ALICE)).await.status().as_u16();
            }
            assert_eq!(statuses, expected, "{mode:?}");
            let admitted = expected.iter().filter(|status| **status == 200).count();
            assert_eq!(runs.load(Ordering::Relaxed), admitted, "{mode:?}");
        }
    }
}

mod headers {
    use super::*;

    fn fields(set: LimitHeaders) -> Response {
        let limit = RateLimit::new(Policy::new("own-name", Quota::new(5, secs(60))));
        send(&chain(limit.headers([set]).clock(LimitClock::fake())), request(ALICE))
    }

    #[test]
    fn each_set_is_exact() {
        for (set, expected) in [
            (
                LimitHeaders::Ietf,
                &[
                    ("ratelimit", r#""own-name";r=4;t=12"#),
                    ("ratelimit-policy", r#""own-name";q=5;w=60"#),
                ][..],
            ),
            (
                LimitHeaders::Draft7,
                &[("ratelimit", "limit=5, remaining=4, reset=12"), ("ratelimit-policy", "5;w=60")],
            ),
            (
                LimitHeaders::Draft6,
                &[
                    ("ratelimit-limit", "5"),
                    ("ratelimit-remaining", "4"),
                    ("ratelimit-reset", "12"),
                    ("ratelimit-policy", "5;w=60"),
                ],
            ),
            (
                LimitHeaders::XRateLimitDelta,
                &[
                    ("x-ratelimit-limit", "5"),
                    ("x-ratelimit-remaining", "4"),
                    ("x-ratelimit-reset", "12"),
                ],
            ),
        ] {
            let response = fields(set);
            for (name, value) in expected {
                assert_eq!(header(&response, name), *value, "{set:?}");
            }
            let limits =
                response.headers().keys().filter(|name| name.as_str().contains("ratelimit"));
            assert_eq!(limits.count(), expected.len(), "{set:?}");
            assert_eq!(header(&response, "retry-after"), "");
        }
    }

    #[test]
    fn the_epoch_of_the_old_fields_is_rounded_up() {
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let before = now().as_secs_f64();
        let response = fields(LimitHeaders::XRateLimit);
        let reset: u64 = header(&response, "x-ratelimit-reset").parse().unwrap();
        let (from, to) =
            ((before + 12.0).ceil() as u64, (now().as_secs_f64() + 12.0).ceil() as u64);
        assert!((from..=to).contains(&reset));
    }

    #[test]
    fn an_independent_parser_reads_what_is_written() {
        let (outer, inner) = (Policy::new("out side.1", Quota::per_minute(7)), Quota::per_hour(9));
        let service = Chain::new()
            .use_(RateLimit::new(outer).concurrency(3).clock(LimitClock::fake()))
            .use_(RateLimit::new(inner).clock(LimitClock::fake()))
            .get(async || "hello")
            .build();
        let response = send(&service, request(ALICE));
        for (name, parameters) in [("ratelimit", ["r", "t"]), ("ratelimit-policy", ["q", "w"])] {
            let lines = all(&response, name);
            let list: sfv::List = sfv::Parser::new(&lines.join(", ")).parse().unwrap();
            let mut names = Vec::new();
            for entry in list {
                let sfv::ListEntry::Item(item) = entry else { panic!("{lines:?}") };
                names.push(item.bare_item.as_string().unwrap().as_str().to_owned());
                if names.last().is_some_and(|name| name == "concurrent") {
                    assert_eq!(
                        item.params["qu"].as_string().unwrap().as_str(),
                        "concurrent-requests"
                    );
                    continue;
                }
                for parameter in parameters {
                    assert!(item.params[parameter].as_integer().is_some_and(|i| i64::from(i) >= 0));
                }
            }
            names.retain(|name| name != "concurrent");
            names.sort();
            assert_eq!(names, ["9-in-1h", "out side.1"]);
        }
    }

    #[test]
    fn a_reset_is_never_negative() {
        let limit = RateLimit::new(Policy::new("p", Quota::new(5, secs(60))).cost(0));
        let limit = limit.headers([LimitHeaders::Draft6, LimitHeaders::XRateLimitDelta]);
        let response = send(&chain(limit.clock(LimitClock::fake())), request(ALICE));
        assert_eq!(header(&response, "ratelimit-reset"), "0");
        assert_eq!(header(&response, "x-ratelimit-reset"), "0");
    }

    #[test]
    fn retry_after_stands_on_refusals_alone() {
        let (limit, _) = hourly(1);
        let service = chain(limit.headers([]));
        let (first, second) = (send(&service, request(ALICE)), send(&service, request(ALICE)));
        assert_eq!((header(&first, "retry-after"), header(&second, "retry-after")), ("", "3600"));
        assert!(second.headers().keys().all(|name| !name.as_str().contains("ratelimit")));
    }
}

mod addresses {
    use super::*;

    /// Whether both are one client.
    fn are_one(key: LimitKey, one: &str, other: &str) -> bool {
        let service = chain(hourly(1).0.key(key));
        let at = |addr: &str| SocketAddr::new(addr.parse().unwrap(), 1).to_string();
        assert_eq!(status(&service, &at(one)), 200);
        status(&service, &at(other)) == 429
    }

    #[test]
    fn an_address_is_the_client_that_it_belongs_to() {
        let length = |length| LimitKey::client().ipv6_prefix(length);
        for (key, one, other, expected) in [
            (LimitKey::client(), "192.0.2.1", "192.0.2.2", false),
            (LimitKey::client(), "192.0.2.1", "::ffff:192.0.2.1", true),
            (LimitKey::client(), "192.0.2.1", "::ffff:c000:201", true),
            (LimitKey::client(), "::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            // These end in four numbers, and are IPv6 all the same.
            (LimitKey::client(), "2001:db8::192.0.2.1", "192.0.2.1", false),
            (LimitKey::client(), "2001:db8::192.0.2.1", "2001:db8::192.0.2.2", true),
            (LimitKey::client(), "::1", "0.0.0.1", false),
            (LimitKey::client(), "::1", "127.0.0.1", false),
            (LimitKey::client(), "2001:db8:0:0:0:0:0:1", "2001:db8::1", true),
            (LimitKey::client(), "2001:DB8::1", "2001:db8:0000::0001", true),
            (length(56), "2001:db8:0:ff::1", "2001:db8::1", true),
            (length(56), "2001:db8:0:100::1", "2001:db8::1", false),
            (length(63), "2001:db8:0:1::1", "2001:db8::1", true),
            (length(63), "2001:db8:0:2::1", "2001:db8::1", false),
            (length(128), "2001:db8::1", "2001:db8::2", false),
            (length(1), "2001:db8::1", "7fff::1", true),
        ] {
            assert_eq!(are_one(key, one, other), expected, "{one} and {other}");
        }
    }

    #[test]
    fn an_address_in_a_key_of_ones_own_counts_by_its_subnet_as_well() {
        let key =
            LimitKey::from_fn(|req| req.extensions().get::<PeerAddr>().map(|peer| peer.0.ip()));
        assert!(are_one(key.clone(), "2001:db8::1", "2001:db8::2"));
        assert!(are_one(key, "192.0.2.1", "::ffff:192.0.2.1"));
    }
}

mod memory {
    use super::*;

    #[test]
    fn a_key_is_counted_up_and_down_and_never_below_zero() {
        let handle = subjects(&hourly(5).0);
        handle.charge(alice(), 1).now_or_never();
        assert_eq!(remaining(&handle), 4);
        handle.charge(alice(), 2).now_or_never();
        assert_eq!(remaining(&handle), 2);
        handle.refund(alice(), 1).now_or_never();
        assert_eq!(remaining(&handle), 3);
        for _ in 0..9 {
            handle.refund(alice(), 1).now_or_never();
        }
        assert_eq!(remaining(&handle), 5);
        assert!(handle.admit(alice(), 5).now_or_never().unwrap().is_ok());
        assert!(handle.admit(alice(), 1).now_or_never().unwrap().is_err());
    }

    #[test]
    fn no_two_keys_share_a_count() {
        let (limit, _) = hourly(2);
        let handle = subjects(&limit);
        for at in 0..1000_u64 {
            handle.charge(at, 1).now_or_never();
        }
        for at in 0..1000_u64 {
            assert_eq!(handle.peek(at).now_or_never().unwrap()[0].remaining(), 1, "{at}");
        }
    }

    #[test]
    fn what_is_over_is_forgotten_by_the_requests_that_follow() {
        let (limit, clock) = hourly(5);
        let handle = subjects(&limit);
        let service = chain(limit);
        for at in 0..500_u64 {
            handle.charge(at, 1).now_or_never();
        }
        clock.advance(secs(3600));
        for _ in 0..20_000 {
            status(&service, ALICE);
        }
        assert_eq!(handle.limiter().keys(), 1);
    }
}

mod validations {
    use super::*;

    fn warnings(limit: RateLimit, req: impl Fn() -> Request) -> Vec<String> {
        let service = chain(limit);
        let log = logged(|| (0..3).for_each(|_| drop(send(&service, req()))));
        log.lines().filter(|line| line.contains("WARN")).map(str::to_owned).collect()
    }

    fn xff() -> Request {
        with(ALICE, "x-forwarded-for", "192.0.2.9")
    }

    fn trusting(network: &str) -> TrustedProxies {
        TrustedProxies::cidrs(ForwardedHeader::XForwardedFor, [network]).unwrap()
    }

    #[test]
    fn each_check_speaks_once_and_only_where_something_is_wrong() {
        let limit = || hourly(99).0;
        for (limit, req, said) in [
            (
                limit(),
                &Request::default as &dyn Fn() -> Request,
                Some("no request has a `PeerAddr`"),
            ),
            (limit(), &xff, Some("no proxy is trusted")),
            (limit(), &|| with(ALICE, "forwarded", "for=192.0.2.9"), Some("no proxy is trusted")),
            (limit(), &|| request(ALICE), None),
            (limit().trusted_proxies(trusting("192.0.2.1")), &xff, None),
            (limit().trusted_proxies(trusting("0.0.0.0/0")), &xff, Some("every address")),
            (limit().trusted_proxies(trusting("::/0")), &xff, Some("every address")),
            (
                limit().key(LimitKey::everyone()).count_failures(),
                &|| request(ALICE),
                Some("one client can use up the quota of all others"),
            ),
            (
                limit().key(LimitKey::everyone()).penalty(Quota::per_hour(1), secs(1)),
                &|| request(ALICE),
                Some("one client can block all others"),
            ),
        ] {
            let warnings = warnings(limit, req);
            match said {
                Some(said) => assert!(
                    warnings.len() == 1 && warnings[0].contains(said),
                    "{said}: {warnings:?}"
                ),
                None => assert!(warnings.is_empty(), "{warnings:?}"),
            }
        }
    }

    #[test]
    fn one_limiter_counts_a_request_once_or_says_so() {
        let (limit, _) = hourly(99);
        let twice = Chain::new().use_(limit.clone()).use_(limit).get(async || "hello").build();
        let log = logged(|| (0..3).for_each(|_| drop(send(&twice, request(ALICE)))));
        assert_eq!(log.matches("passed the same limiter twice").count(), 1, "{log}");
    }

    #[test]
    fn wrong_options_are_errors_that_say_what_to_change() {
        use RateLimitError as E;
        for (error, said) in [
            (Quota::try_new(0, secs(1)).unwrap_err(), "leave the route out"),
            (Quota::try_new(1, Duration::MAX).unwrap_err(), "shorten the period"),
            (LimitKey::client().try_ipv6_prefix(0).unwrap_err(), "1 to 128"),
            (LimitKey::client().try_ipv6_prefix(129).unwrap_err(), "1 to 128"),
            (Policy::try_new("\"", Quota::per_hour(1)).unwrap_err(), "use 1 to 64 letters"),
            (E::DuplicateName("a".into()), "give each its own name"),
        ] {
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
