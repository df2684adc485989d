use std::collections::BTreeMap;

use http::Request;
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::extract::InvalidInput;
use crate::{Body, Chain, ChainService, Form, Json, Query};

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Order {
    tags: Vec<String>,
    counts: Vec<u32>,
    address: Option<Address>,
    items: Vec<Item>,
    prices: BTreeMap<String, u32>,
    grid: Vec<Vec<u8>>,
    shape: Option<Shape>,
    news: bool,
    terms: Option<bool>,
    rate: Option<f32>,
    total: Option<f64>,
    lang: Option<Lang>,
    id: Option<String>,
    #[serde(rename = "own[]")]
    own: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct Address {
    city: String,
    #[serde(default)]
    lines: Vec<String>,
    zip: Option<u32>,
}

#[derive(Deserialize, Serialize)]
struct Item {
    sku: String,
    #[serde(default)]
    n: u32,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    gift: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Shape {
    Point,
    Circle { r: u32 },
    Pair(u32, u32),
    Other(Box<Item>),
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Lang {
    Nan,
    Inf,
}

async fn send(chain: &ChainService, req: Request<Body>) -> (u16, Value) {
    let response = chain.clone().oneshot(req).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Sends the pairs as a query and as a form, and returns the data, or the code and pointer of the error.
async fn read(chain: &ChainService, pairs: &str) -> Result<Value, String> {
    let target: String = pairs.chars().filter(|c| c.is_ascii()).collect();
    let get = Request::get(format!("/?{target}")).body(Body::empty()).unwrap();
    let post = Request::post("/")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(pairs.to_owned()))
        .unwrap();
    let (get_status, from_query) = send(chain, get).await;
    let (status, from_form) = send(chain, post).await;
    if status == 200 {
        assert_eq!((get_status, &from_query), (200, &from_form), "{pairs}");
        return Ok(from_form);
    }
    assert!([400, 414].contains(&get_status), "{pairs} {from_query}");
    assert!([422, 413].contains(&status), "{pairs} {from_form}");
    assert!(!from_form.to_string().contains("SECRET"), "{from_form}");
    let error = &from_form["errors"][0];
    Err(match error.is_null() {
        true => format!("{status}"),
        false => {
            format!("{} {}", error["code"].as_str().unwrap(), error["pointer"].as_str().unwrap())
        }
    })
}

fn chain(syntax: Option<BracketSyntax>) -> ChainService {
    let steps = async |Query(order): Query<Order>| Json(order);
    let form = async |Form(order): Form<Order>| Json(order);
    match syntax {
        Some(syntax) => Chain::new().provide(syntax).get(steps).post(form).build(),
        None => Chain::new().get(steps).post(form).build(),
    }
}

#[tokio::test]
async fn brackets_are_lists_and_objects() {
    let chain = chain(Some(BracketSyntax::new()));
    let item =
        |sku: &str, n: u32, tags: &[&str]| json!({"sku": sku, "n": n, "tags": tags, "gift": false});
    for (pairs, field, expected) in [
        ("tags[]=a", "tags", json!(["a"])),
        ("tags[]=a&tags[]=b", "tags", json!(["a", "b"])),
        ("tags%5B%5D=a&tags%5b%5d=b", "tags", json!(["a", "b"])),
        ("tags=a&tags=b", "tags", json!(["a", "b"])),
        ("tags=a", "tags", json!(["a"])),
        ("tags[0]=a&tags[1]=b", "tags", json!(["a", "b"])),
        ("tags[1]=b&tags[0]=a", "tags", json!(["a", "b"])),
        ("tags[10]=c&tags[9]=b&tags[2]=a", "tags", json!(["a", "b", "c"])),
        ("tags[]=", "tags", json!([""])),
        ("tags[]", "tags", json!([""])),
        ("counts[]=1&id=x&counts[]=2", "counts", json!([1, 2])),
        ("address[city]=Oslo", "address", json!({"city": "Oslo", "lines": [], "zip": null})),
        (
            "address[city]=Oslo&address[lines][]=a&address[lines][]=b&address[zip]=",
            "address",
            json!({"city": "Oslo", "lines": ["a", "b"], "zip": null}),
        ),
        (
            "items[0][sku]=a&items[0][n]=1&items[1][sku]=b",
            "items",
            json!([item("a", 1, &[]), item("b", 0, &[])]),
        ),
        (
            "items[][sku]=a&items[][n]=1&items[][sku]=b&items[][n]=2",
            "items",
            json!([item("a", 1, &[]), item("b", 2, &[])]),
        ),
        (
            "items[][sku]=a&items[][tags][]=x&items[][tags][]=y&items[][sku]=b",
            "items",
            json!([item("a", 0, &["x", "y"]), item("b", 0, &[])]),
        ),
        (
            "items[0][sku]=a&items[0][gift]=false&items[0][gift]=true",
            "items",
            json!([{"sku": "a", "n": 0, "tags": [], "gift": true}]),
        ),
        ("prices[EUR]=1&prices[US%20D]=2", "prices", json!({"EUR": 1, "US D": 2})),
        ("prices[0]=1&prices[07]=2", "prices", json!({"0": 1, "07": 2})),
        ("grid[0][]=1&grid[0][]=2&grid[1][]=3", "grid", json!([[1, 2], [3]])),
        ("grid[0][1]=2&grid[0][0]=1", "grid", json!([[1, 2]])),
        ("shape=point", "shape", json!("point")),
        ("shape[circle][r]=2", "shape", json!({"circle": {"r": 2}})),
        ("shape[pair][]=1&shape[pair][]=2", "shape", json!({"pair": [1, 2]})),
        ("shape[other][sku]=a", "shape", json!({"other": item("a", 0, &[])})),
        ("news=false&news=on", "news", json!(true)),
        ("other[a]=1", "tags", json!([])),
        ("other[a]=1&other[b][c]=2", "tags", json!([])),
    ] {
        let data = read(&chain, pairs).await.unwrap_or_else(|error| panic!("{pairs}: {error}"));
        assert_eq!(data[field], expected, "{pairs}");
    }
}

#[tokio::test]
async fn brackets_that_conflict_or_are_too_many_are_refused() {
    let chain = chain(Some(BracketSyntax::new()));
    for (pairs, error) in [
        ("address=1&address[city]=SECRET", "conflict /address"),
        ("address[city]=x&address=SECRET", "conflict /address"),
        ("address[city]=x&address[city][SECRET]=1", "conflict /address/city"),
        ("tags=a&tags[]=b", "conflict /tags"),
        ("items[0]=x&items[0][sku]=y", "conflict /items/0"),
        ("unknown=1&unknown[a]=2", "conflict /*"),
        ("tags[]=a&tags[0]=b", "type /tags"),
        ("tags[a]=b", "type /tags"),
        ("tags[00]=b", "type /tags"),
        ("tags[-1]=b", "type /tags"),
        ("tags[+1]=b", "type /tags"),
        ("tags[0]=a&tags[0]=b", "duplicate /tags/0"),
        ("tags[0][x]=a", "type /tags/0"),
        ("tags[][x]=a", "type /tags/0"),
        ("tags[999]=a&tags[1000]=a", "index /tags"),
        ("tags[99999999999999999999999999]=a", "index /tags"),
        ("address[]=x", "type /address"),
        ("address=x", "type /address"),
        ("address[zip]=1", "missing /address/city"),
        ("address[city]=x&address[zip]=SECRET", "type /address/zip"),
        ("address[city]=x&address[city]=y", "duplicate /address/city"),
        ("items[0][sku]=a&items[1][n]=1", "missing /items/1/sku"),
        ("items[0][sku]=a&items[0][n]=-1", "type /items/0/n"),
        ("prices[SECRET]=x", "type /prices/*"),
        ("prices[]=1", "type /prices"),
        ("shape[circle][r]=1&shape[point]=", "type /shape"),
        ("shape[SECRET]=1", "choice /shape"),
        ("news[a]=true", "type /news"),
        ("tags[", "brackets "),
        ("tags]=1", "brackets "),
        ("tags[a=1", "brackets "),
        ("tags[a]b=1", "brackets "),
        ("tags[a[b]]=1", "brackets "),
        ("tags[[]]=1", "brackets "),
        ("[]=1", "brackets "),
        ("[a]=1", "brackets "),
        ("SECRET[a]]=1", "brackets "),
        ("a[b][c][d][e][f]=1", "200"),
        ("a[b][c][d][e][f][g]=1", "depth "),
    ] {
        let found = read(&chain, pairs).await.map(|_| "200".to_owned());
        assert_eq!(found.unwrap_or_else(|error| error), error, "{pairs}");
    }
    let body = format!("a{}=1", "[b]".repeat(300_000));
    let post = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let (status, problem) = send(&chain, post.body(Body::from(body)).unwrap()).await;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("depth")));
}

#[tokio::test]
async fn the_limits_of_brackets_are_settings() {
    let syntax = BracketSyntax::new().max_depth(2).max_index(1);
    let chain = chain(Some(syntax));
    for (pairs, error) in [
        ("address[lines][]=a&address[city]=b", None),
        ("a[b][c][d]=1", Some("depth ")),
        ("tags[1]=a", None),
        ("tags[2]=a", Some("index /tags")),
    ] {
        assert_eq!(read(&chain, pairs).await.err().as_deref(), error, "{pairs}");
    }
    // Recursive data of any kind is as deep as its names.
    #[derive(Deserialize)]
    struct Tree {
        #[serde(default)]
        t: Vec<Tree>,
    }
    fn depth(tree: &Tree) -> usize {
        1 + tree.t.iter().map(depth).max().unwrap_or(0)
    }
    let chain = Chain::new()
        .provide(BracketSyntax::new().max_depth(usize::MAX))
        .post(async |Form(tree): Form<Tree>| Json(depth(&tree)))
        .build();
    for (levels, expected) in
        [(15, (200, json!(16))), (16, (200, json!(17))), (17, (422, Value::Null))]
    {
        let body = format!("t{}[x]=1", "[0][t]".repeat(levels - 1) + "[0]");
        let post = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let (status, data) = send(&chain, post.body(Body::from(body)).unwrap()).await;
        assert_eq!(status, expected.0, "{levels} {data}");
        assert!(status == 422 || data == expected.1, "{levels} {data}");
    }
}

#[tokio::test]
async fn a_list_in_brackets_is_not_silently_empty() {
    #[derive(Deserialize, Serialize)]
    struct Flat {
        #[serde(flatten)]
        page: Page,
    }
    #[derive(Deserialize, Serialize)]
    struct Page {
        #[serde(default)]
        sort: Vec<String>,
    }
    let plain = chain(None);
    let literal = chain(Some(BracketSyntax::literal()));
    for (pairs, error) in [
        ("tags[]=a", Some("brackets /tags")),
        ("tags[]=SECRET&tags[]=b&id=1", Some("brackets /tags")),
        ("id=1&tags%5B%5D=a", Some("brackets /tags")),
        ("tags[0]=a", Some("brackets /tags")),
        ("address[city]=x", Some("brackets /address")),
        ("items[0][sku]=x", Some("brackets /items")),
        ("id=1&unknown[]=x", None),
        ("own[]=x", None),
        ("tags[=x", None),
        ("[]=x", None),
    ] {
        assert_eq!(read(&plain, pairs).await.err().as_deref(), error, "{pairs}");
        assert_eq!(read(&literal, pairs).await.err(), None, "{pairs}");
    }
    assert_eq!(read(&plain, "own[]=x&own[]=y").await.unwrap()["own[]"], json!(["x", "y"]));
    let flat = Chain::new()
        .get(async |Query(flat): Query<Flat>| Json(flat))
        .post(async |Form(flat): Form<Flat>| Json(flat))
        .build();
    assert_eq!(read(&flat, "sort[]=a").await, Err("brackets ".to_owned()));
    let maps = Chain::new()
        .get(async |Query(map): Query<BTreeMap<String, String>>| Json(map))
        .post(async |Form(map): Form<BTreeMap<String, String>>| Json(map))
        .build();
    assert_eq!(read(&maps, "sort[]=a").await, Ok(json!({"sort[]": "a"})));
    let pairs = Chain::new()
        .get(async |Query(pairs): Query<Vec<(String, String)>>| Json(pairs))
        .post(async |Form(pairs): Form<Vec<(String, String)>>| Json(pairs))
        .build();
    let all = json!([["sort[]", "a"], ["b", ""], ["sort[]", "c d"]]);
    assert_eq!(read(&pairs, "sort[]=a&b&sort[]=c+d").await, Ok(all));
}

#[tokio::test]
async fn values_are_read_by_their_type() {
    let chain = chain(None);
    for (pairs, field, expected) in [
        ("lang=nan", "lang", json!("nan")),
        ("id=%%35D&lang=%6Ean", "lang", json!("nan")),
        ("lang=inf", "lang", json!("inf")),
        ("id=7e123456", "id", json!("7e123456")),
        ("id=NaN", "id", json!("NaN")),
        ("total=1e308", "total", json!(1e308)),
        ("rate=", "rate", Value::Null),
        ("news=false", "news", json!(false)),
        ("news=on", "news", json!(true)),
        ("news=false&news=true", "news", json!(true)),
        ("news=false&id=1&news=on", "news", json!(true)),
        ("terms=false&terms=true", "terms", json!(true)),
        ("terms=false", "terms", json!(false)),
        ("terms=", "terms", Value::Null),
    ] {
        let data = read(&chain, pairs).await.unwrap_or_else(|error| panic!("{pairs}: {error}"));
        assert_eq!(data[field], expected, "{pairs}");
    }
    for (pairs, error) in [
        ("rate=1e39", "value /rate"),
        ("rate=-1e39", "value /rate"),
        (&*format!("rate={}", "9".repeat(40)), "value /rate"),
        ("total=1e999", "value /total"),
        ("total=.9e999", "value /total"),
        ("total=NaN", "type /total"),
        ("total=%2BInfinity", "type /total"),
        ("total=-inf", "type /total"),
        ("total=%6Ean", "type /total"),
        ("total=x", "type /total"),
        ("news=maybe", "value /news"),
        ("news=true&news=false", "duplicate /news"),
        ("news=true&news=true", "duplicate /news"),
        ("news=false&news=false", "duplicate /news"),
        ("news=false&news=true&news=true", "duplicate /news"),
        ("news=false&news=SECRET", "duplicate /news"),
        ("id=a&id=b", "duplicate /id"),
        ("counts=1&counts=x", "type /counts/1"),
    ] {
        assert_eq!(read(&chain, pairs).await, Err(error.to_owned()), "{pairs}");
    }
}

/// Each pair may become a struct with many fields, which a validation engine keeps the errors of.
#[tokio::test]
async fn structs_in_brackets_count_against_the_limit_of_validated_values() {
    let chain = |values: usize| {
        Chain::new()
            .provide(BracketSyntax::new())
            .provide(InvalidInput::new().max_values(values))
            .post(async |order: crate::extract::Unchecked<Form<Order>>| drop(order))
            .build()
    };
    let body: String = (0..50).map(|n| format!("items[{n}][sku]=x&")).collect();
    for (values, status) in [(400, 200), (100, 413)] {
        let post = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let req = post.body(Body::from(body.clone())).unwrap();
        let response = chain(values).oneshot(req).await.unwrap();
        assert_eq!(response.status(), status, "{values}");
    }
}

/// Distinct names, equal names and items take time that is about proportional to the body.
#[tokio::test]
async fn many_pairs_are_read_quickly() {
    let chain = chain(Some(BracketSyntax::new()));
    let pairs =
        |pair: &dyn Fn(usize) -> String| (0..19_999).map(pair).collect::<Vec<_>>().join("&");
    for body in [
        pairs(&|n| format!("prices[{n}]=1")),
        pairs(&|n| format!("unknown{n}=1")),
        pairs(&|_| "tags[]=1".to_owned()),
        pairs(&|n| format!("items[{}][sku]=1", n % 1000)),
        pairs(&|n| format!("items[][{n}]=1")),
    ] {
        let post = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let started = std::time::Instant::now();
        send(&chain, post.body(Body::from(body)).unwrap()).await;
        assert!(started.elapsed().as_secs() < 5);
    }
}

#[test]
fn pairs_are_utf8_in_pieces_as_in_one() {
    for character in ["a", "%61", "é", "%C3%A9", "%e2%82%ac", "€", "😀", "%F0%9F%98%80", "%"] {
        for count in 1..70 {
            let text = format!("x{}", character.repeat(count));
            assert!(is_utf8(text.as_bytes()), "{text}");
            for wrong in ["%ff", "%C3", "%F0%9F%98"] {
                assert!(!is_utf8(format!("{text}{wrong}").as_bytes()), "{text}{wrong}");
                assert!(!is_utf8(format!("{wrong}{text}").as_bytes()), "{wrong}{text}");
            }
        }
    }
    assert!(!is_utf8(b"a=\xff"));
}

#[test]
fn few_texts_need_more_than_one_reader() {
    for (text, brackets, numbers) in [
        ("name=Ann+B&email=ann%40example.org", false, false),
        ("name=Nina&city=Imst&street=Ny+5", false, false),
        ("a=1&b=2.5&c=-3&d=%C3%A9", false, false),
        ("a=NaN", false, true),
        ("a=1&a=-nan", false, true),
        ("a=inf", false, true),
        ("a=+Infinity", false, true),
        ("a=%2Binf", false, true),
        ("a=%2Dinf", false, true),
        ("a=%6Ean", false, true),
        ("a=n%61n", false, true),
        ("a=1e999", false, true),
        ("a=1.E999", false, true),
        ("a=%31e999", false, true),
        ("a=1%65999", false, true),
        ("a=-%31e999", false, true),
        (".=.9e999", false, true),
        (&*format!("a={}", "9".repeat(39)), false, true),
        (&*format!("a={}", "9".repeat(38)), false, false),
        ("a[]=1", true, false),
        ("a%5B%5d=1", true, false),
        ("a%5B0%5D=1", true, false),
        ("a[=1", false, false),
    ] {
        let marks = Marks::of(text.as_bytes());
        assert_eq!((marks.has_brackets, marks.has_odd_numbers), (brackets, numbers), "{text}");
    }
}
