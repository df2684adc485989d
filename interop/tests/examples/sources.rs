//! Includes the examples that contain tests, to run these. With `test = true` in the manifest, cargo would build these examples only as tests, and not as
//! programs that the other tests can start.

#[path = "../../../examples/api/main.rs"]
mod api;
#[path = "../../../examples/api_keys.rs"]
mod api_keys;
#[path = "../../../examples/authenticate.rs"]
mod authenticate;
#[path = "../../../examples/axum.rs"]
mod axum;
#[path = "../../../examples/behind_proxy.rs"]
mod behind_proxy;
#[path = "../../../examples/bound_tokens.rs"]
mod bound_tokens;
#[path = "../../../examples/cookies.rs"]
mod cookies;
#[path = "../../../examples/cors.rs"]
mod cors;
#[path = "../../../examples/custom.rs"]
mod custom;
#[path = "../../../examples/database_test.rs"]
mod database_test;
#[path = "../../../examples/deprecated.rs"]
mod deprecated;
#[path = "../../../examples/dynamic_route.rs"]
mod dynamic_route;
#[path = "../../../examples/events.rs"]
mod events;
#[path = "../../../examples/express.rs"]
mod express;
#[path = "../../../examples/form.rs"]
mod form;
#[path = "../../../examples/form_post/main.rs"]
mod form_post;
#[path = "../../../examples/hello.rs"]
mod hello;
#[path = "../../../examples/hyper.rs"]
mod hyper;
#[path = "../../../examples/idempotency.rs"]
mod idempotency;
#[path = "../../../examples/introspection.rs"]
mod introspection;
#[path = "../../../examples/jwt.rs"]
mod jwt;
#[path = "../../../examples/jwt_roles.rs"]
mod jwt_roles;
#[path = "../../examples/lambda.rs"]
mod lambda;
#[path = "../../../examples/layers.rs"]
mod layers;
#[path = "../../../examples/message_signatures.rs"]
mod message_signatures;
#[path = "../../../examples/methods.rs"]
mod methods;
#[path = "../../../examples/next_connect.rs"]
mod next_connect;
#[path = "../../examples/oauth_login.rs"]
mod oauth_login;
#[path = "../../../examples/oidc.rs"]
mod oidc;
#[path = "../../../examples/openapi/main.rs"]
mod openapi;
#[path = "../../examples/otlp.rs"]
mod otlp;
#[path = "../../../examples/overhead.rs"]
mod overhead;
#[path = "../../examples/poem.rs"]
mod poem;
#[path = "../../examples/prometheus.rs"]
mod prometheus;
#[path = "../../../examples/rate_limit.rs"]
mod rate_limit;
#[path = "../../../examples/rate_limit_redis.rs"]
mod rate_limit_redis;
#[path = "../../../examples/rate_limit_tiers.rs"]
mod rate_limit_tiers;
#[path = "../../../examples/route_config.rs"]
mod route_config;
#[path = "../../examples/salvo.rs"]
mod salvo;
#[path = "../../../examples/secrets.rs"]
mod secrets;
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
#[path = "../../examples/trace_context.rs"]
mod trace_context;
#[path = "../../../examples/typed.rs"]
mod typed;
#[path = "../../../examples/unit_test.rs"]
mod unit_test;
#[path = "../../../examples/validate.rs"]
mod validate;
#[path = "../../examples/warp.rs"]
mod warp;
#[path = "../../../examples/websocket.rs"]
mod websocket;
