//! A denylist in a real Redis.

use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use crate::support::redis_server::Redis;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use serde_json::{Value, json};
use tower_chain::Jwt;
use tower_chain::middleware::jwt::JwtError;
use tower_chain::middleware::jwt::{
    JwtRefusal, RedisDenylist, RedisReplay, ReplayStore, TokenCache,
};

const SECRET: &str = "the secret that only the tests have";

fn token(claims: Value) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(json!({"alg": "HS256"})), part(claims));
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

const EXP: u64 = 4_000_000_000;

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn what_one_server_revokes_the_other_refuses() {
    let redis = Redis::start();
    let list = || RedisDenylist::new(&redis.url()).unwrap().prefix("test");
    let server = || {
        let cache = TokenCache::new(100).unwrap();
        Jwt::<()>::hs256(SECRET).unwrap().cache(cache).redis_denylist(list())
    };
    let (one, other) = (server(), server());
    let far = SystemTime::now() + Duration::from_secs(3600);
    let table = [
        (json!({"exp": EXP, "jti": "7"}), true),
        (json!({"exp": EXP, "iss": "joe", "jti": "7"}), true),
        (json!({"exp": EXP, "jti": "8"}), false),
        (json!({"exp": EXP, "iss": "joe", "jti": "9"}), true),
        (json!({"exp": EXP, "iss": "jane", "jti": "9"}), false),
        (json!({"exp": EXP, "jti": "9"}), false),
        (json!({"exp": EXP, "iss": "joe", "sub": "ann", "iat": 99}), true),
        (json!({"exp": EXP, "iss": "joe", "sub": "ann", "iat": 100}), false),
        (json!({"exp": EXP, "iss": "joe", "sub": "ann"}), true),
        (json!({"exp": EXP, "iss": "jane", "sub": "ann", "iat": 99}), false),
        (json!({"exp": EXP, "iss": "jane", "sub": "bob", "iat": 99}), true),
        (json!({"exp": EXP, "sub": "bob", "iat": 99}), true),
        (json!({"exp": EXP, "sub": "joeann", "iat": 99}), false),
        (json!({"exp": EXP, "sub": "eve", "iat": 100}), false),
        (json!({"exp": EXP, "sub": "eve", "iat": 100.25}), true),
        (json!({"exp": EXP, "sub": "eve", "iat": 100.5}), false),
        (json!({"exp": EXP, "sub": "eve", "iat": 100.75}), false),
        (json!({"exp": EXP}), false),
    ];
    for (claims, _) in &table {
        one.verify(token(claims.clone())).await.unwrap();
        other.verify(token(claims.clone())).await.unwrap();
    }
    list().revoke_id(None, "7", far).await.unwrap();
    list().revoke_id(Some("joe"), "9", far).await.unwrap();
    list().revoke_subject(Some("joe"), "ann", at(100), far).await.unwrap();
    list().revoke_subject(None, "bob", at(100), far).await.unwrap();
    list().revoke_subject(None, "eve", at(100) + Duration::from_millis(500), far).await.unwrap();
    // A later call does not undo the revocation.
    list().revoke_subject(Some("joe"), "ann", at(50), SystemTime::now()).await.unwrap();
    for (claims, revoked) in table {
        for server in [&one, &other] {
            let expected = if revoked { Err(JwtRefusal::Revoked) } else { Ok(()) };
            let verified = server.verify(token(claims.clone())).await;
            assert_eq!(verified.map(drop), expected, "{claims}");
        }
    }
    let keys = redis.keys().await.unwrap();
    assert_eq!(keys.len(), 5);
    assert!(keys.iter().all(|key| key.starts_with("test:") && !key.contains("ann")), "{keys:?}");
}

