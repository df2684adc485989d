//! The build of one application beside the same application in axum: ten modules, 60 routes, 20 steps. And 200 routes in one function.

use std::fmt::Write as _;
use std::path::Path;

use crate::Result;
use crate::growth::{timed_build, write_manifest};
use crate::options::Options;

/// How many modules the application has. Each has six routes and two steps.
const MODULES: usize = 10;

/// How many routes the function has. Each has a handler of its own.
const ROUTES: usize = 200;

/// The goals: how much more than axum a chain may take.
const MOST_TIME: f64 = 1.2;
const MOST_SIZE: f64 = 1.3;

pub fn table(options: &Options) -> Result<String> {
    let mut table = format!(
        "The same applications with this crate and with axum. *Modules*: {MODULES} modules with six routes and two steps each. *Function*: {ROUTES} \
         routes in one function. `cargo build` after the dependencies, in seconds of CPU time, and the size of the program, stripped, in MiB.\n\n\
         | | debug, s | size | release, s | size |\n| --- | ---: | ---: | ---: | ---: |\n"
    );
    let mut verdicts = "\n| what | budget | measured | |\n| --- | --- | --- | --- |\n".to_owned();
    for (shape, axum, chain) in [
        ("modules", modules_with_axum(), modules_with_a_chain()),
        ("function", function_with_axum(), function_with_a_chain()),
    ] {
        let other = measure(options, AXUM_DEPENDENCIES, &axum)?;
        let own = measure(options, CHAIN_DEPENDENCIES, &chain)?;
        let ratio: Vec<f64> = own.iter().zip(other).map(|(own, other)| own / other).collect();
        // A quick run has no release build.
        let shown = |figure: f64, text: String| if figure.is_nan() { "-".to_owned() } else { text };
        let figures = |all: [f64; 4]| all.map(|figure| shown(figure, format!("{figure:.1}")));
        row(&mut table, &format!("{shape}, axum"), figures(other))?;
        row(&mut table, &format!("{shape}, tower-chain"), figures(own))?;
        let ratios = [0, 1, 2, 3].map(|i| shown(ratio[i], format!("{:.2}x", ratio[i])));
        row(&mut table, &format!("{shape}, ratio"), ratios)?;
        for (what, most, i) in [
            ("time of a debug build", MOST_TIME, 0),
            ("size of a debug build", MOST_SIZE, 1),
            ("time of a release build", MOST_TIME, 2),
            ("size of a release build", MOST_SIZE, 3),
        ] {
            if ratio[i].is_nan() {
                continue;
            }
            let verdict = if ratio[i] <= most { "met" } else { "**missed**" };
            let measured = ratio[i];
            writeln!(
                verdicts,
                "| {shape}: {what}, beside axum | at most {most:.1}x | {measured:.2}x | {verdict} |"
            )?;
        }
    }
    Ok(table + &verdicts)
}

/// CPU seconds and MiB of a debug build, then of a release build.
fn measure(options: &Options, dependencies: &str, program: &str) -> Result<[f64; 4]> {
    let folder = std::env::temp_dir().join(format!("application-{}", std::process::id()));
    write(&folder, dependencies, program)?;
    let debug = timed_build(&folder, false)?;
    let release = match options.quick {
        true => (f64::NAN, f64::NAN),
        false => timed_build(&folder, true).map(|built| (built.cpu, built.size))?,
    };
    std::fs::remove_dir_all(&folder)?;
    eprintln!("built an application: {:.1} s, {:.1} MiB", debug.cpu, debug.size);
    Ok([debug.cpu, debug.size, release.0, release.1])
}

fn row(table: &mut String, title: &str, cells: [String; 4]) -> Result<()> {
    Ok(writeln!(table, "| {title} | {} |", cells.join(" | "))?)
}

fn write(folder: &Path, dependencies: &str, program: &str) -> Result<()> {
    write_manifest(folder, dependencies)?;
    std::fs::write(folder.join("src/main.rs"), program)?;
    Ok(())
}

const CHAIN_DEPENDENCIES: &str = "http = \"1\"\n\
    serde = { version = \"1\", features = [\"derive\"] }\n\
    tower-chain = { path = PATH, features = [\"json\", \"query\", \"serve\"] }\n";

const AXUM_DEPENDENCIES: &str = "http = \"1\"\n\
    serde = { version = \"1\", features = [\"derive\"] }\n\
    axum = \"0.8\"\n";

fn modules_with_a_chain() -> String {
    program(CHAIN_HEAD, CHAIN_MODULE, CHAIN_MAIN, |i| {
        format!("        .mount(\"/m{i}\", m{i}::routes())\n")
    })
}

fn modules_with_axum() -> String {
    program(AXUM_HEAD, AXUM_MODULE, AXUM_MAIN, |i| {
        format!("        .nest(\"/m{i}\", m{i}::routes())\n")
    })
}

