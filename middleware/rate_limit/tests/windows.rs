//! Quotas that are counted in windows.

use super::*;

const DAY: u64 = 24 * 3600;

fn alice() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn admitted(service: &ChainService, requests: usize) -> usize {
    (0..requests).filter(|_| status(service, ALICE) == 200).count()
}

#[test]
fn a_day_starts_at_midnight_utc() {
    let clock = LimitClock::fake();
    clock.advance(secs(20_000 * DAY + 23 * 3600));
    let service = chain(RateLimit::new(Quota::per_day(3).from_midnight_utc()).clock(clock.clone()));
    let first = send(&service, request(ALICE));
    assert_eq!(header(&first, "ratelimit"), r#""3-in-1d";r=2;t=3600"#);
    assert_eq!(header(&first, "ratelimit-policy"), r#""3-in-1d";q=3;w=86400"#);
    assert_eq!(admitted(&service, 9), 2);
    clock.advance(Duration::from_millis(500));
    let refused = send(&service, request(ALICE));
    assert_eq!(header(&refused, "ratelimit"), r#""3-in-1d";r=0;t=3600"#);
    assert_eq!(header(&refused, "retry-after"), "3600");
    clock.advance(secs(3599));
    assert_eq!(admitted(&service, 9), 0);
    clock.advance(Duration::from_millis(500));
    assert_eq!(admitted(&service, 9), 3);
    // The whole of the next day, and not the three requests that would come back in it one by one.
    for _ in 0..23 {
        clock.advance(secs(3600));
        assert_eq!(admitted(&service, 9), 0);
    }
    clock.advance(secs(3600));
    assert_eq!(admitted(&service, 9), 3);
    // Days without a request leave nothing.
    clock.advance(secs(100 * DAY));
    assert_eq!(admitted(&service, 9), 3);
}

#[test]
fn a_fixed_window_starts_with_the_first_request_and_admits_the_limit_once() {
    let clock = LimitClock::fake();
    clock.advance(secs(437));
    let limit = RateLimit::new(Quota::new(100, secs(900)).fixed_window()).clock(clock.clone());
    let service = chain(limit.headers([LimitHeaders::Ietf, LimitHeaders::Draft6]));
    for _ in 0..3 {
        let first = send(&service, request(ALICE));
        assert_eq!(header(&first, "ratelimit"), r#""100-in-15min";r=99;t=901"#);
        assert_eq!(all(&first, "ratelimit-policy"), [r#""100-in-15min";q=100;w=900"#, "100;w=900"]);
        assert_eq!(admitted(&service, 150), 99);
        let mut later = 0;
        for _ in 0..899 {
            clock.advance(secs(1));
            later += admitted(&service, 1);
        }
        assert_eq!(later, 0);
        clock.advance(secs(777));
    }
    // Another client has another window.
    assert_eq!(admitted(&service, 150), 100);
    clock.advance(secs(600));
    assert_eq!(status(&service, BOB), 200);
    clock.advance(secs(301));
    let statuses = [send(&service, request(ALICE)), send(&service, request(BOB))];
    let left = statuses.each_ref().map(|response| header(response, "ratelimit-remaining"));
    assert_eq!(left, ["99", "98"]);
}

#[test]
fn whoever_obeys_retry_after_is_admitted_in_the_next_window() {
    for quota in [
        Quota::new(7, secs(60)).from_midnight_utc(),
        Quota::new(7, secs(60)).fixed_window(),
        Quota::new(1_000, secs(3600)).from_midnight_utc(),
        Quota::new(3, secs(7 * DAY)).from_midnight_utc(),
    ] {
        let clock = LimitClock::fake();
        clock.advance(Duration::from_millis(98_765_432));
        let service = chain(RateLimit::new(quota).clock(clock.clone()));
        for _ in 0..5 {
            let limit = quota.limit() as usize;
            assert_eq!(admitted(&service, limit + 5), limit, "{quota:?}");
            let refused = send(&service, request(ALICE));
            let wait: u64 = header(&refused, "retry-after").parse().unwrap();
            assert!(secs(wait) <= quota.period() + secs(1));
            clock.advance(secs(wait));
        }
    }
}

/// Decides by counting requests in windows.
#[derive(Default)]
struct Oracle {
    end: u64,
    count: u64,
}

#[test]
fn random_requests_agree_with_a_count_by_window() {
    const SECOND: u64 = 1_000_000_000;
    let (length, most) = (60 * SECOND, 5);
    let mut random = 42_u64;
    let mut below = |n: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % n
    };
    for fixed in [false, true] {
        let clock = LimitClock::fake();
        let quota = Quota::new(5, secs(60));
        let quota = if fixed { quota.fixed_window() } else { quota.from_midnight_utc() };
        let policy = Policy::new("p", quota).key(LimitKey::from_fn(|_| Some(0_u64)));
        let limit = RateLimit::new(policy).clock(clock.clone());
        let handle = limit.handle().policies::<u64>().unwrap();
        let mut oracles: [Oracle; 4] = Default::default();
        let (mut now, mut decided) = (0, [0, 0]);
        for _ in 0..20_000 {
            let pause = [0, 0, below(SECOND), below(20 * SECOND), below(200 * SECOND)];
            let pause = pause[below(5) as usize];
            clock.advance(Duration::from_nanos(pause));
            now += pause;
            let client = below(4);
            let oracle = &mut oracles[client as usize];
            if oracle.end <= now {
                oracle.end = match fixed {
                    // Windows end at multiples of 16 times 6 microseconds.
                    true => (now + length).next_multiple_of(96_000),
                    false => now - now % length + length,
                };
                oracle.count = 0;
            }
            let cost = below(4);
            let fits = cost == 0 || oracle.count + cost <= most;
            let admitted = handle.admit(client, cost as u32).now_or_never().unwrap();
            assert_eq!(admitted.is_ok(), fits, "{fixed} {now} {cost} of {}", oracle.count);
            if fits {
                oracle.count += cost;
            } else {
                let wait = admitted.unwrap_err().retry_after().unwrap().as_secs();
                assert_eq!(wait, (oracle.end - now).div_ceil(SECOND));
            }
            if fixed && oracle.count == 0 {
                // A request that costs nothing opens no window.
                oracle.end = 0;
            }
            decided[usize::from(fits)] += 1;
            let standing = &handle.peek(client).now_or_never().unwrap()[0];
            assert_eq!(u64::from(standing.remaining()), most - oracle.count);
            let until_end = if oracle.count == 0 { 0 } else { oracle.end - now };
            assert_eq!(standing.full(), Duration::from_nanos(until_end));
        }
        assert!(decided.iter().all(|count| *count > 2_000), "{decided:?}");
        // What is over is removed.
        clock.advance(secs(3600));
        (0..10_000_u64).for_each(|at| drop(handle.admit(at % 300, 1).now_or_never()));
        assert!(handle.limiter().keys() <= 300);
    }
}

#[test]
fn what_is_refunded_after_its_window_gives_the_next_one_nothing() {
    for quota in [Quota::per_day(3).from_midnight_utc(), Quota::new(3, secs(DAY)).fixed_window()] {
        let clock = LimitClock::fake();
        clock.advance(secs(100 * DAY));
        let limit = RateLimit::new(quota).count_failures().clock(clock.clone());
        let handle = subjects(&limit);
        let left = || handle.peek(alice()).now_or_never().unwrap()[0].remaining();
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let closed = gate.clone();
        let answer = move || {
            let gate = closed.clone();
            async move { drop(gate.acquire().await) }
        };
        let service = Chain::new().use_(limit).get(answer).build();
        let mut yesterday = service.handle(request(ALICE));
        assert!((&mut yesterday).now_or_never().is_none());
        assert_eq!(left(), 2);
        clock.advance(secs(DAY + 1));
        handle.charge(alice(), 2).now_or_never();
        assert_eq!(left(), 1);
        let mut today = service.handle(request(ALICE));
        assert!((&mut today).now_or_never().is_none());
        assert_eq!(left(), 0);
        gate.add_permits(2);
        assert_eq!(yesterday.now_or_never().unwrap().status(), 200);
        assert_eq!(left(), 0);
        // Within the window it is refunded in full, however long the request took.
        clock.advance(secs(DAY / 2));
        assert_eq!(today.now_or_never().unwrap().status(), 200);
        assert_eq!(left(), 1);
        handle.refund(alice(), 1).now_or_never();
        assert_eq!(left(), 2);
        handle.refund(alice(), 100).now_or_never();
        assert_eq!(left(), 3);
    }
}

#[test]
fn a_debt_is_carried_into_the_next_days() {
    let clock = LimitClock::fake();
    clock.advance(secs(100 * DAY));
    let policy = Policy::new("p", Quota::per_day(100).from_midnight_utc());
    let limit = RateLimit::new(policy.settle(|_| Some(250))).clock(clock.clone());
    let handle = subjects(&limit);
    let service = chain(limit);
    clock.advance(secs(3600));
    let first = send(&service, request(ALICE));
    assert_eq!(header(&first, "ratelimit"), format!("\"p\";r=0;t={}", 2 * DAY - 3600));
    let refused = send(&service, request(ALICE));
    assert_eq!(header(&refused, "retry-after"), (2 * DAY - 3600).to_string());
    clock.advance(secs(DAY));
    assert_eq!(handle.peek(alice()).now_or_never().unwrap()[0].remaining(), 0);
    clock.advance(secs(DAY));
    assert_eq!(handle.peek(alice()).now_or_never().unwrap()[0].remaining(), 50);
    clock.advance(secs(DAY));
    assert_eq!(handle.peek(alice()).now_or_never().unwrap()[0].remaining(), 100);
}

#[test]
fn windows_and_other_policies_are_decided_together() {
    let clock = LimitClock::fake();
    let limit = RateLimit::new(Policy::new("burst", Quota::per_second(2)))
        .and(Policy::new("daily", Quota::per_day(5).from_midnight_utc()))
        .key(LimitKey::client().ipv6_hierarchy())
        .clock(clock.clone());
    let service = chain(limit);
    let call = |subnet: u32| status(&service, &format!("[2001:db8:7:{subnet:x}::1]:1"));
    assert_eq!([call(0), call(0), call(0)], [200, 200, 429]);
    clock.advance(secs(10));
    assert_eq!([call(0), call(0), call(0)], [200, 200, 429]);
    clock.advance(secs(10));
    assert_eq!([call(0), call(0), call(0)], [200, 429, 429]);
    // The /48 has sixteen times the quota of a day.
    let mut admitted = 5;
    for second in 0..600 {
        clock.advance(secs(1));
        admitted += usize::from(call(0x100 * (second % 200 + 1)) == 200);
    }
    assert_eq!(admitted, 80);
}

#[test]
fn wrong_windows_fail_where_they_are_built() {
    use RateLimitError as E;
    for (quota, error) in [
        (Quota::new(5, secs(7 * 3600)).try_from_midnight_utc(), E::Window),
        (Quota::new(5, secs(DAY + 1)).try_from_midnight_utc(), E::Window),
        (Quota::new(5, secs(60)).from_midnight_utc().try_burst(2), E::Window),
        (Quota::new(5, secs(60)).fixed_window().try_burst(2), E::Window),
        (Quota::new(1_000_001, secs(1)).try_from_midnight_utc(), E::TooFast),
        (Quota::new(3_906, secs(1)).try_fixed_window(), E::TooFast),
    ] {
        assert_eq!(quota, Err(error));
    }
    for quota in [
        Quota::new(60, secs(60)).burst(3),
        Quota::per_day(7).from_midnight_utc().utc_offset(330),
        Quota::calendar(7, CalendarPeriod::Week).utc_offset(-1_439),
        Quota::calendar(7, CalendarPeriod::Month),
        Quota::calendar(7, CalendarPeriod::Month).utc_offset(-300),
        Quota::per_day(10_000).from_midnight_utc(),
        Quota::new(3_905, secs(1)).fixed_window(),
        Quota::new(1_000_000, secs(1)).from_midnight_utc(),
    ] {
        assert_eq!(Quota::from_text(&quota.to_text()), Some(quota));
        assert_eq!(quota.period(), Quota::from_text(&quota.to_text()).unwrap().period());
    }
    for text in [
        "",
        "5",
        "5 0 5",
        "5 60000000000 5 other",
        "5 60000000000 5 fixed 1",
        "-1 1 1",
        "7 86400000000000 7 calendar 86400000000000",
        "7 1 7 month",
        "7 1 7 month x",
    ] {
        assert_eq!(Quota::from_text(text), None, "{text}");
    }
}
