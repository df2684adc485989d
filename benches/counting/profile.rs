//! The instructions of a case by crate, from the output of callgrind.

use std::collections::{BTreeMap, HashMap};

/// Instructions by crate, in descending order. Inlined code counts for the crate that it comes from.
pub fn by_crate(callgrind: &str) -> Vec<(String, u64)> {
    let mut names = Names::default();
    let mut totals: BTreeMap<String, u64> = BTreeMap::new();
    let (mut file, mut function) = (String::new(), String::new());
    let mut is_call = false;
    for line in callgrind.lines() {
        match line.split_once('=') {
            Some(("fl" | "fi" | "fe", name)) => file = names.resolve("file", name),
            Some(("fn", name)) => function = names.resolve("function", name),
            Some(("cfi" | "cfl", name)) => drop(names.resolve("file", name)),
            Some(("cfn", name)) => drop(names.resolve("function", name)),
            // The next line is the cost of the callee, which is counted there.
            Some(("calls", _)) => is_call = true,
            Some(_) => {}
            None if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) => {
                let cost = line.split_once(' ').and_then(|(_, cost)| cost.trim().parse().ok());
                if !std::mem::take(&mut is_call) {
                    *totals.entry(owner(&file, &function)).or_default() += cost.unwrap_or(0);
                }
            }
            None => {}
        }
    }
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by_key(|(name, total)| (std::cmp::Reverse(*total), name.clone()));
    totals
}

/// callgrind writes each name once, and then its number.
#[derive(Default)]
struct Names(HashMap<(&'static str, String), String>);

impl Names {
    fn resolve(&mut self, kind: &'static str, written: &str) -> String {
        let Some((number, name)) = written.split_once(')') else { return written.to_owned() };
        let key = (kind, number.to_owned());
        match name.trim() {
            "" => self.0.get(&key).cloned().unwrap_or_default(),
            name => {
                self.0.insert(key, name.to_owned());
                name.to_owned()
            }
        }
    }
}

fn owner(file: &str, function: &str) -> String {
    let is = |parts: &[&str]| parts.iter().any(|part| file.contains(part));
    let of = |symbols: &[&str]| symbols.iter().any(|symbol| function.contains(symbol));
    if is(&["aws-lc"]) || of(&["aws_lc_"]) {
        return "aws-lc".to_owned();
    }
    if is(&["malloc/"]) || of(&["malloc", "_int_free", "realloc"]) || function == "free" {
        return "the allocator".to_owned();
    }
    if is(&["sysdeps/"]) || of(&["memcpy", "memmove", "memset", "memcmp"]) {
        return "copies and comparisons of memory".to_owned();
    }
    if let Some((_, rest)) = file.split_once("/registry/src/")
        && let Some(package) = rest.split('/').nth(1)
    {
        let version = package.rfind('-').unwrap_or(package.len());
        return package.get(..version).unwrap_or(package).to_owned();
    }
    // With what it was built from.
    if is(&["/rustc/", "library/", "/rust/deps/"]) {
        return "the standard library".to_owned();
    }
    if is(&["/benches/", "times.rs"]) {
        return "the handler and the benchmark".to_owned();
    }
    if is(&["/src/", "/middleware/"]) {
        return "tower-chain".to_owned();
    }
    "others".to_owned()
}
