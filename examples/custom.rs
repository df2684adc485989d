//! Custom middleware, as types: one has settings and provides a value, and another one requires that value.
//!
//! Run its test with `cargo test --example custom --features serve,test-util`, and the program with
//!
//! ```sh
//! cargo run --example custom --features serve,test-util
//! ```
//!
//! Dependencies besides `tower-chain` and `tokio`:
//!
//! ```toml
//! http = "1"
//! tracing-subscriber = "0.3"
//! ```
//!
//! ```sh
//! curl -i -H 'x-customer: acme' localhost:3000/report
//! # HTTP/1.1 200 OK
//! # vary: x-customer
//! #
//! # the report of acme
//! curl -i -H 'x-customer: nobody' localhost:3000/report
//! # HTTP/1.1 403 Forbidden
//! # content-type: application/problem+json
//! #
//! # {..,"detail":"There is no such tenant"}
//! curl -i -H 'x-customer: tiny' localhost:3000/report
//! # HTTP/1.1 402 Payment Required
//! # vary: x-customer
//! ```

use http::header::{HeaderName, HeaderValue, VARY};
use tower_chain::chain::Dependent;
use tower_chain::{Chain, ChainService, Endpoint, Error, IntoResponse, Middleware};
use tower_chain::{Next, Provided, Response, StatusCode};

/// Reads the tenant of a request from a header. Provides the [`Tenant`], and rejects an unknown one with 403.
struct Tenants {
    known: Vec<Tenant>,
    header: HeaderName,
}

#[derive(Clone)]
struct Tenant {
    name: &'static str,
    pays: bool,
}

impl Tenants {
    fn new(known: impl IntoIterator<Item = Tenant>) -> Self {
        Self { known: known.into_iter().collect(), header: HeaderName::from_static("x-tenant") }
    }

    /// Sets the header. Defaults to `x-tenant`.
    fn header(mut self, header: HeaderName) -> Self {
        self.header = header;
        self
    }
}

impl Middleware for Tenants {
    type Provides = (Tenant,);

    async fn call<N: Endpoint>(&self, next: Next<'_, N, (Tenant,)>) -> Response {
        let name = next.headers().get(&self.header).map(HeaderValue::as_bytes);
        let tenant = self.known.iter().find(|tenant| Some(tenant.name.as_bytes()) == name);
        let Some(tenant) = tenant else {
            return Error::new(StatusCode::FORBIDDEN, "There is no such tenant").into_response();
        };
        let mut response = next.run_with(tenant.clone()).await;
        response.headers_mut().append(VARY, HeaderValue::from(self.header.clone()));
        response
    }
}

/// Admits tenants that pay. Compiles only after a step that provides a [`Tenant`].
struct Paying;

struct PayingTenants;

impl Dependent for Paying {
    type Needs = (Provided<Tenant>,);
    type Middleware = PayingTenants;

    fn into_middleware(self) -> PayingTenants {
        PayingTenants
    }
}

impl Middleware for PayingTenants {
    type Provides = ();

    async fn call<N: Endpoint>(&self, next: Next<'_, N>) -> Response {
        match next.extensions().get::<Tenant>() {
            Some(tenant) if tenant.pays => next.run().await,
            _ => Error::new(StatusCode::PAYMENT_REQUIRED, "This is not free").into_response(),
        }
    }
}

async fn report(tenant: Provided<Tenant>) -> String {
    format!("the report of {}\n", tenant.name)
}

fn tenants() -> Tenants {
    let known = [Tenant { name: "acme", pays: true }, Tenant { name: "tiny", pays: false }];
    Tenants::new(known).header(HeaderName::from_static("x-customer"))
}

fn api() -> ChainService {
    Chain::new().use_(tenants()).use_(Paying).at("/report", |c| c.get(report)).build()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned());
    Ok(tower_chain::serve(format!("127.0.0.1:{port}"), api()).await?)
}

#[cfg(test)]
#[tokio::test]
async fn the_tenant_is_provided_and_nothing_runs_without_one() {
    let next = tower_chain::test_util::TestNext::new();
    let client = next.behind(tenants());
    client.get("/").send().await.assert_problem(403);
    next.assert_not_called();
    let ask = client.get("/").header("x-customer", "acme");
    ask.send().await.assert_header("vary", "x-customer");
    let tenant = next.assert_called_once().provided::<Tenant>().cloned();
    assert_eq!(tenant.map(|tenant| tenant.name), Some("acme"));
}

#[test]
fn the_order_of_the_steps_has_no_mistake() {
    api().audit().assert_none();
}
