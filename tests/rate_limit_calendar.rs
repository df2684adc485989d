//! Windows by the calendar: months, weeks, and local times.

#![cfg(feature = "rate-limit")]
#![allow(clippy::unwrap_used, reason = "what fails in a test should stop it")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::FutureExt;
use tower_chain::extract::PeerAddr;
use tower_chain::middleware::rate_limit::{
    CalendarPeriod, LimitClock, LimitHeaders, Policy, Quota, RateLimitError,
};
use tower_chain::{Body, Chain, ChainService, RateLimit, Request, Response};

const ALICE: &str = "192.0.2.1:4000";

fn request(peer: &str) -> Request {
    let peer: SocketAddr = peer.parse().unwrap();
    http::Request::get("/").extension(PeerAddr(peer)).body(Body::empty()).unwrap()
}

fn send(service: &ChainService, req: Request) -> Response {
    service.handle(req).now_or_never().expect("nothing waits")
}

fn status(service: &ChainService, peer: &str) -> u16 {
    send(service, request(peer)).status().as_u16()
}

fn chain(limit: RateLimit) -> ChainService {
    Chain::new().use_(limit).get(async || "hello").build()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn all<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const DAY: u64 = 24 * 3600;

/// The seconds from 1970 to this day.
fn date(year: u64, month: usize, day: u64) -> u64 {
    let years = (1970..year).map(|year| (1..=12).map(|month| days(year, month)).sum::<u64>());
    let months = (1..month).map(|month| days(year, month));
    (years.sum::<u64>() + months.sum::<u64>() + day - 1) * DAY
}

fn days(year: u64, month: usize) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
}

/// A limiter at this time. Its clock starts in 1970, or elsewhere in between.
fn at(time: u64, quota: Quota) -> (ChainService, LimitClock) {
    let clock = LimitClock::fake();
    clock.advance(secs(time));
    let limit = RateLimit::new(quota).headers([LimitHeaders::Ietf, LimitHeaders::Draft6]);
    (chain(limit.clock(clock.clone())), clock)
}

/// Checks that a window ends after so many seconds: what the fields show, and what is admitted until then and from then on.
fn ends_after(service: &ChainService, clock: &LimitClock, wait: u64, window: u64, case: &str) {
    let first = send(service, request(ALICE));
    assert_eq!(first.status(), 200, "{case}");
    let end = format!(";r=2;t={wait}");
    assert!(header(&first, "ratelimit").ends_with(&end), "{case} {}", header(&first, "ratelimit"));
    let policies = all(&first, "ratelimit-policy");
    assert!(policies[0].ends_with(&format!(";q=3;w={window}")), "{case} {policies:?}");
    assert_eq!(policies[1], format!("3;w={window}"), "{case}");
    assert_eq!([status(service, ALICE), status(service, ALICE)], [200, 200], "{case}");
    let refused = send(service, request(ALICE));
    let retry = header(&refused, "retry-after").to_owned();
    assert_eq!((refused.status().as_u16(), retry), (429, wait.to_string()), "{case}");
    clock.advance(secs(wait) - Duration::from_nanos(1));
    assert_eq!(status(service, ALICE), 429, "{case}");
    clock.advance(Duration::from_nanos(1));
}

#[test]
fn a_month_lasts_from_its_first_to_its_last_day() {
    for year in [1999, 2000, 2023, 2024, 2027, 2096, 2100] {
        // One client through all months of a year, in UTC and in local times.
        for minutes in [0, 330, -300, 840, -720] {
            let offset = |time: u64| time.checked_add_signed(-i64::from(minutes) * 60).unwrap();
            let quota = Quota::calendar(3, CalendarPeriod::Month).utc_offset(minutes);
            let (service, clock) = at(offset(date(year, 1, 1)), quota);
            for month in 1..=12 {
                let case = format!("{year}-{month} {minutes}");
                let length = days(year, month) * DAY;
                ends_after(&service, &clock, length, length, &case);
            }
        }
    }
    // From any time of a month on.
    for (year, month, day, second) in
        [(2024, 2, 29, DAY - 1), (2023, 2, 28, DAY / 2), (2025, 12, 31, 1), (2026, 4, 30, 7)]
    {
        let quota = Quota::calendar(3, CalendarPeriod::Month);
        let (service, clock) = at(date(year, month, day) + second, quota);
        ends_after(&service, &clock, DAY - second, days(year, month) * DAY, "the last day");
        let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
        let length = days(year, month) * DAY;
        ends_after(&service, &clock, length, length, "the month after");
    }
}

