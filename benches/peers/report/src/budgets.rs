//! The budgets of the project.

use std::fmt::Write;

use crate::counts::{Counts, Jwt, WITH_OUR_REGEX};
use crate::document::find;
use crate::load::Load;
use crate::peers::Job;

/// A row for each budget: its name, the budget, the figure, and whether it is met.
pub fn table(loads: &[Load], counts: &Counts) -> String {
    let mut table = Table("| what | budget | measured | |\n| --- | --- | --- | --- |\n".to_owned());
    allocations(&mut table, counts);
    steps(&mut table, counts);
    job_in_process(&mut table, counts);
    loopback(&mut table, loads);
    routing(&mut table, counts);
    jwt(&mut table, counts);
    built_ins(&mut table, counts);
    for (features, most) in [("no feature", 25), ("`full`", 195)] {
        let found = counts.crates.iter().find(|(name, _)| name == features);
        let found = found.map(|(_, crates)| *crates as f64);
        let what = format!("crates, with {features}");
        table.most(&what, most as f64, found, |figure| format!("{figure:.0}"));
    }
    table.0 + ELSEWHERE
}

struct Table(String);

impl Table {
    /// Adds a row with a maximum for its figure.
    fn most(&mut self, what: &str, most: f64, figure: Option<f64>, show: impl Fn(f64) -> String) {
        self.most_with(what, most, figure, show, "");
    }

    /// The same, with a note after the figure.
    fn most_with(
        &mut self,
        what: &str,
        most: f64,
        figure: Option<f64>,
        show: impl Fn(f64) -> String,
        beside: &str,
    ) {
        let budget = format!("at most {}", show(most));
        let figure = figure.filter(|figure| figure.is_finite());
        let (shown, verdict) = match figure {
            None => ("not measured".to_owned(), ""),
            Some(figure) if figure <= most => (show(figure), "met"),
            Some(figure) => (show(figure), "**missed**"),
        };
        let _ = writeln!(self.0, "| {what} | {budget} | {shown}{beside} | {verdict} |");
    }
}

fn ratio(figure: f64) -> String {
    format!("{figure:.2}x")
}

fn exact(figure: f64) -> String {
    format!("{figure:.0}")
}

fn nanos(figure: f64) -> String {
    format!("{figure:.1} ns")
}

fn allocations(table: &mut Table, counts: &Counts) {
    let of = |case: &str| counts.count("steps", case).map(|count| count.1 as f64);
    let more = |a: &str, b: &str| Some(of(a)? - of(b)?);
    let mut row =
        |what: &str, most: f64, figure: Option<f64>| table.most(what, most, figure, exact);
    row("allocations, `into_service()`", 0.0, more("chain of 0", "bare handler"));
    row("allocations, `tower::Service`", 1.0, more("chain of 0, built", "bare handler"));
    for kind in ["guard", "native", "async fn"] {
        let eight = more(&format!("{kind} x 8"), "chain of 0");
        row(&format!("allocations, 8 steps and a handler: {kind}"), 1.0, eight);
        let hundred = more(&format!("{kind} x 100"), "chain of 0");
        row(&format!("allocations, 100 steps: {kind}"), 100.0 / 8.0, hundred);
    }
    let path = counts.count("paths", "static, one of 10").map(|count| count.1 as f64);
    let level = path.and_then(|path| Some(path - of("chain of 0")?));
    row("allocations, a level of `at`", 1.0, level);
}

fn steps(table: &mut Table, counts: &Counts) {
    let time = |case: &str| counts.time("steps", case);
    let instructions = |case: &str| counts.count("steps", case).map(|count| count.0 as f64);
    for (kind, most) in [("native", 8.0), ("async fn", 25.0), ("guard", 3.0)] {
        let each =
            |kind: &str, none: &str| Some((time(&format!("{kind} x 16"))? - time(none)?) / 16.0);
        // The moves that a function which takes the request can't avoid.
        let moves = each("four moves of a request", "bare handler").filter(|_| kind == "async fn");
        let moves =
            moves.map(|moves| format!("; of that four moves of the request {}", nanos(moves)));
        let what = format!("a step of 16: {kind}");
        table.most_with(&what, most, each(kind, "chain of 0"), nanos, &moves.unwrap_or_default());
    }
    for kind in ["native", "async fn", "guard"] {
        // Steps 9 to 16, and those after them.
        let growth = |instructions: &dyn Fn(&str) -> Option<f64>| {
            let [a, b, c] = [8, 16, 100].map(|steps| instructions(&format!("{kind} x {steps}")));
            Some((c? - b?) / 84.0 / ((b? - a?) / 8.0))
        };
        let default = growth(&instructions).map(|figure| {
            format!("; {} where the allocator keeps seven boxes at hand", ratio(figure))
        });
        let what = format!("instructions of a step, at 16 to 100 beside 8 to 16: {kind}");
        let at_hand = growth(&|case| counts.at_hand(case));
        table.most_with(&what, 1.1, at_hand, ratio, &default.unwrap_or_default());
    }
}

