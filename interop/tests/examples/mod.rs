//! Runs each example with the commands in the header of its source, and compares the responses with those in the header. The tests in the
//! examples run here as well.
//!
//! The first shell block of a header runs the example, the others send requests, and the comments after a command are the expected response; see
//! [`answer::fits`]. An example listens on `PORT`, or on 3000, and needs no settings except those in its first block.

mod answer;
mod browser;
mod gateway;
mod page;
mod running;
#[allow(dead_code, reason = "they are programs as well")]
mod sources;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use page::Page;
use running::Running;

#[test]
#[cfg_attr(not(all(curl, openssl)), ignore = "install curl and openssl to run this test")]
fn every_example_answers_as_its_page_says() {
    let all = Page::all();
    let pages: Vec<&Page> = all.iter().filter(|page| !page.mentions("redis-server")).collect();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(page) = pages.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let found = std::panic::catch_unwind(|| differences(page));
                    let found = found.unwrap_or_else(|_| vec!["it does not run".to_owned()]);
                    let found = found.iter().map(|text| format!("== {}\n{text}", page.name));
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[cfg_attr(not(all(curl, redis_server)), ignore = "install curl and redis-server to run this test")]
fn the_examples_with_redis_answer_as_their_pages_say() {
    let pages = Page::all();
    let pages: Vec<&Page> = pages.iter().filter(|page| page.mentions("redis-server")).collect();
    assert!(!pages.is_empty());
    for page in pages {
        assert_eq!(differences(page), Vec::<String>::new(), "{}", page.name);
    }
}

/// Returns the differences between the responses of an example and those in its header.
fn differences(page: &Page) -> Vec<String> {
    const END: &str = "--- the end of an answer ---";
    let running = Running::start(page);
    // One shell for all commands, because a command may use a variable that an earlier one set.
    let mut script = "curl() { command curl -q -sS --max-time 20 \"$@\"; }\n".to_owned();
    let asks = if page.asks.is_empty() { &page.run } else { &page.asks };
    for ask in asks {
        let own = running::with_program(&ask.command, page, "env");
        script += &format!("{}\nprintf '\\n{END}\\n'\n", own.as_ref().unwrap_or(&ask.command));
    }
    let (told, complaints) = running.ask(&script);
    let mut answers = told.split(END).map(|answer| answer.trim_start_matches('\n'));
    let mut differences = Vec::new();
    for ask in asks {
        let answer = answers.next().unwrap_or_default();
        if !answer::fits(&ask.answer, answer) {
            let expected = ask.answer.join("\n");
            let command = &ask.command;
            differences.push(format!(
                "{command}\n-- the page\n{expected}\n-- the answer\n{answer}{complaints}"
            ));
        }
    }
    differences
}

#[test]
fn a_page_turns_on_the_features_that_its_example_needs() {
    let manifest = std::fs::read_to_string("../Cargo.toml").unwrap();
    for page in Page::all() {
        let mut lines = page.run.iter().map(|ask| &ask.command);
        let line = lines.find(|line| line.contains("--example")).unwrap();
        if line.contains("-p interop") {
            continue;
        }
        let needed = manifest
            .split_once(&format!("[[example]]\nname = \"{}\"\nrequired-features = [", page.name));
        let needed = needed.and_then(|(_, rest)| rest.split_once(']')).map_or("", |(list, _)| list);
        let needed = needed.replace(['"', ' '], "");
        let said = line.split_once("--features ").map_or("", |(_, rest)| rest);
        let said = said.split(' ').next().unwrap();
        assert!(line.contains("--all-features") || said == needed, "{}: {needed}", page.name);
    }
}

#[test]
fn a_page_names_the_crates_that_its_example_needs() {
    let mut crates = BTreeSet::new();
    for manifest in ["../Cargo.toml", "Cargo.toml"] {
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let (_, lines) = manifest.split_once("dependencies]").unwrap();
        let (lines, _) = lines.split_once("\n[lints").unwrap();
        let lines = lines.lines().filter_map(|line| line.split_once(" = "));
        crates.extend(lines.map(|(name, _)| name.replace('-', "_")));
    }
    crates.remove("tower_chain");
    assert!(crates.contains("axum") && crates.contains("http") && crates.contains("poem"));
    for Page { name, names, uses, .. } in Page::all() {
        let mut used: BTreeSet<String> = uses.intersection(&crates).cloned().collect();
        // All examples need tokio, and its feature `full` is enough for most.
        if !names.contains("tokio") {
            used.remove("tokio");
        }
        assert_eq!(names, used, "{name}: what it says, and what it uses");
    }
}

#[test]
fn the_tests_in_examples_are_run_and_the_readme_lists_all() {
    let run = include_str!("sources.rs");
    let readme = std::fs::read_to_string("../README.md").unwrap();
    for page in Page::all() {
        let name = &page.name;
        assert!(readme.contains(&format!("\n| `{name}` |")), "add {name} to the README's table");
        assert!(
            !page.has_tests || run.contains(&format!("\nmod {name};")),
            "name {name} in sources.rs"
        );
    }
}

#[test]
#[cfg_attr(not(openssl), ignore = "install openssl to run this test")]
fn a_secret_that_is_missing_or_too_short_is_named() {
    let mut found = 0;
    for page in Page::all() {
        let mut lines = page.run.iter();
        let variables = lines.find_map(|ask| running::variables_of(&ask.command)).unwrap();
        let names = variables.split_whitespace().filter_map(|word| word.split_once('='));
        for (name, _) in names.filter(|(name, _)| *name != "PORT" && !name.contains('$')) {
            // An OAuth provider chooses how long these are.
            let short = (!name.starts_with("OAUTH_")).then(|| format!("{name}=short"));
            for change in [Some(format!("-u {name}")), short].into_iter().flatten() {
                let told = running::refused_start(&page, &change);
                assert!(told.contains(name) && !told.contains("short\""), "{}: {told}", page.name);
            }
            found += 1;
        }
    }
    assert!(found > 5);
}