#[test]
fn weeks_begin_on_monday_and_all_windows_at_local_midnight() {
    use CalendarPeriod::{Day, Hour, Week};
    // Monday 2026-01-05.
    let monday = date(2026, 1, 5);
    for (period, length, minutes, now, wait) in [
        (Week, 7 * DAY, 0, monday, 7 * DAY),
        (Week, 7 * DAY, 0, monday - 1, 1),
        (Week, 7 * DAY, 0, monday + 3 * DAY, 4 * DAY),
        (Week, 7 * DAY, 60, monday - 3_600, 7 * DAY),
        (Week, 7 * DAY, 60, monday - 3_601, 1),
        (Week, 7 * DAY, -60, monday, 3_600),
        (Day, DAY, 0, monday + 5, DAY - 5),
        (Day, DAY, 330, monday, DAY - 330 * 60),
        (Day, DAY, -480, monday, 480 * 60),
        (Day, DAY, -1_439, monday, 1_439 * 60),
        (Hour, 3_600, 0, monday + 1_800, 1_800),
        (Hour, 3_600, 330, monday, 1_800),
        (Hour, 3_600, -345, monday, 2_700),
        (Hour, 3_600, 60, monday, 3_600),
    ] {
        let case = format!("{period:?} {minutes} {now}");
        // A second call replaces the first.
        let quota = Quota::calendar(3, period).utc_offset(77).utc_offset(minutes);
        let (service, clock) = at(now, quota);
        ends_after(&service, &clock, wait, length, &case);
        ends_after(&service, &clock, length, length, &case);
    }
    let (service, clock) = at(monday, Quota::new(3, secs(900)).from_midnight_utc().utc_offset(5));
    ends_after(&service, &clock, 600, 900, "a quarter of an hour");
    // Other quotas have no offset.
    for quota in [Quota::per_day(3), Quota::per_day(3).fixed_window()] {
        assert_eq!(quota.utc_offset(60), quota);
    }
}

#[test]
fn a_debt_comes_back_by_the_months() {
    let clock = LimitClock::fake();
    clock.advance(secs(date(2026, 1, 11)));
    let quota = Quota::calendar(100, CalendarPeriod::Month);
    let limit = RateLimit::new(Policy::new("p", quota).settle(|_| Some(250))).clock(clock.clone());
    let handle = limit.handle().policies::<IpAddr>().unwrap();
    let service = chain(limit);
    // At the end of January a part of the debt has come back, and at the end of February one more.
    let wait = (days(2026, 1) - 10 + days(2026, 2)) * DAY;
    let first = send(&service, request(ALICE));
    assert_eq!(header(&first, "ratelimit"), format!("\"p\";r=0;t={wait}"));
    assert_eq!(header(&send(&service, request(ALICE)), "retry-after"), wait.to_string());
    clock.advance(secs(wait - 1));
    let left = || {
        handle.peek("192.0.2.1".parse::<IpAddr>().unwrap()).now_or_never().unwrap()[0].remaining()
    };
    assert_eq!(left(), 0);
    clock.advance(secs(1));
    // Of 250, 100 are those of February, and 110 those of March, which has 31 days.
    assert_eq!(left(), 60);
    clock.advance(secs(31 * DAY));
    assert_eq!(left(), 100);
}

#[test]
fn quotas_by_the_calendar_are_checked_and_named() {
    use CalendarPeriod::{Day, Hour, Month, Week};
    use RateLimitError as E;
    assert_eq!(Quota::try_calendar(0, Month), Err(E::ZeroLimit));
    assert_eq!(Quota::try_calendar(u32::MAX, Hour), Err(E::TooFast));
    for minutes in [1_440, -1_440, i32::MAX, i32::MIN] {
        assert_eq!(Quota::calendar(1, Day).try_utc_offset(minutes), Err(E::UtcOffset));
    }
    assert_eq!(Quota::calendar(7, Day), Quota::per_day(7).from_midnight_utc());
    for (period, name) in
        [(Hour, "7-in-1h"), (Day, "7-in-1d"), (Week, "7-in-7d"), (Month, "7-in-month")]
    {
        let response = send(&chain(RateLimit::new(Quota::calendar(7, period))), request(ALICE));
        let start = format!("\"{name}\";r=6;t=");
        assert!(header(&response, "ratelimit").starts_with(&start), "{response:?}");
    }
}
