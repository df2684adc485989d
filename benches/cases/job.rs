//! The whole job in a chain: a limit per client, a token, a JSON body that is validated, a handler; and the same with the usual crates.

use std::time::Duration;

use tower_chain::extract::PeerAddr;
use tower_chain::{Chain, Claims, Json, Jwt, RateLimit, StatusCode, Valid};

use super::usual::{self, Created, Member, NewUser, PEER, SECRET};
use super::{Case, Request, Subject};

async fn create(
    claims: Claims<Member>,
    Valid(Json(user)): Valid<Json<NewUser>>,
) -> (StatusCode, Json<Created>) {
    let created = Created { id: user.email.len() as u32, name: user.name, by: claims.sub.clone() };
    (StatusCode::CREATED, Json(created))
}

fn in_a_chain(_: usize) -> Subject {
    let limit = RateLimit::per_client(1_000_000).every(Duration::from_secs(1));
    chain(limit)
}

fn in_a_chain_without_fields(_: usize) -> Subject {
    let limit = RateLimit::per_client(1_000_000).every(Duration::from_secs(1)).headers([]);
    chain(limit)
}

fn chain(limit: RateLimit) -> Subject {
    let jwt = Jwt::<Member>::hs256(SECRET).unwrap();
    let service = Chain::new().use_(limit).use_(jwt).at("/api/users", |c| c.post(create)).build();
    Subject::new(service, request())
}

pub(super) fn request() -> impl Fn() -> Request + 'static {
    usual::request(PeerAddr(PEER))
}

pub(super) fn cases() -> Vec<Case> {
    let case =
        |name: &str, build| Case { group: "whole job", name: name.to_owned(), build, size: 0 };
    // In one build with tower-chain, `regex` has the features that it enables. `peers/alone` has these cases without them.
    let mut cases = Vec::from(usual::cases(", with this crate's regex"));
    cases.extend([
        case("chain", in_a_chain),
        case("chain, without RateLimit fields", in_a_chain_without_fields),
    ]);
    cases
}
