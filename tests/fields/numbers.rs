//! NaN and infinity, by the type of the field.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_chain::extract::ByField;
use tower_chain::{Chain, Fields, Form, Json, Path, Query};

use crate::{form, get, json as post, send};

#[derive(Debug, Deserialize, Fields, Serialize)]
#[serde(rename_all = "lowercase")]
enum Lang {
    Nan,
    Inf,
    De,
}

#[derive(Debug, Default, Deserialize, Fields, Serialize)]
#[serde(default)]
struct Values {
    lang: Option<Lang>,
    id: Option<String>,
    single: Option<f32>,
    double: Option<f64>,
    list: Vec<f32>,
}

#[derive(Debug, Deserialize, Serialize)]
struct One<T> {
    v: T,
}

#[tokio::test]
async fn a_number_is_finite_and_a_text_may_look_like_one() {
    let chain = Chain::new()
        .at("/field", |c| {
            c.get(async |ByField(Query(values)): ByField<Query<Values>>| Json(values))
                .post(async |ByField(Json(values)): ByField<Json<Values>>| Json(values))
        })
        .at("/form", |c| c.post(async |Form(values): Form<Values>| Json(values)))
        .at("/query", |c| c.get(async |Query(values): Query<Values>| Json(values)))
        .at("/json", |c| c.post(async |Json(values): Json<Values>| Json(values)))
        .at("/path/lang/{v}", |c| c.get(async |Path(v): Path<One<Lang>>| Json(v)))
        .at("/path/id/{v}", |c| c.get(async |Path(v): Path<One<String>>| Json(v)))
        .at("/path/single/{v}", |c| c.get(async |Path(v): Path<One<f32>>| Json(v)))
        .at("/path/double/{v}", |c| c.get(async |Path(v): Path<One<f64>>| Json(v)))
        .build();
    let long = "9".repeat(400);
    for (name, text, is_valid) in [
        ("lang", "nan", true),
        ("lang", "inf", true),
        ("lang", "infinity", false),
        ("id", "7e123456", true),
        ("id", "NaN", true),
        ("id", "-inf", true),
        ("id", "1e999", true),
        ("single", "1e38", true),
        ("single", "-3.4028234e38", true),
        ("single", "1e39", false),
        ("single", "-1e39", false),
        ("single", "1e999", false),
        ("single", "NaN", false),
        ("single", "inf", false),
        ("double", "1e39", true),
        ("double", "1e308", true),
        ("double", "1e309", false),
        ("double", "1e999", false),
        ("double", "-1E999", false),
        ("double", "NaN", false),
        ("double", "nan", false),
        ("double", "-inf", false),
        ("double", "Infinity", false),
        ("double", &long, false),
        ("list", "1e39", false),
        ("list", "1", true),
    ] {
        let is_text = ["lang", "id"].contains(&name);
        let value = if is_text { json!(text).to_string() } else { text.to_owned() };
        let value = if name == "list" { format!("[1,{value}]") } else { value };
        let pair = format!("{name}={}", text.replace('+', "%2B"));
        for req in [
            get(&format!("/query?{pair}")),
            get(&format!("/field?{pair}")),
            form("/form", &pair),
            post("/json", format!("{{\"{name}\":{value}}}")),
            post("/field", format!("{{\"{name}\":{value}}}")),
            get(&format!("/path/{name}/{text}")),
        ] {
            if name == "list" && req.uri().path().starts_with("/path") {
                continue;
            }
            let shown = format!("{} {pair}", req.uri());
            let (status, body) = send(&chain, req).await;
            assert_eq!(status == 200, is_valid, "{shown} {status} {body}");
            assert!([200, 400, 422].contains(&status), "{shown} {status}");
            if is_valid && is_text {
                let member = if shown.starts_with("/path") { "v" } else { name };
                assert_eq!(body[member], Value::from(text), "{shown}");
            }
        }
    }
}
