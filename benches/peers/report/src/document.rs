//! Writes `benches/RESULTS.md`: a template whose sections are filled with the measurements. Sections that weren't measured stay unchanged.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::Result;
use crate::counts::Counts;
use crate::load::Load;
use crate::options::{Options, workspace};
use crate::peers::{JOBS, Job, PEERS, Peer};
use crate::plot::{Bar, Line, bars, lines};
use crate::{budgets, machine};

const TEMPLATE: &str = include_str!("template.md");

/// Writes the measurements of the servers and the counters.
pub fn write(options: &Options, loads: &[Load], counts: Option<&Counts>) -> Result<()> {
    let mut sections = vec![
        ("machine", machine::describe(options)?),
        ("middleware", middleware(loads)),
        ("jobs", jobs(loads)),
    ];
    if let Some(counts) = counts {
        sections.push(("counts", in_process(counts)));
        sections.push(("budgets", budgets::table(loads, counts)));
        sections.push(("profile", profile(counts)));
    }
    if options.peers.len() < PEERS.len() || options.jobs.len() < JOBS.len() {
        for (_, text) in sections {
            println!("{text}");
        }
        eprintln!("Some peers or jobs were left out, so nothing is written.");
        return Ok(());
    }
    replace(&sections)?;
    draw()
}

/// The instructions of the whole job by crate. Crates with few instructions share one row.
fn profile(counts: &Counts) -> String {
    let mut table = "| crate | by hand | axum | chain |\n| --- | ---: | ---: | ---: |\n".to_owned();
    let mut rows = counts.profile.clone();
    rows.sort_by_key(|(_, columns)| std::cmp::Reverse(columns[2]));
    let (mut few, mut all) = ([0; 3], [0; 3]);
    for (name, columns) in &rows {
        let is_few = columns.iter().all(|column| *column < FEW);
        for (at, column) in columns.iter().enumerate() {
            all[at] += column;
            few[at] += if is_few { *column } else { 0 };
        }
        if !is_few {
            let [by_hand, axum, chain] = columns;
            let _ = writeln!(table, "| {name} | {by_hand} | {axum} | {chain} |");
        }
    }
    for (name, [by_hand, axum, chain]) in [("all others", few), ("**all**", all)] {
        let _ = writeln!(table, "| {name} | {by_hand} | {axum} | {chain} |");
    }
    table
}

/// Instructions.
const FEW: u64 = 200;

/// Replaces sections of the report, and leaves the others.
pub fn replace(sections: &[(&str, String)]) -> Result<()> {
    let path = folder().join("RESULTS.md");
    let old = fs::read_to_string(&path).unwrap_or_default();
    let mut new = String::new();
    for line in TEMPLATE.lines() {
        match line.strip_prefix('@').and_then(|line| line.strip_suffix('@')) {
            None => new += line,
            Some(name) => {
                let (begin, end) =
                    (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
                let given = sections.iter().find(|(other, _)| *other == name);
                let kept = || old.split_once(&begin)?.1.split_once(&end).map(|(text, _)| text);
                let text = given.map(|(_, text)| &**text).or_else(kept);
                let text = text.unwrap_or("Not measured yet.\n").trim_start();
                write!(new, "{begin}\n{text}\n{end}")?;
            }
        }
        new.push('\n');
    }
    // A section ends with one empty line, not two.
    while new.contains("\n\n\n") {
        new = new.replace("\n\n\n", "\n\n");
    }
    fs::write(&path, new)?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn folder() -> PathBuf {
    let peers = workspace();
    peers.parent().map(PathBuf::from).unwrap_or(peers)
}

pub fn find<'a>(loads: &'a [Load], id: &str, job: Job) -> Option<&'a Load> {
    loads.iter().find(|load| load.peer.id == id && load.job == job)
}

/// Returns a job of a peer; a variant shares the jobs in which it doesn't differ.
fn of<'a>(loads: &'a [Load], peer: &Peer, job: Job) -> Option<&'a Load> {
    find(loads, peer.id, job).or_else(|| find(loads, peer.like?, job))
}

fn measured(loads: &[Load]) -> impl Iterator<Item = &'static Peer> {
    PEERS.iter().filter(|peer| loads.iter().any(|load| load.peer.id == peer.id))
}

