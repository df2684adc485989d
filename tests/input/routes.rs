//! The matrix of routes, for parameters.

use serde::Deserialize;
use tower_chain::extract::Params;
use tower_chain::{Chain, ChainService, MatchedPath, Path, TestClient};

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
        .at("/fallback/req/{*rest}", |c| {
            c.get(async |Path(rest): Path<Vec<String>>| format!("rest {rest:?}"))
        })
        .at("/fallback/{post}", |c| c.get(async |Path(post): Path<String>| format!("post {post}")))
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
        // The parameter replaces a query parameter of the same name.
        row("GET", "/posts/a?post=b&tag=1&tag=2", 200).answer("a 1,2"),
        row("GET", "/posts/a%2Fb", 200).answer("a/b "),
        row("GET", "/posts/a+b%20c%26d", 200).answer("a+b c&d "),
        row("GET", "/posts/a/b%2Fc", 200).answer(r#"rest ["a", "b/c"]"#),
        row("GET", "/posts/%zz", 400),
        row("GET", "/posts/%ff", 400),
        row("GET", "/POSTS/new", 404),
        row("GET", "/docs", 200).answer("/docs None"),
        row("GET", "/docs/a/b", 200).answer(r#"/docs/{*path} Some(["a", "b"])"#),
        // A slash at the end is the same route, without a redirect.
        row("GET", "/docs/", 200).answer("/docs None"),
        row("GET", "/docs/a/b/", 200).answer(r#"/docs/{*path} Some(["a", "b"])"#),
        // Two slashes enclose an empty segment. The chain does not redirect to hide it.
        row("GET", "/docs/a//b", 200).answer(r#"/docs/{*path} Some(["a", "", "b"])"#),
        // A required catch-all does not match an empty rest; the parameter does.
        row("GET", "/fallback/req", 200).answer("post req"),
        row("GET", "/fallback/req/a", 200).answer(r#"rest ["a"]"#),
        row("GET", "/users/1/posts/x", 200).answer("1 x"),
        row("GET", "/users/CANARY/posts/x", 400).answer(r#".."pointer":"/user""#),
        row("GET", "/users/1/posts", 404),
        row("HEAD", "/posts/new", 200).answer("").field("content-length", "6"),
        row("OPTIONS", "/posts/new", 204).answer("").field("allow", "GET, HEAD, OPTIONS"),
        row("POST", "/posts/new", 405).field("allow", "GET, HEAD, OPTIONS"),
    ];
    run(chain(), rows).await;
}

/// Errors that Next.js reports when it builds are also errors here.
#[test]
fn mistakes_in_patterns_are_found_when_built() {
    async fn first() {}
    async fn second() {}
    for (one, two, mistake) in [
        // Two names at one level.
        ("/a/{x}", "/a/{y}", true),
        ("/a/{*x}", "/a/{*y}", true),
        // A name twice in one path.
        ("/a/{x}/{x}", "/b", true),
        ("/a/{x}/{*x}", "/b", true),
        // A catch-all that is not the last.
        ("/a/{*x}/b", "/b", true),
        // A folder's index, and a file of its name; the root of an optional catch-all, and an index.
        ("/a", "/a/", true),
        // Unmatched and doubled brackets, misplaced dots.
        ("/a/{x", "/b", true),
        ("/a/x}", "/b", true),
        ("/a/{}", "/b", true),
        ("/a/{*}", "/b", true),
        ("/a/{x*}", "/b", true),
        ("a", "/b", true),
        // These are valid together.
        ("/a/{x}/b", "/a/{y}/c", false),
        ("/a/{x}", "/a/{*y}", false),
        ("/a", "/a/{*y}", false),
        ("/a/b", "/a/{x}", false),
        ("/a/{x}", "/a/{x}/b", false),
        // The parameter of another framework.
        ("/a/[x]", "/b", true),
        // Ordinary characters.
        ("/a/…x", "/a/%5Bx%5D", false),
    ] {
        let built = Chain::new().at(one, |c| c.get(first)).at(two, |c| c.get(second)).try_build();
        assert_eq!(built.is_err(), mistake, "{one} {two}: {built:?}");
    }
}

#[tokio::test]
async fn only_a_catch_all_has_as_many_segments_as_a_client_likes() {
    #[derive(serde::Deserialize)]
    struct Two {
        #[serde(rename = "rest")]
        _rest: [String; 2],
    }
    #[derive(serde::Deserialize)]
    struct Wrong {
        #[serde(rename = "id")]
        _id: [String; 2],
    }
    let api = Chain::new()
        .at("/two/{*rest}", |c| c.get(async |_: Path<Two>| "ok"))
        .at("/wrong/{id}/{*rest}", |c| c.get(async |_: Path<Wrong>| "ok"))
        .build();
    let client = TestClient::new(api);
    for (path, status) in
        [("/two/a/b", 200), ("/two/a", 400), ("/two/a/b/c", 400), ("/wrong/a/b", 500)]
    {
        assert_eq!(client.get(path).send().await.status().as_u16(), status, "{path}");
    }
}
