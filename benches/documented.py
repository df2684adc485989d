"""Writes a program of 60 routes, `plain` or `documented`, to measure how long it compiles. RESULTS.md has the command."""

import sys

KIND = sys.argv[1]
PLAIN = KIND == "plain"
SCHEMA = "" if PLAIN else "schemars::JsonSchema, "

HANDLERS = """
#[derive({schema}Serialize)]
struct Item{i} {{ id: u64, name: String, tags: Vec<String> }}
#[derive({schema}Deserialize)]
struct New{i} {{ name: String, tags: Vec<String>, price: Option<u32> }}
#[derive({schema}Deserialize)]
struct Search{i} {{ q: String, page: Option<u32> }}
async fn list{i}(Query(search): Query<Search{i}>) -> Json<Vec<Item{i}>> {{
    Json(vec![Item{i} {{ id: 1, name: search.q, tags: Vec::new() }}])
}}
async fn one{i}(Path(id): Path<u64>) -> Result<Json<Item{i}>, Error> {{
    if id > 9 {{ return Err(Error::new(StatusCode::NOT_FOUND, "There is no such item")); }}
    Ok(Json(Item{i} {{ id, name: String::new(), tags: Vec::new() }}))
}}
async fn add{i}(Json(new): Json<New{i}>) -> Json<Item{i}> {{
    Json(Item{i} {{ id: 1, name: new.name, tags: new.tags }})
}}
async fn remove{i}(Path(id): Path<u64>) -> String {{ id.to_string() }}"""

print("#![allow(dead_code)]")
print("use serde::{Deserialize, Serialize};")
print("use tower_chain::{Chain, Error, Json, Path, Query, StatusCode};")
for i in range(15):
    print(HANDLERS.format(i=i, schema=SCHEMA))
print("fn main() {\n    let chain = Chain::new()" + ("" if PLAIN else ".documented()"))
for i in range(15):
    print(f'        .at("/items{i}", |c| c.get(list{i}).post(add{i}).at("/{{id}}", |c| c.get(one{i}).delete(remove{i})))')
print("    ;\n    drop(chain.build());\n}")