fn middleware(loads: &[Load]) -> String {
    let mut rows: Vec<_> = measured(loads)
        .filter_map(|peer| {
            let passes = [Job::Bare, Job::Pass4, Job::Pass16].map(|job| of(loads, peer, job));
            let [Some(bare), Some(four), Some(sixteen)] = passes else { return None };
            Some((peer, bare, four, sixteen))
        })
        .collect();
    rows.sort_by(|a, b| a.3.total().total_cmp(&b.3.total()));
    let by_hand = find(loads, "hyper", Job::Pass16).map_or(f64::NAN, Load::total);
    let mut table = "| | none | 4 | 16 | 16: median to most | 16, beside hyper by hand | one adds | requests/s with 16 |\n\
                     | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (peer, bare, four, sixteen) in rows {
        let _ = writeln!(
            table,
            "| {} | {:.2} | {:.2} | {:.2} | {:.2} to {:.2} | {:.2}x | {} | {:.0} |",
            name(peer),
            bare.total(),
            four.total(),
            sixteen.total(),
            sixteen.median(),
            sixteen.most(),
            sixteen.total() / by_hand,
            one_adds(four, sixteen),
            sixteen.rate(),
        );
    }
    table
}

/// The cost of one middleware, between 4 and 16. A difference that is smaller than the one between two rounds of the same measurement is noise.
fn one_adds(four: &Load, sixteen: &Load) -> String {
    let added = sixteen.total() - four.total();
    if added <= sixteen.median() - sixteen.total() {
        return "below noise".to_owned();
    }
    format!("{:.0} ns", added / 12.0 * 1e3)
}

fn jobs(loads: &[Load]) -> String {
    let mut rows: Vec<_> = measured(loads)
        .filter_map(|peer| {
            Some((peer, find(loads, peer.id, Job::Jwt), find(loads, peer.id, Job::Post)?))
        })
        .collect();
    rows.sort_by(|a, b| a.2.user().total_cmp(&b.2.user()));
    let by_hand = find(loads, "hyper", Job::Post).map_or(f64::NAN, Load::user);
    let mut table = "| | whole job, user | user and system | median to most | user, beside hyper by hand | requests/s | memory, MiB | head | token alone, user | user and system |\n\
                     | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (peer, jwt, post) in rows {
        let jwt = jwt.map(|jwt| format!("{:.2} | {:.2}", jwt.user(), jwt.total()));
        let _ = writeln!(
            table,
            "| {} | {:.2} | {:.2} | {:.2} to {:.2} | {:.2}x | {:.0} | {:.1} | {} | {} |",
            name(peer),
            post.user(),
            post.total(),
            post.median(),
            post.most(),
            post.user() / by_hand,
            post.rate(),
            mebibytes(post),
            post.head,
            jwt.unwrap_or("- | -".to_owned()),
        );
    }
    table
}

fn in_process(counts: &Counts) -> String {
    let rows = [
        ("whole job", "by hand"),
        ("whole job", "by hand, with this crate's regex"),
        ("whole job", "axum"),
        ("whole job", "axum, with this crate's regex"),
        ("whole job", "chain"),
        ("whole job", "chain, without RateLimit fields"),
        ("steps", "bare handler"),
        ("steps", "chain of 0"),
        ("steps", "chain of 0, built"),
        ("steps", "tower layer by hand x 16"),
        ("steps", "guard x 16"),
        ("steps", "native, direct x 16"),
        ("steps", "native x 16"),
        ("steps", "async fn x 16"),
        ("steps", "tower layer x 16"),
        ("steps", "guard x 100"),
        ("steps", "native x 100"),
        ("steps", "async fn x 100"),
    ];
    let mut table = "| group | case | instructions | allocations | bytes | time, ns |\n\
                     | --- | --- | ---: | ---: | ---: | ---: |\n"
        .to_owned();
    for (group, case) in rows {
        row(&mut table, counts, group, case);
    }
    for kind in ["matchit alone, static", "static"] {
        for size in [10, 10_000] {
            row(&mut table, counts, "paths", &format!("{kind}, one of {size}"));
        }
    }
    for case in counts.cases("built-ins") {
        row(&mut table, counts, "built-ins", case);
    }
    table.push_str(
        "\nVerifying a token, beside the library and the bare check of a signature:\n\n```text\n",
    );
    for line in &counts.jwt {
        table.push_str(line);
        table.push('\n');
    }
    table + "```\n"
}

