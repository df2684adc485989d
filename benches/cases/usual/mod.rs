//! The whole job with the usual crates: a limit per client, a token, a JSON body that is validated, a handler. No code here uses tower-chain, and
//! `peers/alone` builds it without tower-chain: the dependencies then have only the features that it enables itself.

mod axum;
mod by_hand;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use axum_core::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Uri};
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};
use validator::Validate;

use super::{Case, Request};

#[derive(Deserialize, Validate)]
pub struct NewUser {
    #[validate(length(min = 1))]
    pub name: String,
    #[validate(email)]
    pub email: String,
}

#[derive(Clone, Deserialize, Serialize)]
pub struct Member {
    pub sub: String,
    roles: Vec<String>,
    exp: u64,
}

#[derive(Serialize)]
pub struct Created {
    pub id: u32,
    pub name: String,
    pub by: String,
}

pub const SECRET: &[u8] = b"an example secret of 256 bits !!";

/// The address of the client.
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

pub const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 40_000);

/// Returns the request, with the client's address in the type that its reader expects.
pub fn request(peer: impl Clone + Send + Sync + 'static) -> impl Fn() -> Request + 'static {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let roles = vec!["admin".to_owned(), "author".to_owned()];
    let member = Member { sub: "user-4711".to_owned(), roles, exp: now + 86_400 };
    let key = EncodingKey::from_secret(SECRET).unwrap();
    let token = jsonwebtoken::encode(&Header::default(), &member, &key).unwrap();
    let token: HeaderValue = format!("Bearer {token}").parse().unwrap();
    move || {
        let body = r#"{"name":"Ada Lovelace","email":"ada@example.org"}"#;
        let mut req = Request::new(Body::from(body));
        *req.method_mut() = Method::POST;
        *req.uri_mut() = Uri::from_static("/api/users");
        req.headers_mut().insert(AUTHORIZATION, token.clone());
        let json = HeaderValue::from_static("application/json");
        req.headers_mut().insert(CONTENT_TYPE, json);
        req.extensions_mut().insert(peer.clone());
        req
    }
}

/// By hand and on axum. The suffix of a name states how the case is built.
pub fn cases(built: &str) -> [Case; 2] {
    let case =
        |name, build| Case { group: "whole job", name: format!("{name}{built}"), build, size: 0 };
    [case("by hand", by_hand::by_hand), case("axum", axum::on_axum)]
}
