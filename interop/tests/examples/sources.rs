//! Includes the examples that contain tests, to run these. With `test = true` in the manifest, cargo would build these examples only as tests, and not as
//! programs that the other tests can start.

#[path = "../../../examples/authenticate.rs"]
mod authenticate;
#[path = "../../../examples/axum.rs"]
mod axum;
#[path = "../../../examples/behind_proxy.rs"]
mod behind_proxy;
#[path = "../../../examples/cookies.rs"]
mod cookies;
#[path = "../../../examples/custom.rs"]
mod custom;
#[path = "../../../examples/database_test.rs"]
mod database_test;
#[path = "../../../examples/deprecated.rs"]
mod deprecated;
#[path = "../../../examples/events.rs"]
mod events;
#[path = "../../../examples/form.rs"]
mod form;
#[path = "../../../examples/idempotency.rs"]
mod idempotency;
#[path = "../../examples/lambda.rs"]
mod lambda;
#[path = "../../../examples/message_signatures.rs"]
mod message_signatures;
#[path = "../../examples/oauth_login.rs"]
mod oauth_login;
#[path = "../../examples/otlp.rs"]
mod otlp;
#[path = "../../examples/prometheus.rs"]
mod prometheus;
#[path = "../../../examples/rate_limit.rs"]
mod rate_limit;
#[path = "../../../examples/rate_limit_redis.rs"]
mod rate_limit_redis;
#[path = "../../../examples/serve.rs"]
mod serve;
#[path = "../../../examples/server_timing.rs"]
mod server_timing;
#[path = "../../examples/sessions.rs"]
mod sessions;
#[path = "../../../examples/signed.rs"]
mod signed;
#[path = "../../../examples/small_steps.rs"]
mod small_steps;
#[path = "../../../examples/testing.rs"]
mod testing;
#[path = "../../../examples/tls.rs"]
mod tls;
#[path = "../../examples/tonic.rs"]
mod tonic;
#[path = "../../../examples/unit_test.rs"]
mod unit_test;
#[path = "../../../examples/validate.rs"]
mod validate;
#[path = "../../../examples/websocket.rs"]
mod websocket;
