//! Measures a rate limit, compared with `governor`, tower_governor and axum-governor. In this folder, run
//!
//! ```sh
//! cargo bench                   # all: nanoseconds, interleaved, the minimum of many batches
//! cargo bench -- counts         # instructions, by callgrind: the same on every machine of one architecture
//! cargo bench -- threads        # or memory, flood, redis
//! ```
//!
//! The cases of one group alternate, so their ratio is also valid on a busy machine. Creating requests and dropping responses is not
//! counted.

mod cases;
mod load;

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use cases::{Case, Subject};

fn main() {
    let args: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--b")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--case", name] => repeat(name),
        ["counts"] => counts(),
        ["times"] => times(),
        ["threads"] => load::threads(),
        ["memory"] => load::memory(),
        ["flood"] => load::flood(),
        ["redis"] => load::redis(),
        [] => {
            times();
            load::threads();
            load::memory();
            load::flood();
            load::redis();
        }
        _ => println!("which of times, counts, threads, memory, flood, redis?"),
    }
}

/// Measures the time.
fn times() {
    for (question, mut cases) in questions() {
        println!("\n{question}\n");
        println!("| case | least | median |");
        println!("| --- | ---: | ---: |");
        let mut subjects: Vec<Subject> = cases.iter_mut().map(|case| (case.build)()).collect();
        let mut times = vec![Vec::new(); subjects.len()];
        for _ in 0..ROUNDS {
            for (subject, times) in subjects.iter_mut().zip(&mut times) {
                (subject.prepare)(BATCH);
                let start = Instant::now();
                (subject.run)(BATCH);
                times.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
                (subject.clear)();
            }
        }
        for (case, times) in cases.iter().zip(&mut times) {
            times.sort_by(f64::total_cmp);
            println!("| {} | {:.1} ns | {:.1} ns |", case.name, times[0], times[ROUNDS / 2]);
        }
    }
}

/// Counts the instructions.
fn counts() {
    for (question, cases) in questions() {
        println!("\n{question}\n");
        println!("| case | instructions |");
        println!("| --- | ---: |");
        for case in cases {
            let output = Command::new("valgrind")
                .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
                .arg("--toggle-collect=*counted_batch*")
                .arg(std::env::current_exe().unwrap())
                .args(["--case", case.name])
                .output()
                .expect("valgrind is not installed");
            let text = String::from_utf8_lossy(&output.stderr);
            let collected = text.lines().find_map(|line| line.split_once("Collected : "));
            let total: usize =
                collected.unwrap_or_else(|| panic!("{text}")).1.trim().parse().unwrap();
            println!("| {} | {} |", case.name, total / BATCH);
        }
    }
}

fn repeat(name: &str) {
    let case = cases::all().into_iter().find(|case| case.name == name).unwrap();
    let mut subject = (case.build)();
    for _ in 0..WARM {
        (subject.prepare)(BATCH);
        (subject.run)(BATCH);
        (subject.clear)();
    }
    (subject.prepare)(BATCH);
    counted_batch(&mut subject);
    (subject.clear)();
}

#[inline(never)]
fn counted_batch(subject: &mut Subject) {
    (subject.run)(black_box(BATCH));
}

fn questions() -> Vec<(&'static str, Vec<Case>)> {
    let mut questions: Vec<(&'static str, Vec<Case>)> = Vec::new();
    for case in cases::all() {
        match questions.last_mut() {
            Some((question, cases)) if *question == case.question => cases.push(case),
            _ => questions.push((case.question, vec![case])),
        }
    }
    questions
}

const BATCH: usize = 64;
const ROUNDS: usize = 4000;
/// Past the checks that a limiter runs only for its first requests.
const WARM: usize = 50;
