//! Which subject a penalty, a block, a slot and a call of the handle concern.

use super::*;

fn account() -> LimitKey {
    LimitKey::header(HeaderName::from_static("x-account"))
}

fn call(service: &ChainService, peer: &str, account: &str) -> u16 {
    send(service, with(peer, "x-account", account)).status().as_u16()
}

#[test]
fn a_penalty_concerns_the_subject_whose_quota_was_used_up() {
    let everyone = Policy::new("all", Quota::per_hour(1)).key(LimitKey::everyone());
    let account = Policy::new("account", Quota::per_hour(1)).key(account());
    let address = Policy::new("address", Quota::per_hour(1));
    let generous = Policy::new("generous", Quota::per_second(1000));
    // The policies, and then for three requests after the strikes: the same address and account, the same address with another account, the same
    // account from another address.
    for (policies, blocked) in [
        (vec![address.clone()], [true, true, false]),
        (vec![generous.clone(), account.clone()], [true, false, true]),
        (vec![account.clone()], [true, false, true]),
        (vec![account, generous.clone()], [true, false, true]),
        (vec![generous, everyone], [false, false, false]),
    ] {
        let names: Vec<_> = policies.iter().map(|policy| policy.name.clone()).collect();
        let mut policies = policies.into_iter();
        let first = RateLimit::new(policies.next().unwrap());
        let limit = policies.fold(first, RateLimit::and).penalty(Quota::per_hour(2), secs(60));
        let service = chain(limit.clock(LimitClock::fake()));
        assert_eq!([(); 4].map(|()| call(&service, ALICE, "a")), [200, 429, 429, 429], "{names:?}");
        for ((peer, account), blocked) in
            [(ALICE, "a"), (ALICE, "b"), (BOB, "a")].into_iter().zip(blocked)
        {
            let response = send(&service, with(peer, "x-account", account));
            let is_blocked = response.status() == 429
                && body(response)["type"].as_str().unwrap().ends_with("abnormal-usage-detected");
            assert_eq!(is_blocked, blocked, "{names:?} {peer} {account}");
        }
    }
}

#[test]
fn of_a_hierarchy_the_smallest_network_is_penalised_blocked_and_given_slots() {
    let key = || LimitKey::client().ipv6_hierarchy();
    let (here, there, wide) =
        ("[2001:db8:7:1::1]:1", "[2001:db8:7:2::1]:1", "[2001:db8:7:f00::1]:1");

    let limit = RateLimit::new(Quota::new(1, secs(1))).key(key());
    let service = chain(limit.penalty(Quota::per_hour(1), secs(60)).clock(LimitClock::fake()));
    assert_eq!([(); 4].map(|()| status(&service, here)), [200, 429, 429, 429]);
    assert_eq!([status(&service, there), status(&service, wide)], [200, 200]);

    let limit = RateLimit::per_second(100).key(key()).clock(LimitClock::fake());
    let handle = limit.handle().policies::<IpAddr>().unwrap();
    let service = chain(limit);
    let addr = |peer: &str| peer.parse::<SocketAddr>().unwrap().ip();
    assert!(handle.block(addr(here), secs(60)).now_or_never().unwrap());
    assert_eq!([here, there, wide].map(|peer| status(&service, peer)), [429, 200, 200]);
    assert!(handle.unblock(addr(here)).now_or_never().unwrap());
    assert_eq!(status(&service, here), 200);

    let limit = RateLimit::per_second(100).key(key()).concurrency(1).clock(LimitClock::fake());
    let service = chain(limit);
    let running = [here, there, wide].map(|peer| send(&service, request(peer)));
    assert_eq!(running.each_ref().map(|response| response.status().as_u16()), [200; 3]);
    assert_eq!([here, there, wide].map(|peer| status(&service, peer)), [429; 3]);

    // A network that others have used up is refused, and not blocked.
    let limit = RateLimit::new(Quota::new(1, secs(1))).key(key());
    let service = chain(limit.penalty(Quota::per_hour(1), secs(60)).clock(LimitClock::fake()));
    for subnet in 0x100..0x104 {
        assert_eq!(status(&service, &format!("[2001:db8:7:{subnet:x}::1]:1")), 200);
    }
    let refused: Vec<_> =
        (0..4).map(|_| body(send(&service, request("[2001:db8:7:1ff::1]:1")))).collect();
    assert!(refused.iter().all(|body| body["type"].as_str().unwrap().ends_with("quota-exceeded")));
}

