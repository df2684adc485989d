//! Compares counts with a baseline, a file with one line per case.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::process::Command;

use crate::cases::Case;

#[derive(Clone, Copy)]
pub struct Count {
    pub instructions: u64,
    pub allocations: u64,
    pub bytes: u64,
}

/// Counts by case, and the tools that produced them.
pub struct Baseline {
    made_with: String,
    counts: BTreeMap<String, Count>,
}

impl Baseline {
    pub fn of(counts: Vec<(Case, Count)>) -> Self {
        let counts = counts.into_iter().map(|(case, count)| (case.full_name(), count)).collect();
        Self { made_with: made_with(), counts }
    }

    pub fn read(file: &str) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let (made_with, lines) = text.split_once('\n').expect("the file is empty");
        let count = |line: &str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, instructions, allocations, bytes] = fields[..] else { panic!("{line}") };
            let number = |field: &str| field.parse().unwrap_or_else(|_| panic!("{line}"));
            let [instructions, allocations, bytes] = [instructions, allocations, bytes].map(number);
            (name.to_owned(), Count { instructions, allocations, bytes })
        };
        Self { made_with: made_with.to_owned(), counts: lines.lines().map(count).collect() }
    }

    pub fn write(&self, file: &str) {
        let mut text = format!("{}\n", self.made_with);
        for (name, Count { instructions, allocations, bytes }) in &self.counts {
            let _ = writeln!(text, "{name}\t{instructions}\t{allocations}\t{bytes}");
        }
        std::fs::write(file, text).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// Prints the cases that are worse or better by more than 2 %. Returns whether none is worse.
    pub fn holds(&self, now: &Self) -> bool {
        let same = self.made_with == now.made_with;
        if !same {
            println!("The baseline was made with {}", self.made_with);
            println!("and this is             {}:", now.made_with);
            println!("instructions don't compare, only allocations do.");
        }
        let (mut worse, mut renew) = (0, !same);
        for (name, count) in &now.counts {
            let Some(before) = self.counts.get(name) else {
                println!("new: {name}");
                renew = true;
                continue;
            };
            for (what, before, now) in [
                ("instructions", before.instructions, count.instructions),
                ("allocations", before.allocations, count.allocations),
                ("bytes", before.bytes, count.bytes),
            ] {
                if what == "instructions" && !same {
                    continue;
                }
                let change = Change { name, what, before, now };
                if now * 100 > before * 102 {
                    println!("worse: {change}");
                    worse += 1;
                } else if now * 102 < before * 100 {
                    println!("better: {change}");
                    renew = true;
                }
            }
        }
        for name in self.counts.keys().filter(|name| !now.counts.contains_key(*name)) {
            println!("gone: {name}");
            renew = true;
        }
        println!("{} cases, {worse} worse by more than 2 %", now.counts.len());
        if renew || worse > 0 {
            println!("To take the present counts as the baseline: benches/guard renew");
        }
        worse == 0
    }
}

struct Change<'a> {
    name: &'a str,
    what: &'a str,
    before: u64,
    now: u64,
}

impl fmt::Display for Change<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, what, before, now } = self;
        write!(f, "{name}: {before} {what} before, {now} now")?;
        if *before > 0 {
            write!(f, " ({:+.1} %)", (*now as f64 / *before as f64 - 1.0) * 100.0)?;
        }
        Ok(())
    }
}

/// The tools that determine the number of instructions, besides the program. Hashes and signatures choose their code by the processor; under valgrind
/// that is the same one everywhere, with or without AVX2.
fn made_with() -> String {
    let first_line = |program: &str, arg: &str| {
        let output = Command::new(program).arg(arg).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().next().unwrap_or(program).to_owned()
    };
    let rustc = first_line("rustc", "--version");
    let valgrind = first_line("valgrind", "--version");
    let libc = first_line("getconf", "GNU_LIBC_VERSION");
    #[cfg(target_arch = "x86_64")]
    let avx2 = if std::arch::is_x86_feature_detected!("avx2") { " with AVX2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = "";
    format!("{rustc}, {valgrind}, {libc}, {}{avx2}", std::env::consts::ARCH)
}