/// For ten minutes longer than requested, which is the longest leeway. No call undoes the revocation of another one.
#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn what_is_revoked_is_known_as_long_as_a_token_may_live() {
    let redis = Redis::start();
    let list = RedisDenylist::new(&redis.url()).unwrap();
    let until = |seconds| SystemTime::now() + Duration::from_secs(seconds);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for (seconds, longest) in [(60, 60), (3600, 3600), (0, 3600), (60, 3600)] {
        list.revoke_id(None, "7", until(seconds)).await.unwrap();
        list.revoke_subject(None, "ann", at(100), until(seconds)).await.unwrap();
        let keys = redis.keys().await.unwrap();
        assert_eq!(keys.len(), 2);
        for key in keys {
            let left: u64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
            assert!((longest + 590..=longest + 602).contains(&left), "{seconds}: {left}");
        }
    }
    list.revoke_id(None, "8", SystemTime::UNIX_EPOCH).await.unwrap();
    list.revoke_id(None, "9", SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60)).await.unwrap();
    let jwt = Jwt::<()>::hs256(SECRET).unwrap().redis_denylist(list);
    for id in ["7", "8", "9"] {
        let verified = jwt.verify(token(json!({"exp": EXP, "jti": id}))).await;
        assert_eq!(verified.map(drop), Err(JwtRefusal::Revoked), "{id}");
    }
}

#[tokio::test]
async fn a_redis_that_is_gone_lets_nothing_pass() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let list = RedisDenylist::new(&format!("redis://:canary@{free}/")).unwrap();
    let list = list.timeout(Duration::from_millis(200)).unwrap();
    assert!(!format!("{list:?}").contains("canary"));
    let jwt = Jwt::<()>::hs256(SECRET).unwrap().redis_denylist(list);
    let refusal = jwt.verify(token(json!({"exp": EXP, "jti": "7"}))).await.unwrap_err();
    assert_eq!(refusal, JwtRefusal::RevocationUnavailable);
}

#[test]
fn a_wrong_address_is_refused_and_not_repeated() {
    let error = RedisDenylist::new("nonsense://:canary@host").unwrap_err();
    assert_eq!(error, JwtError::RedisUrl);
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
#[cfg_attr(not(redis_server), ignore = "install redis-server to run this test")]
async fn a_proof_is_good_once_on_all_servers() {
    let redis = Redis::start();
    let store = |prefix| RedisReplay::new(&redis.url()).unwrap().prefix(prefix);
    let (one, other, elsewhere) = (store("test"), store("test"), store("another"));
    let span = Duration::from_secs(90);
    assert!(one.spend(&[1; 32], span).await.unwrap());
    assert!(!one.spend(&[1; 32], span).await.unwrap());
    assert!(!other.spend(&[1; 32], span).await.unwrap());
    assert!(other.spend(&[2; 32], span).await.unwrap());
    assert!(elsewhere.spend(&[1; 32], span).await.unwrap());
    // Of many concurrent calls exactly one is the first.
    let racing = (0..50).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        tokio::spawn(async move { store.spend(&[3; 32], span).await.unwrap() })
    });
    let mut first = 0;
    for racer in racing.collect::<Vec<_>>() {
        first += usize::from(racer.await.unwrap());
    }
    assert_eq!(first, 1);
    // No entry stays forever, and none reveals its content.
    let keys = redis.keys().await.unwrap();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| key.starts_with("test:") || key.starts_with("another:")));
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    for key in keys {
        let left: i64 = redis::cmd("TTL").arg(key).query_async(&mut connection).await.unwrap();
        assert!((1..=91).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_lets_no_proof_through() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("redis://:hunter2@127.0.0.1:{port}/");
    let store = RedisReplay::new(&url).unwrap().timeout(Duration::from_millis(200)).unwrap();
    assert!(store.spend(&[1; 32], Duration::from_secs(90)).await.is_err());
    assert!(!format!("{store:?}").contains("hunter2"));
    assert_eq!(RedisReplay::new("nonsense").map(drop), Err(JwtError::RedisUrl));
}
