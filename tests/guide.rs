//! The code of the guide works when it is copied, with the manifest that the guide shows.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::PathBuf;

/// Returns the Rust code blocks of a page, as lines.
fn blocks(page: &str) -> Vec<Vec<&str>> {
    let (mut blocks, mut kind) = (Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), kind) {
            (Some(new), None) => {
                blocks.push((new, Vec::new()));
                kind = Some(new);
            }
            (Some(_), Some(_)) => kind = None,
            (None, Some(_)) => blocks.last_mut().unwrap().1.push(line),
            (None, None) => {}
        }
    }
    let is_rust = |kind: &str| ["", "no_run"].contains(&kind);
    blocks.into_iter().filter(|(kind, _)| is_rust(kind)).map(|(_, lines)| lines).collect()
}

/// Returns the code of a line that the documentation hides.
fn hidden(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line == "#" { Some("") } else { line.strip_prefix("# ") }
}

fn pages() -> Vec<(String, String)> {
    let folder = fs::read_dir("src/guide").unwrap().map(|entry| entry.unwrap().path());
    let pages = folder.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn what_is_hidden_only_wraps_what_is_shown_or_checks_it_afterwards() {
    let wraps = ["#[tokio::main", "async fn main", "fn main", "let _ = "];
    let mut seen = 0;
    for (name, page) in pages() {
        for block in blocks(&page) {
            let shown = block.iter().rposition(|line| hidden(line).is_none()).unwrap();
            for line in block[..shown].iter().filter_map(|line| hidden(line)) {
                let is_wrap = wraps.iter().any(|wrap| line.starts_with(wrap));
                assert!(line.is_empty() || is_wrap, "{name}: show it: {line}");
            }
            seen += 1;
        }
    }
    assert!(seen > 30);
}

#[test]
fn the_manifest_of_the_guide_names_the_crates_that_it_uses() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let (_, all) = manifest.split_once("[dependencies]").unwrap();
    let (all, _) = all.split_once("\n[lints").unwrap();
    let all: Vec<&str> = all.lines().filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    let shown = fs::read_to_string("src/guide/mod.rs").unwrap();
    for (name, page) in pages() {
        for line in blocks(&page).into_iter().flatten().filter(|line| hidden(line).is_none()) {
            let line = line.split("// ").next().unwrap();
            for (end, _) in line.match_indices("::") {
                let word = line[..end].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next();
                let word = word.unwrap().replace('_', "-");
                let begins_path = !line[..end].trim_end_matches(&word).ends_with("::");
                let is_crate = begins_path && all.contains(&&*word);
                assert!(!is_crate || shown.contains(&format!("\n//! {word} = ")), "{name}: {word}");
            }
        }
    }
}

/// rustdoc compiles all doctests as one program in another folder. If that fails, it compiles each on its own, which takes minutes.
#[test]
fn no_doctest_includes_a_file_relative_to_its_source() {
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("middleware")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for line in text.lines().map(str::trim_start).filter(|line| line.starts_with("//")) {
                let includes = ["include_str!(\"", "include_bytes!(\"", "include!(\""];
                let relative = includes.iter().any(|include| line.contains(include));
                assert!(!relative, "{}: use CARGO_MANIFEST_DIR: {line}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 1000);
}