fn row(table: &mut String, counts: &Counts, group: &str, case: &str) {
    let Some((instructions, allocations, bytes)) = counts.count(group, case) else { return };
    let time = counts.time(group, case).unwrap_or(f64::NAN);
    let counted = format!("{instructions} | {allocations} | {bytes} | {time:.0}");
    let _ = writeln!(table, "| {group} | {case} | {counted} |");
}

/// Redraws the plots from the tables of the report, which keeps both consistent.
pub fn draw() -> Result<()> {
    let report = fs::read_to_string(folder().join("RESULTS.md"))?;
    let (middleware, jobs) = (rows(&report, "middleware"), rows(&report, "jobs"));
    let plots = [
        ("cost.svg", cost_plot(&middleware)),
        ("post.svg", post_plot(&jobs)),
        ("memory.svg", memory_plot(&jobs)),
    ];
    for (file, svg) in plots {
        fs::write(folder().join(file), svg)?;
    }
    Ok(())
}

/// A row of a table: the peer, and its figures.
struct Row {
    peer: &'static Peer,
    cells: Vec<f64>,
}

/// The rows of a table, in the order of the peers, which keeps their colours when the ranking changes.
fn rows(report: &str, section: &str) -> Vec<Row> {
    let (begin, end) = (format!("<!-- {section} -->"), format!("<!-- end of {section} -->"));
    let table = report.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
    let lines = || table.into_iter().flat_map(|(table, _)| table.lines());
    let row = |peer: &'static Peer| {
        let begin = format!("| {} | ", name(peer));
        let cells = lines().find_map(|line| line.strip_prefix(&begin))?.split('|');
        Some(Row {
            peer,
            cells: cells.map(|cell| cell.trim().parse().unwrap_or(f64::NAN)).collect(),
        })
    };
    PEERS.iter().filter_map(row).collect()
}

/// Rust and Node.js side by side. They differ so much that each has its own scale.
fn panels<T>(rows: &[Row], part: impl Fn(&Row) -> T) -> [(&'static str, Vec<T>); 2] {
    let of = |node| rows.iter().filter(move |row| row.peer.is_node() == node).map(&part).collect();
    [("Rust", of(false)), ("Node.js", of(true))]
}

fn cost_plot(rows: &[Row]) -> String {
    let line = |row: &Row| Line {
        label: plain(row.peer),
        points: [0.0, 4.0, 16.0].into_iter().zip(row.cells.iter().copied()).collect(),
        ours: row.peer.is_ours(),
    };
    let title = "What middleware costs: CPU time per request over loopback";
    lines(title, "middleware that let everything pass", "microseconds", &panels(rows, line))
}

fn bar_panels(rows: &[Row], parts: fn(&[f64]) -> Vec<f64>) -> [(&'static str, Vec<Bar>); 2] {
    let bar = |row: &Row| Bar {
        label: plain(row.peer),
        parts: parts(&row.cells),
        ours: row.peer.is_ours(),
    };
    let mut panels = panels(rows, bar);
    for (_, bars) in &mut panels {
        bars.sort_by(|a, b| a.sum().total_cmp(&b.sum()));
    }
    panels
}

fn post_plot(rows: &[Row]) -> String {
    let title = "Limit, token, JSON, validation: CPU time per request, microseconds";
    let panels = bar_panels(rows, |cells| vec![cells[0], cells[1] - cells[0]]);
    bars(title, "dark: user, light: system", &panels)
}

fn memory_plot(rows: &[Row]) -> String {
    let title = "The most memory that was resident during the whole job, MiB";
    bars(title, "64 connections", &bar_panels(rows, |cells| vec![cells[MEMORY]]))
}

/// The index of the memory in the figures of a job.
const MEMORY: usize = 5;

fn mebibytes(load: &Load) -> f64 {
    load.memory as f64 / 1024.0
}

fn name(peer: &Peer) -> String {
    if peer.is_ours() { format!("**{}**", peer.title) } else { peer.title.to_owned() }
}

/// Without the marks of Markdown.
fn plain(peer: &Peer) -> String {
    peer.title.replace('`', "")
}
