use http::StatusCode;

use super::*;
use crate::{Body, Chain, ChainService};

const SECRET: &str = "Vy3pRT1rW9ZsU0bq6xQ2Lw";

async fn who(principal: Principal) -> String {
    principal.name().to_owned()
}

async fn send(service: &ChainService, headers: &[(&str, &str)]) -> Response {
    let mut req = http::Request::get("/");
    for (name, value) in headers {
        req = req.header(*name, *value);
    }
    service.handle(req.body(Body::empty()).expect("a request")).await
}

fn challenges(response: &Response) -> Vec<&str> {
    response.headers().get_all(WWW_AUTHENTICATE).iter().map(|v| v.to_str().unwrap()).collect()
}

#[tokio::test]
async fn a_token_passes_and_all_else_is_challenged() {
    let service = Chain::new().use_(Authenticate::token(SECRET).unwrap().bare()).get(who).build();
    let bearer = format!("Bearer {SECRET}");
    assert_eq!(send(&service, &[("authorization", &bearer)]).await.status(), StatusCode::OK);
    assert_eq!(send(&service, &[("authorization", SECRET)]).await.status(), StatusCode::OK);
    let refused = send(&service, &[]).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(challenges(&refused), [r#"Bearer realm="api""#]);
    assert_eq!(refused.headers()["cache-control"], "no-store");
}
