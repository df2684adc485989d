//! Policies in shadow mode, and what operators see of refusals.

use super::*;

fn left(handle: &RateLimitHandle, policy: &str) -> u32 {
    let alice: IpAddr = "192.0.2.1".parse().unwrap();
    let handle = handle.policy::<IpAddr>(policy).unwrap();
    handle.peek(alice).now_or_never().unwrap()[0].remaining()
}

#[test]
fn a_policy_in_shadow_mode_refuses_nothing_and_the_others_do() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let limit = RateLimit::new(Policy::new("trial", Quota::per_hour(2)).shadow())
        .and(Policy::new("real", Quota::per_hour(4)))
        .observe(move |_, decision| {
            let names = |names: Vec<&str>| names.join(",");
            let shadowed = names(decision.shadowed().collect());
            let violated = names(decision.violated().collect());
            log.lock().unwrap().push((decision.is_admitted(), shadowed, violated));
        })
        .penalty(Quota::per_hour(1), secs(60))
        .clock(LimitClock::fake());
    let handle = limit.handle();
    let service = chain(limit);
    for real in [3, 2, 1, 0] {
        let response = send(&service, request(ALICE));
        assert_eq!(response.status(), 200);
        // No client sees the trial.
        assert!(header(&response, "ratelimit").starts_with(&format!("\"real\";r={real}")));
        assert_eq!(all(&response, "ratelimit-policy").len(), 1);
    }
    assert_eq!([left(&handle, "trial"), left(&handle, "real")], [0, 0]);
    let refused = send(&service, request(ALICE));
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "ratelimit"), r#""real";r=0;t=900"#);
    assert_eq!(body(refused)["violated-policies"], serde_json::json!(["real"]));
    let seen = seen.lock().unwrap();
    let expected = [
        (true, "", ""),
        (true, "", ""),
        (true, "trial", ""),
        (true, "trial", ""),
        (false, "trial", "real"),
    ];
    let expected = expected.map(|(is, trial, real)| (is, trial.to_owned(), real.to_owned()));
    assert_eq!(*seen, expected);
    let totals = |name| handle.refusals(name).map(|totals| (totals.refused(), totals.shadowed()));
    assert_eq!([totals("trial"), totals("real")], [Some((0, 3)), Some((1, 0))]);
    assert_eq!(totals("other"), None);
}

#[test]
fn a_trial_is_charged_only_where_it_fits_and_collects_no_strikes() {
    let clock = LimitClock::fake();
    let policy = Policy::new("trial", Quota::per_minute(3)).shadow();
    let limit = RateLimit::new(policy.clone()).penalty(Quota::per_hour(1), secs(60));
    let service = chain(limit.clock(clock.clone()));
    assert_eq!([(); 9].map(|()| status(&service, ALICE)), [200; 9]);
    // A request that costs more than the quota, and one whose charge would be refunded.
    for limit in [
        RateLimit::new(policy.clone().cost(7)),
        RateLimit::new(policy.clone()).count_failures(),
        RateLimit::new(policy.clone()).delay(secs(9)),
        RateLimit::new(policy.clone().settle(|_| Some(2))),
    ] {
        let limit = limit.clock(clock.clone());
        let handle = limit.handle();
        let service = chain(limit);
        assert_eq!([(); 5].map(|()| status(&service, ALICE)), [200; 5]);
        assert!(left(&handle, "trial") <= 3);
    }
    // The rest fits again as time goes on.
    let limit = RateLimit::new(policy).clock(clock.clone());
    let handle = limit.handle();
    let service = chain(limit);
    assert_eq!([(); 5].map(|()| status(&service, ALICE)), [200; 5]);
    clock.advance(secs(20));
    assert_eq!(left(&handle, "trial"), 1);
    status(&service, ALICE);
    assert_eq!(left(&handle, "trial"), 0);
    assert_eq!(handle.refusals("trial").unwrap().shadowed(), 2);
    assert_eq!(handle.totals().count(Verdict::Admitted), 6);
}

#[test]
fn a_limiter_in_shadow_mode_counts_as_such_for_each_policy() {
    let limit = RateLimit::new(Policy::new("p", Quota::per_hour(1))).clock(LimitClock::fake());
    for (limit, expected) in
        [(limit.clone().max_keys(9), (3, 0)), (limit.max_keys(9).shadow(), (3, 3))]
    {
        let handle = limit.handle();
        let service = chain(limit);
        for _ in 0..4 {
            status(&service, ALICE);
        }
        let totals = handle.refusals("p").unwrap();
        // The two share their counters, as clones.
        assert_eq!((totals.refused(), totals.shadowed()), expected);
    }
}

#[test]
fn the_clients_that_are_limited_most_are_known() {
    let pseudonyms = Arc::new(std::sync::Mutex::new(std::collections::HashMap::new()));
    let known = pseudonyms.clone();
    let limit = RateLimit::per_hour(1)
        .observe(move |req, decision| {
            let peer = req.extensions().get::<PeerAddr>().unwrap().0.ip();
            known.lock().unwrap().insert(peer, decision.client().unwrap());
        })
        .clock(LimitClock::fake());
    let handle = limit.handle();
    let service = chain(limit);
    assert_eq!(handle.most_limited(), []);
    // Three heavy clients in a flood of a thousand light ones.
    for at in 0..1000_u32 {
        let light = format!("198.51.{}.{}:1", at / 250, at % 250);
        for _ in 0..2 {
            status(&service, &light);
        }
        for (peer, every) in [("192.0.2.1:1", 1), ("192.0.2.2:1", 2), ("192.0.2.3:1", 4)] {
            if at % every == 0 {
                status(&service, peer);
            }
        }
    }
    let most = handle.most_limited();
    assert_eq!(most.len(), 32);
    assert!(most.is_sorted_by_key(|(_, count)| std::cmp::Reverse(*count)));
    let pseudonyms = pseudonyms.lock().unwrap();
    for (at, (peer, refused)) in
        [("192.0.2.1", 999), ("192.0.2.2", 499), ("192.0.2.3", 249)].into_iter().enumerate()
    {
        let (client, count) = most[at];
        assert_eq!(client, pseudonyms[&peer.parse::<IpAddr>().unwrap()], "{peer}");
        assert!(count >= refused && count <= refused + 60, "{peer}: {count}");
    }
}