#[test]
fn penalties_double_up_to_a_bound_and_start_again_after_a_quiet_time() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Quota::new(1, secs(3600)))
        .penalty(Quota::new(1, secs(1)), secs(10))
        .doubling_penalty(secs(60))
        .clock(clock.clone());
    let handle = limit.handle().policies::<IpAddr>().unwrap();
    let service = chain(limit);
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let block = || {
        for _ in 0..4 {
            status(&service, ALICE);
        }
        let time = handle.blocked_for(alice).now_or_never().unwrap().unwrap();
        clock.advance(time);
        time.as_secs()
    };
    assert_eq!([(); 5].map(|()| block()), [10, 20, 40, 60, 60]);
    clock.advance(secs(59));
    assert_eq!(block(), 60);
    clock.advance(secs(61));
    assert_eq!([(); 2].map(|()| block()), [10, 20]);
    // A client that was reset starts again as well.
    handle.reset(alice).now_or_never();
    assert_eq!(block(), 10);
}

#[test]
fn slots_count_under_the_key_of_the_limiter_or_of_the_first_policy() {
    let generous = || Policy::new("generous", Quota::per_second(1000));
    for (limit, expected) in [
        (RateLimit::new(generous()), [429, 429, 200]),
        (RateLimit::new(generous()).key(account()), [429, 200, 429]),
        (RateLimit::new(generous().key(account())), [429, 200, 429]),
        (
            RateLimit::new(generous())
                .and(Policy::new("account", Quota::per_second(1000)).key(account())),
            [429, 429, 200],
        ),
    ] {
        let service = chain(limit.concurrency(1).clock(LimitClock::fake()));
        let running = send(&service, with(ALICE, "x-account", "a"));
        assert_eq!(running.status(), 200);
        let statuses = [(ALICE, "a"), (ALICE, "b"), (BOB, "a")]
            .map(|(peer, account)| call(&service, peer, account));
        assert_eq!(statuses, expected);
    }
}

#[derive(Clone)]
struct Member {
    user: u64,
    tenant: u64,
}

/// A limiter with policies for users and tenants, which are both numbers, and a chain with it.
fn members() -> (RateLimit, ChainService) {
    let user = LimitKey::provided(|member: &Member| member.user);
    let tenant = LimitKey::provided(|member: &Member| member.tenant);
    let limit = RateLimit::new(Policy::new("user", Quota::per_hour(10)).key(user.clone()))
        .and(Policy::new("tokens", Quota::per_hour(5000)).key(user).cost(0))
        .and(Policy::new("tenant", Quota::per_hour(100)).key(tenant))
        .clock(LimitClock::fake());
    (limit.clone(), chain(limit))
}

fn member(service: &ChainService, user: u64, tenant: u64) -> Response {
    let mut req = request(ALICE);
    req.extensions_mut().insert(Member { user, tenant });
    send(service, req)
}

#[test]
fn a_call_of_the_handle_concerns_one_policy() {
    let (limit, service) = members();
    let handle = limit.handle();
    let [users, tokens, tenants] =
        ["user", "tokens", "tenant"].map(|name| handle.policy::<u64>(name).unwrap());
    let left = |of: &PolicyHandle<u64>| of.peek(1_u64).now_or_never().unwrap()[0].remaining();
    let all = || [left(&users), left(&tokens), left(&tenants)];
    users.charge(1_u64, 3).now_or_never();
    assert_eq!(all(), [7, 5000, 100]);
    tokens.charge(1_u64, 5000).now_or_never();
    assert_eq!(all(), [7, 0, 100]);
    assert!(tenants.admit(1_u64, 60).now_or_never().unwrap().is_ok());
    assert_eq!(all(), [7, 0, 40]);
    tokens.refund(1_u64, 50).now_or_never();
    assert!(users.reset(1_u64).now_or_never().unwrap());
    assert_eq!(all(), [10, 50, 40]);
    assert_eq!(member(&service, 1, 1).status(), 200);
    assert_eq!(all(), [9, 50, 39]);
    // A block of a user refuses this user, and not the tenant with the same number.
    assert!(users.block(7_u64, secs(60)).now_or_never().unwrap());
    assert_eq!(users.blocked_for(7_u64).now_or_never().unwrap(), Some(secs(60)));
    assert_eq!(tenants.blocked_for(7_u64).now_or_never().unwrap(), None);
    assert_eq!([member(&service, 7, 1).status(), member(&service, 1, 7).status()], [429, 200]);
    assert!(users.unblock(7_u64).now_or_never().unwrap());
    assert_eq!(member(&service, 7, 1).status(), 200);
}

#[test]
fn a_handle_for_a_wrong_name_or_type_is_an_error() {
    use RateLimitError as E;
    let (limit, _) = members();
    let handle = limit.handle();
    assert_eq!(handle.policy::<u64>("users").unwrap_err(), E::UnknownPolicy("users".into()));
    for error in [
        handle.policy::<IpAddr>("user").map(drop),
        handle.policy::<String>("user").map(drop),
        handle.policy::<()>("tenant").map(drop),
    ] {
        assert_eq!(error, Err(E::SubjectType("u64")));
    }
    assert!(handle.policy::<Subject>("user").is_ok());
    assert_eq!(handle.policies::<u64>().unwrap_err(), E::SeveralKeys);
    let header = RateLimit::per_hour(1).key(account()).handle();
    assert_eq!(header.policies::<u64>().map(drop), Err(E::SubjectType("alloc::string::String")));
    assert!(header.policies::<String>().is_ok());
    let everyone = RateLimit::per_hour(1).key(LimitKey::everyone()).clock(LimitClock::fake());
    let handle = everyone.handle().policies::<()>().unwrap();
    handle.charge((), 1).now_or_never();
    assert_eq!(status(&chain(everyone), ALICE), 429);
}