fn function_with_a_chain() -> String {
    function(CHAIN_HEAD, CHAIN_MAIN, |i| {
        format!("        .at(\"/r{i}/{{id}}\", |c| c.get(h{i}))\n")
    })
}

fn function_with_axum() -> String {
    function(AXUM_HEAD, AXUM_MAIN, |i| format!("        .route(\"/r{i}/{{id}}\", get(h{i}))\n"))
}

fn function(head: &str, main: &str, route: fn(usize) -> String) -> String {
    let mut text = format!("#![allow(unused_imports)]\n{head}");
    for i in 0..ROUTES {
        text += &format!(
            "\nasync fn h{i}(State(state): State<AppState>, Path(id): Path<u32>) -> String {{\n    format!(\"{{}} {{id}}\", state.name)\n}}\n"
        );
    }
    let routes: String = (0..ROUTES).map(route).collect();
    text + &main.replace("MOUNTS\n", &routes)
}

fn program(head: &str, module: &str, main: &str, mount: fn(usize) -> String) -> String {
    let mut text = head.to_owned();
    for i in 0..MODULES {
        text += &format!("\nmod m{i} {{\n    use super::*;\n{HANDLERS}{module}}}\n");
    }
    let mounts: String = (0..MODULES).map(mount).collect();
    text + &main.replace("MOUNTS\n", &mounts)
}

/// The handlers are the same in both programs.
const HANDLERS: &str = r#"
    #[derive(Deserialize)]
    struct Page {
        number: u32,
    }

    #[derive(Deserialize, Serialize)]
    struct Item {
        id: u32,
        name: String,
        tags: Vec<String>,
    }

    async fn list(State(state): State<AppState>, Query(page): Query<Page>) -> String {
        format!("{} {}", state.name, page.number)
    }

    async fn create(State(_): State<AppState>, Json(item): Json<Item>) -> Json<Item> {
        Json(item)
    }

    async fn show(State(state): State<AppState>, Path(id): Path<u32>) -> String {
        format!("{} {id}", state.name)
    }

    async fn change(Path(id): Path<u32>, Json(item): Json<Item>) -> Json<Item> {
        Json(Item { id, ..item })
    }

    async fn remove(State(_): State<AppState>, Path(id): Path<u32>) -> String {
        id.to_string()
    }

    async fn history(Path(id): Path<u32>, Query(page): Query<Page>) -> String {
        format!("{id} {}", page.number)
    }
"#;

const CHAIN_HEAD: &str = r#"#![allow(dead_code)]
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tower_chain::{Chain, Error, Json, Next, Path, Provided as State, Query, Response, Sealed, StatusCode};

#[derive(Clone)]
struct AppState {
    name: &'static str,
}
"#;

const CHAIN_MODULE: &str = r#"
    async fn log(next: Next<'_>) -> Response {
        let line = format!("{} {}", next.method(), next.uri());
        let response = next.run().await;
        println!("{line} {}", response.status());
        response
    }

    async fn check(headers: HeaderMap) -> Result<(), Error> {
        let known = headers.contains_key("authorization");
        known.then_some(()).ok_or_else(|| Error::new(StatusCode::UNAUTHORIZED, "Who are you?"))
    }

    pub fn routes() -> Sealed<(AppState,)> {
        Chain::expecting::<(AppState,)>()
            .use_(log)
            .guard(check)
            .get(list)
            .post(create)
            .at("/{id}", |c| c.get(show).put(change).delete(remove))
            .at("/{id}/history", |c| c.get(history))
            .seal()
    }
"#;

const CHAIN_MAIN: &str = r#"
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), tower_chain::serve::ServeError> {
    let api = Chain::new()
        .provide(AppState { name: "app" })
MOUNTS
        .build();
    tower_chain::serve("127.0.0.1:0", api).await
}
"#;

const AXUM_HEAD: &str = r#"#![allow(dead_code)]
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct AppState {
    name: &'static str,
}
"#;

const AXUM_MODULE: &str = r#"
    async fn log(req: Request, next: Next) -> Response {
        let line = format!("{} {}", req.method(), req.uri());
        let response = next.run(req).await;
        println!("{line} {}", response.status());
        response
    }

    async fn check(headers: HeaderMap, req: Request, next: Next) -> Result<Response, StatusCode> {
        if !headers.contains_key("authorization") {
            return Err(StatusCode::UNAUTHORIZED);
        }
        Ok(next.run(req).await)
    }

    pub fn routes() -> Router<AppState> {
        Router::new()
            .route("/", get(list).post(create))
            .route("/{id}", get(show).put(change).delete(remove))
            .route("/{id}/history", get(history))
            .route_layer(from_fn(check))
            .route_layer(from_fn(log))
    }
"#;

const AXUM_MAIN: &str = r#"
#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let api: Router = Router::new()
MOUNTS
        .with_state(AppState { name: "app" });
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, api).await
}
"#;
