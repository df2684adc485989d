//! The matrix of routes, as far as parameters go.

use serde::Deserialize;
use tower_chain::extract::Params;
use tower_chain::{Chain, ChainService, MatchedPath, Path};

use crate::{row, run};

#[derive(Deserialize)]
struct Post {
    post: String,
    #[serde(default)]
    tag: Vec<String>,
}

fn chain() -> ChainService {
    // An optional catch-all is two paths with one handler.
    async fn docs(pattern: MatchedPath, path: Option<Path<Vec<String>>>) -> String {
        format!("{} {:?}", pattern.as_str(), path.map(|Path(segments)| segments))
    }
    Chain::new()
        .at("/posts/new", |c| c.get(async || "static"))
        .at("/posts/{post}", |c| {
            c.get(async |Params(p): Params<Post>| format!("{} {}", p.post, p.tag.join(",")))
        })
        .at("/posts/{*rest}", |c| {
            c.get(async |Path(rest): Path<Vec<String>>| format!("rest {rest:?}"))
        })
        .at("/docs", |c| c.get(docs))
        .at("/docs/{*path}", |c| c.get(docs))
        .at("/users/{user}/posts/{post}", |c| {
            c.get(async |Path((user, post)): Path<(u32, String)>| format!("{user} {post}"))
        })
        .build()
}

#[tokio::test]
async fn each_path_gives_its_parameters() {
    let rows = vec![
        row("GET", "/posts/new", 200).answer("static"),
        row("GET", "/posts/a.json", 200).answer("a.json "),
        // The parameter hides what the query has under its name.
        row("GET", "/posts/a?post=b&tag=1&tag=2", 200).answer("a 1,2"),
        row("GET", "/posts/a%2Fb", 200).answer("a/b "),
        row("GET", "/posts/a+b%20c%26d", 200).answer("a+b c&d "),
        row("GET", "/posts/a/b%2Fc", 200).answer(r#"rest ["a", "b/c"]"#),
        row("GET", "/posts/%zz", 400),
        row("GET", "/posts/%ff", 400),
        row("GET", "/POSTS/new", 404),
        row("GET", "/docs", 200).answer("/docs None"),
        row("GET", "/docs/a/b", 200).answer(r#"/docs/{*path} Some(["a", "b"])"#),
        row("GET", "/users/1/posts/x", 200).answer("1 x"),
        row("GET", "/users/CANARY/posts/x", 400).answer(r#".."pointer":"/user""#),
        row("GET", "/users/1/posts", 404),
        row("POST", "/posts/new", 405).field("allow", "GET, HEAD, OPTIONS"),
    ];
    run(chain(), rows).await;
}
