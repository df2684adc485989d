use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Valid, ValidateInput};
use crate::{Body, Chain, Form, Json, Path, Query};

#[derive(Clone, Debug, Deserialize, validator::Validate)]
struct NewUser {
    #[validate(length(min = 1))]
    name: String,
    #[validate(email)]
    email: String,
}

async fn send(service: crate::ChainService, req: Request<Body>) -> (StatusCode, Value) {
    let res = service.oneshot(req).await.unwrap();
    let status = res.status();
    let bytes = res.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (status, body)
}

fn post_json(body: &str) -> Request<Body> {
    Request::post("/")
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn all_errors_come_at_once() {
    let chain =
        Chain::new().post(async |Valid(user): Valid<Json<NewUser>>| user.name.clone()).build();
    let (status, body) = send(chain.clone(), post_json(r#"{"name":"","email":"x"}"#)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        body["errors"],
        json!([
            {"location": "body", "pointer": "/name", "code": "length", "detail": "Must not be empty", "params": {"min": 1}},
            {"location": "body", "pointer": "/email", "code": "email", "detail": "Must be an email address"},
        ])
    );
    let (status, body) = send(chain, post_json(r#"{"name":"Ann","email":"a@b.de"}"#)).await;
    assert_eq!((status, body), (StatusCode::OK, json!("Ann")));
}

#[tokio::test]
async fn every_extractor_is_validated_in_a_handler() {
    #[derive(Clone, Deserialize, validator::Validate)]
    struct Page {
        #[validate(range(min = 1, max = 9))]
        n: u32,
    }
    let chain = Chain::new()
        .at("/q", |c| c.get(async |Valid(Query(page)): Valid<Query<Page>>| page.n.to_string()))
        .at("/p/{n}", |c| {
            c.get(async |Valid(Path(page)): Valid<Path<Page>>, _: String| page.n.to_string())
        })
        .at("/f", |c| c.post(async |Valid(Form(page)): Valid<Form<Page>>| page.n.to_string()))
        .build();
    for (path, location) in [("/q?n=0", "query"), ("/p/10", "path")] {
        let req = Request::get(path).body(Body::empty()).unwrap();
        let (status, body) = send(chain.clone(), req).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}");
        assert_eq!(body["errors"][0]["location"], location, "{path}");
        assert_eq!(body["errors"][0]["pointer"], "/n", "{path}");
    }
    let form = |text: &'static str| {
        Request::post("/f")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(text))
            .unwrap()
    };
    assert_eq!(send(chain.clone(), form("n=0")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send(chain, form("n=3")).await, (StatusCode::OK, json!(3)));
}

#[tokio::test]
async fn the_step_provides_the_data_and_leaves_the_body() {
    let chain = Chain::new()
        .use_(ValidateInput::<Json<NewUser>>::new())
        .post(async |Valid(user): Valid<NewUser>, text: String| {
            format!("{} {}", user.name, text.len())
        })
        .build();
    let (status, body) = send(chain.clone(), post_json(r#"{"name":"Ann","email":"a@b.de"}"#)).await;
    assert_eq!((status, body), (StatusCode::OK, json!("Ann 31")));
    let (status, _) = send(chain, post_json(r#"{"name":"Ann","email":"a"}"#)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

mod wire {
    use std::collections::{BTreeMap, HashMap};

    use validator::Validate as _;

    use super::*;
    use crate::Fields;
    use crate::extract::{ByField, Head, HeadInput, Input, InvalidInput, Location, RawInput};

    #[derive(Clone, Debug, Deserialize, Fields, validator::Validate)]
    #[serde(rename_all = "camelCase")]
    struct Address {
        #[validate(length(min = 5))]
        postal_code: String,
        #[serde(rename = "land")]
        #[validate(length(equal = 2))]
        country: String,
    }

    #[derive(Clone, Debug, Deserialize, Fields, validator::Validate)]
    struct Line {
        #[serde(rename = "qty")]
        #[validate(range(min = 1))]
        count: u8,
    }

    #[derive(Clone, Debug, Deserialize, Fields, validator::Validate)]
    struct Flat {
        #[validate(length(min = 2))]
        #[serde(rename = "tel")]
        phone: String,
    }

    #[derive(Clone, Debug, Deserialize, Fields, validator::Validate)]
    struct Order {
        #[serde(rename = "mail")]
        #[validate(email)]
        contact: String,
        #[serde(rename = "e-mail")]
        #[validate(email)]
        email: String,
        #[validate(length(min = 2))]
        r#type: String,
        #[serde(rename = "note", default)]
        #[validate(required)]
        comment: Option<String>,
        #[serde(alias = "nick")]
        #[validate(length(min = 2))]
        name: String,
        #[serde(rename = "to")]
        #[validate(nested)]
        address: Address,
        #[serde(rename = "items")]
        #[validate(nested)]
        lines: Vec<Line>,
        #[validate(nested)]
        by_name: HashMap<String, Line>,
        #[validate(nested)]
        sorted: BTreeMap<String, Line>,
    }

    fn pointers(body: &Value) -> Vec<&str> {
        let errors = body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }

    #[tokio::test]
    async fn errors_stand_at_the_names_of_the_client() {
        let told = InvalidInput::new().tell_keys();
        let chain =
            Chain::new().provide(told).post(async |_: Valid<ByField<Json<Order>>>| "fine").build();
        let order = json!({
            "mail": "a", "e-mail": "b", "type": "c", "nick": "d",
            "to": {"postalCode": "1", "land": "abc"},
            "items": [{"qty": 0}, {"qty": 1}, {"qty": 0}],
            "by_name": {"a/b": {"qty": 1}, "c~d": {"qty": 0}},
            "sorted": {"x": {"qty": 1}, "y": {"qty": 0}, "z": {"qty": 0}},
        });
        for _ in 0..3 {
            let (status, body) = send(chain.clone(), post_json(&order.to_string())).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(
                pointers(&body),
                [
                    "/mail",
                    "/e-mail",
                    "/type",
                    "/note",
                    "/nick",
                    "/to/postalCode",
                    "/to/land",
                    "/items/0/qty",
                    "/items/2/qty",
                    "/by_name/c~0d/qty",
                    "/sorted/y/qty",
                    "/sorted/z/qty",
                ]
            );
        }
    }

    #[tokio::test]
    async fn a_flattened_struct_adds_no_step() {
        #[derive(Clone, Debug, Deserialize, Fields, validator::Validate)]
        struct Person {
            #[serde(rename = "called")]
            #[validate(length(min = 2))]
            name: String,
            #[serde(flatten)]
            #[validate(nested)]
            flat: Flat,
            #[serde(rename = "home")]
            #[validate(nested)]
            address: Address,
        }
        let chain = Chain::new().post(async |_: Valid<ByField<Json<Person>>>| "fine").build();
        let person = json!({"called": "x", "tel": "1", "home": {"postalCode": "1", "land": "d"}});
        let (_, body) = send(chain, post_json(&person.to_string())).await;
        let mut pointers = pointers(&body);
        pointers.sort_unstable();
        assert_eq!(pointers, ["/called", "/home/land", "/home/postalCode", "/tel"]);
    }

    #[tokio::test]
    async fn a_key_that_the_client_made_up_is_not_told() {
        #[derive(Deserialize, Fields, validator::Validate)]
        struct Maps {
            #[validate(nested)]
            #[serde(default)]
            lines: BTreeMap<String, Line>,
            #[serde(default)]
            #[allow(dead_code, reason = "only read")]
            limits: HashMap<String, u8>,
            #[serde(default)]
            #[allow(dead_code, reason = "only read")]
            shape: Option<Shape>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        #[allow(dead_code, reason = "only read")]
        enum Shape {
            Circle { radius: u8 },
            Tagged(HashMap<String, u8>),
        }
        fn few(map: &BTreeMap<String, String>) -> Result<(), validator::ValidationError> {
            match map.len() {
                0 => Ok(()),
                _ => Err(validator::ValidationError::new("few")),
            }
        }
        #[derive(Deserialize, validator::Validate)]
        struct Flattened {
            #[validate(length(min = 3))]
            name: String,
            #[serde(flatten)]
            #[validate(custom(function = few))]
            rest: BTreeMap<String, String>,
        }
        #[derive(Deserialize, validator::Validate)]
        struct FlattenedLines {
            #[validate(length(min = 3))]
            name: String,
            #[serde(flatten)]
            #[validate(nested)]
            rest: BTreeMap<String, Line>,
        }
        #[derive(Deserialize, validator::Validate)]
        #[serde(deny_unknown_fields)]
        struct Strict {
            #[allow(dead_code, reason = "only read")]
            name: Option<u8>,
        }
        let handlers = |invalid: InvalidInput| {
            Chain::new()
                .provide(invalid)
                .at("/maps", |c| c.post(async |_: Valid<ByField<Json<Maps>>>| "fine"))
                .at("/flat", |c| c.post(async |_: Valid<Json<Flattened>>| "fine"))
                .at("/lines", |c| c.post(async |_: Valid<Json<FlattenedLines>>| "fine"))
                .at("/strict", |c| c.post(async |_: Valid<Json<Strict>>| "fine"))
                .build()
        };
        let hidden = handlers(InvalidInput::new());
        let told = handlers(InvalidInput::new().tell_keys());
        for (path, body, hidden_at, told_at) in [
            (
                "/maps",
                json!({"lines": {"CANARY": {"qty": 0}, "CANARY2": {"qty": 0}}}),
                &["/lines/*/qty"][..],
                &["/lines/CANARY/qty", "/lines/CANARY2/qty"][..],
            ),
            (
                "/maps",
                json!({"lines": {"CANARY": {"qty": "x"}}}),
                &["/lines/*/qty"],
                &["/lines/CANARY/qty"],
            ),
            ("/maps", json!({"limits": {"CANARY": "x"}}), &["/limits/*"], &["/limits/CANARY"]),
            ("/maps", json!({"limits": {"a".repeat(129): "x"}}), &["/limits/*"], &["/limits/*"]),
            (
                "/maps",
                json!({"shape": {"circle": {"radius": "x"}}}),
                &["/shape/circle/radius"],
                &["/shape/circle/radius"],
            ),
            (
                "/maps",
                json!({"shape": {"tagged": {"CANARY": "x"}}}),
                &["/shape/tagged/*"],
                &["/shape/tagged/CANARY"],
            ),
            ("/maps", json!({"shape": {"CANARY": {}}}), &["/shape"], &["/shape"]),
            ("/flat", json!({"name": "Ann", "CANARY": "x"}), &[""], &[""]),
            ("/flat", json!({"name": 1, "CANARY": "x"}), &["/name"], &["/name"]),
            ("/lines", json!({"name": "Ann", "CANARY": {"qty": 0}}), &[""], &[""]),
            ("/strict", json!({"CANARY": 1}), &["/*"], &["/CANARY"]),
        ] {
            for (chain, expected) in [(&hidden, hidden_at), (&told, told_at)] {
                let mut req = post_json(&body.to_string());
                *req.uri_mut() = path.parse().unwrap();
                let (status, answer) = send(chain.clone(), req).await;
                assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
                assert_eq!(pointers(&answer), expected, "{body}");
            }
        }
    }

    #[tokio::test]
    async fn a_refusal_lists_a_hundred_errors() {
        let chain = Chain::new().post(async |_: Valid<ByField<Json<Vec<Line>>>>| "fine").build();
        for (count, more) in [(100, Value::Null), (101, json!(true)), (5000, json!(true))] {
            let body = json!(vec![json!({"qty": 0}); count]).to_string();
            let (_, body) = send(chain.clone(), post_json(&body)).await;
            assert_eq!(pointers(&body).len(), 100);
            assert_eq!(pointers(&body)[99], "/99/qty");
            assert_eq!(body["more"], more);
        }
    }

    #[tokio::test]
    async fn a_list_at_the_top_is_counted() {
        let chain = Chain::new().post(async |_: Valid<ByField<Json<Vec<Line>>>>| "fine").build();
        let (_, body) = send(chain, post_json(r#"[{"qty":1},{"qty":0}]"#)).await;
        assert_eq!(pointers(&body), ["/1/qty"]);
    }

    #[tokio::test]
    async fn forms_and_queries_have_names_of_the_client_too() {
        let chain = Chain::new()
            .get(async |_: Valid<ByField<Query<Line>>>| "fine")
            .post(async |_: Valid<ByField<Form<Line>>>| "fine")
            .build();
        let req = Request::get("/?qty=0&x=1").body(Body::empty()).unwrap();
        assert_eq!(pointers(&send(chain.clone(), req).await.1), ["/qty"]);
        let req = Request::post("/")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from("x=%26&qty=0"))
            .unwrap();
        assert_eq!(pointers(&send(chain, req).await.1), ["/qty"]);
    }

    #[tokio::test]
    async fn header_fields_are_validated_by_an_input_of_ones_own() {
        #[derive(Debug, validator::Validate)]
        struct Tenant {
            #[validate(length(max = 8))]
            tenant: String,
        }
        struct Headers(Tenant);
        impl Input for Headers {
            type Data = Tenant;
            const LOCATION: Location = Location::Header;

            async fn read(req: &mut crate::Request) -> Result<RawInput, crate::Error> {
                Self::find((&*req).into())
            }

            fn parse(source: &RawInput) -> Result<Self, crate::Error> {
                let tenant = String::from_utf8_lossy(source.bytes()).into_owned();
                Ok(Self(Tenant { tenant }))
            }

            fn data(&self) -> &Tenant {
                &self.0
            }

            fn into_data(self) -> Tenant {
                self.0
            }
        }
        impl HeadInput for Headers {
            fn find(head: Head<'_>) -> Result<RawInput, crate::Error> {
                let tenant = head.headers.get("x-tenant").map_or(&b""[..], |v| v.as_bytes());
                Ok(RawInput::body(tenant.to_vec()).under(head))
            }
        }
        let chain = Chain::new().get(async |Valid(found): Valid<Headers>| found.0.tenant).build();
        for (tenant, status) in [("acme", 200), ("CANARY-CANARY", 422)] {
            let req = Request::get("/").header("x-tenant", tenant).body(Body::empty()).unwrap();
            let (found, body) = send(chain.clone(), req).await;
            assert_eq!(found, status);
            if status == 422 {
                let error = json!({
                    "location": "header",
                    "pointer": "/tenant",
                    "code": "length",
                    "detail": "Must have at most 8 characters",
                    "params": {"max": 8},
                });
                assert_eq!(body["errors"], json!([error]));
            }
        }
    }

    #[tokio::test]
    async fn an_error_of_the_whole_struct_stands_at_it() {
        fn distinct(pair: &Pair) -> Result<(), validator::ValidationError> {
            match pair.a != pair.b {
                true => Ok(()),
                false => Err(validator::ValidationError::new("distinct")),
            }
        }
        #[derive(Clone, Deserialize, validator::Validate)]
        #[validate(schema(function = distinct))]
        struct Pair {
            a: u8,
            b: u8,
        }
        let chain = Chain::new().post(async |_: Valid<Json<Vec<Pair>>>| "fine").build();
        let (_, body) = send(chain, post_json(r#"[{"a":1,"b":1}]"#)).await;
        assert_eq!(pointers(&body), ["/0"]);
        assert_eq!(body["errors"][0]["code"], "distinct");
    }
}

mod settings {
    use super::*;
    use crate::extract::{ByField, FieldError, InvalidInput, Location};
    use crate::{Error, Fields, Provided};

    #[tokio::test]
    async fn the_status_and_the_texts_can_be_set() {
        let invalid = InvalidInput::new().bad_request().translate(|error, headers| {
            let german = headers.get("accept-language").is_some_and(|value| value == "de");
            (german && error.code() == "email").then(|| "Keine Adresse".to_owned())
        });
        let chain =
            Chain::new().provide(invalid).post(async |_: Valid<Json<NewUser>>| "fine").build();
        let mut req = post_json(r#"{"name":"","email":"x"}"#);
        req.headers_mut().insert("accept-language", "de".parse().unwrap());
        let (status, body) = send(chain.clone(), req).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(body["status"], 400);
        assert_eq!(body["errors"][0]["detail"], "Must not be empty");
        assert_eq!(body["errors"][1]["detail"], "Keine Adresse");
        let (status, _) = send(chain, post_json(r#"{"name":1,"email":"x"}"#)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn a_check_that_waits_runs_when_the_rules_are_kept() {
        async fn not_taken(user: NewUser) -> Result<Vec<FieldError>, Error> {
            tokio::task::yield_now().await;
            if user.name == "broken" {
                return Err(std::io::Error::other("database").into());
            }
            let error = || FieldError::new(Location::Body, "taken", "Is taken").at("name");
            Ok((user.name == "admin").then(error).into_iter().collect())
        }
        let chain = Chain::new()
            .use_(ValidateInput::<Json<NewUser>>::new().check(not_taken))
            .post(async |Valid(user): Valid<NewUser>| user.name)
            .build();
        for (name, email, status, code) in [
            ("admin", "x", 422, "email"),
            ("admin", "a@b.de", 422, "taken"),
            ("broken", "a@b.de", 500, ""),
            ("Ann", "a@b.de", 200, ""),
        ] {
            let body = json!({"name": name, "email": email}).to_string();
            let (found, body) = send(chain.clone(), post_json(&body)).await;
            assert_eq!(found, status, "{name}");
            assert_eq!(body["errors"][0]["code"].as_str().unwrap_or_default(), code, "{name}");
        }
    }

    #[derive(Clone)]
    struct Stock(u32);

    #[derive(Clone, Deserialize, Fields, validator::Validate)]
    #[validate(context = Stock)]
    struct Buy {
        #[serde(rename = "n")]
        #[validate(custom(function = in_stock, use_context))]
        count: u32,
    }

    fn in_stock(count: u32, stock: &Stock) -> Result<(), validator::ValidationError> {
        match count <= stock.0 {
            true => Ok(()),
            false => Err(validator::ValidationError::new("stock")
                .with_message("Not so many are left".into())),
        }
    }

    #[tokio::test]
    async fn rules_take_a_context_that_is_provided() {
        let step = Chain::new()
            .provide(Stock(3))
            .use_(ValidateInput::<ByField<Json<Buy>>>::with_context::<Stock>())
            .post(async |Provided(Valid(buy)): Provided<Valid<Buy>>| buy.count.to_string())
            .build();
        let handler = Chain::new()
            .provide(Stock(3))
            .post(
                async |Provided(stock): Provided<Stock>,
                       buy: crate::extract::Unchecked<ByField<Json<Buy>>>| {
                    Valid::check_with(buy, stock).await.map(|buy| buy.count.to_string())
                },
            )
            .build();
        for chain in [step, handler] {
            let (status, body) = send(chain.clone(), post_json(r#"{"n":4}"#)).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
            assert_eq!(
                body["errors"],
                json!([{"location": "body", "pointer": "/n", "code": "stock", "detail": "Not so many are left"}])
            );
            assert_eq!(send(chain, post_json(r#"{"n":3}"#)).await, (StatusCode::OK, json!(3)));
        }
        let without = Chain::new()
            .use_(ValidateInput::<ByField<Json<Buy>>>::with_context::<Stock>())
            .post(async || "fine")
            .build();
        let (status, _) = send(without, post_json(r#"{"n":3}"#)).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[test]
fn links_lead_to_the_web() {
    for (text, fine) in [
        ("https://example.org", true),
        ("HTTP://example.org:8080/a?b#c", true),
        ("http://[::1]/", true),
        ("https://", false),
        ("https:///a", false),
        ("https://user@example.org", false),
        ("javascript:alert(1)", false),
        ("data:text/html,x", false),
        ("file:///etc/passwd", false),
        ("//example.org", false),
        ("/a", false),
        ("https://example.org/a b", false),
        ("https://example.org/#\n", false),
        ("", false),
    ] {
        assert_eq!(super::web_url(text).is_ok(), fine, "{text:?}");
    }
}