fn job_in_process(table: &mut Table, counts: &Counts) {
    let group = "whole job";
    let time = |case: &str| counts.time(group, case);
    let instructions = |case: &str| counts.count(group, case).map(|count| count.0 as f64);
    for ours in ["chain", "chain, without RateLimit fields"] {
        let fields = if ours == "chain" { "with" } else { "without" };
        let what =
            |measure: &str| format!("whole job in process, {fields} `RateLimit` fields, {measure}");
        for (other, most) in [("by hand", 0.70), ("axum", 0.50)] {
            let mut row = |measure: &str, figure: &dyn Fn(&str) -> Option<f64>| {
                let beside = |other: &str| Some(figure(ours)? / figure(other)?);
                let same = beside(&format!("{other}{WITH_OUR_REGEX}"));
                let same = same.map(|same| format!("; {} with the same `regex`", ratio(same)));
                let what = what(&format!("{measure} beside {other}"));
                table.most_with(&what, most, beside(other), ratio, &same.unwrap_or_default());
            };
            row("time", &time);
            row("instructions", &instructions);
        }
        let allocations = counts.count(group, ours).map(|count| count.1 as f64);
        table.most(&what("allocations"), 15.0, allocations, exact);
    }
}

fn loopback(table: &mut Table, loads: &[Load]) {
    let user = |id: &str| find(loads, id, Job::Post).map(Load::user);
    let post = |id: &str| Some(user(id)? / user("hyper")?);
    table.most(
        "whole job over loopback, user CPU beside hyper by hand: `serve`",
        0.85,
        post("tower-chain"),
        ratio,
    );
    table.most("the same, chain on hyper", 0.85, post("tower-chain-hyper"), ratio);
    let others = loads.iter().filter(|load| load.job == Job::Post && !load.peer.is_ours());
    let best = others.map(Load::user).reduce(f64::min);
    let ahead = user("tower-chain").and_then(|ours| Some(ours / best?));
    table.most(
        "whole job over loopback, user CPU beside the best peer: `serve`",
        1.0,
        ahead,
        ratio,
    );
    let total = |id: &str| find(loads, id, Job::Pass16).map(Load::total);
    let pass = |id: &str| Some(total(id)? / total("hyper")?);
    let what = "16 middleware over loopback, CPU beside hyper by hand";
    table.most(&format!("{what}: native, `serve`"), 1.05, pass("tower-chain"), ratio);
    table.most("the same, chain on hyper", 1.05, pass("tower-chain-hyper"), ratio);
    table.most(&format!("{what}: `async fn`, `serve`"), 1.10, pass("tower-chain-fn"), ratio);
    table.most("the same, chain on hyper", 1.10, pass("tower-chain-hyper-fn"), ratio);
}

fn routing(table: &mut Table, counts: &Counts) {
    for kind in ["static", "parameter", "catch-all"] {
        let time = |size| counts.time("paths", &format!("{kind}, one of {size}"));
        let growth = time(10_000).and_then(|many| Some(many / time(10)?));
        table.most(&format!("10,000 paths beside 10: {kind}"), 1.5, growth, ratio);
    }
}

fn built_ins(table: &mut Table, counts: &Counts) {
    let time = |name: &str| counts.time("built-ins", name);
    let step = |name: &str| Some(time(name)? - time("no step")?);
    let work = |name: &str| Some(time(name)? - time("no step, by hand")?);
    for (name, most) in [("RateLimit, without fields", 150.0), ("RateLimit", 500.0)] {
        table.most(&format!("`{name}`, what the step adds"), most, step(name), nanos);
    }
    let allocations = |name: &str| counts.count("built-ins", name).map(|count| count.1 as f64);
    let name = "RateLimit, without fields";
    let more = allocations(name).and_then(|ours| Some(ours - allocations("no step")?));
    table.most(&format!("`{name}`, allocations"), 0.0, more, exact);
    // Without the cost that all requests have.
    for (name, bare, compared, most) in [
        (name, "governor", ", a step in a chain beside a bare check of governor", 1.0),
        (
            "Valid<Json>",
            "serde_json and validator",
            " beside serde_json and validator, with the same `regex`",
            1.05,
        ),
    ] {
        let by_hand = work(&format!("{name}, by hand: {bare}"));
        let beside = step(name).and_then(|ours| Some(ours / by_hand?));
        table.most(&format!("`{name}`{compared}"), most, beside, ratio);
    }
}

fn jwt(table: &mut Table, counts: &Counts) {
    let of = |algorithm: &str, figure: fn(&Jwt) -> f64| counts.jwt(algorithm).as_ref().map(figure);
    let library = of("HS256", |jwt| jwt.verify / jwt.library);
    table.most("HS256 beside `jsonwebtoken::decode`", 0.5, library, ratio);
    for algorithm in ["RS256", "ES256", "Ed25519"] {
        let beside = of(algorithm, |jwt| jwt.verify / jwt.bare);
        table.most(&format!("{algorithm} beside the bare check"), 1.1, beside, ratio);
    }
    table.most("HS256, cache hit", 400.0, of("HS256", |jwt| jwt.hit), nanos);
}

const ELSEWHERE: &str = "
The budgets of the whole job are ratios to \"by hand\" and axum built without this crate. After each is the ratio to both in a build with it, whose engines of
`regex` make an email cheaper for them.

The build time is under [Growth](#growth). Tests check small exact figures: the size of the future of a native step in
[`tests/chain/cost.rs`](../tests/chain/cost.rs), a cache hit without an allocation in [`tests/jwt_cost.rs`](../tests/jwt_cost.rs), the memory of a key
in `middleware/rate_limit`. A check of a limiter beside `governor`'s, with one key and with a million, is in [`peers-limits`](peers-limits).
";