#[test]
fn slots_need_no_quota_and_are_shared_with_other_work() {
    let limit = RateLimit::concurrent(2).clock(LimitClock::fake());
    let handle = limit.handle();
    let slots = handle.slots::<IpAddr>().unwrap();
    let service = chain(limit);
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let acquire = || slots.acquire(alice).now_or_never().unwrap();
    let socket = acquire().unwrap();
    let running = send(&service, request(ALICE));
    assert_eq!(running.status(), 200);
    let field = r#""concurrent";q=2;qu="concurrent-requests""#;
    assert_eq!(all(&running, "ratelimit-policy"), [field]);
    let refused = send(&service, request(ALICE));
    assert_eq!((refused.status().as_u16(), header(&refused, "retry-after")), (429, "1"));
    assert_eq!(acquire().unwrap_err().verdict(), Verdict::Busy);
    assert_eq!(status(&service, BOB), 200);
    drop(socket);
    let again = acquire().unwrap();
    drop(running);
    assert_eq!(status(&service, ALICE), 200);
    drop(again);
    // All slots are free, and none is kept in memory.
    assert_eq!(handle.keys(), 0);
    assert_eq!(handle.totals().count(Verdict::Busy), 2);
    // A subject that is blocked gets no slot.
    let clients = handle.policies::<IpAddr>().unwrap();
    assert!(clients.block(alice, secs(60)).now_or_never().unwrap());
    assert_eq!(acquire().unwrap_err().verdict(), Verdict::Blocked);

    let error = RateLimit::per_hour(1).handle().slots::<IpAddr>().unwrap_err();
    assert_eq!(error, RateLimitError::NoConcurrency);
    assert!(handle.slots::<u64>().is_err());
    assert_eq!(RateLimit::try_concurrent(0).unwrap_err(), RateLimitError::ZeroLimit);
    let shadow = RateLimit::concurrent(1).shadow().handle().slots::<IpAddr>().unwrap();
    let both = [0, 1].map(|_| shadow.acquire(alice).now_or_never().unwrap().is_ok());
    assert_eq!(both, [true, true]);
}

/// Settings that have no effect, or with which nothing is admitted.
#[test]
fn settings_that_can_never_work_are_errors_where_they_are_set() {
    let zero = Duration::ZERO;
    let limit = || RateLimit::per_minute(10);
    let blocks = || limit().penalty(Quota::per_minute(1), secs(60));
    let cases = [
        (limit().try_doubling_penalty(secs(60)).err(), "call `penalty` before `doubling_penalty`"),
        (blocks().try_doubling_penalty(secs(60)).err(), "longer than the block of `penalty`"),
        (SlotQueue::try_new(zero).err(), "the longest wait for a slot is zero"),
        (limit().try_concurrency(0).err(), "allow at least 1 request"),
        (limit().try_max_keys(0).err(), "`max_keys` must be at least 1"),
    ];
    for (error, part) in cases {
        let message = error.unwrap_or_else(|| panic!("{part}")).to_string();
        assert!(message.contains(part), "{message}");
    }
    assert!(blocks().try_doubling_penalty(secs(61)).is_ok());
    // The longest block stays if the penalty is set again and is shorter.
    let again = |block| blocks().doubling_penalty(secs(100)).penalty(Quota::per_minute(1), block);
    let longest = |limit: RateLimit| limit.limiter.settings.penalty.unwrap().longest;
    assert_eq!(longest(again(secs(1))), Some(secs(100)));
    assert_eq!(longest(again(secs(100))), None);
}

/// It could be right with a delay, so it is not an error.
#[test]
fn a_cost_above_the_burst_is_reported_once() {
    let policy = |cost| Policy::new("export", Quota::per_minute(5)).cost(cost);
    for (limit, is_reported) in [
        (RateLimit::new(policy(6)), true),
        (RateLimit::new(policy(5)), false),
        (RateLimit::new(policy(6)).delay(secs(60)), false),
        (RateLimit::new(policy(6).quota_by(|_| None)), false),
        (RateLimit::new(policy(1).cost_by(|_| 6)), false),
    ] {
        let log = Log::start();
        let service = chain(limit.clock(LimitClock::fake()));
        for _ in 0..3 {
            drop(service.handle(request(ALICE)).now_or_never());
        }
        let reports = log.text().matches("the cost is above the burst").count();
        assert_eq!(reports, usize::from(is_reported), "{}", log.text());
    }
}
