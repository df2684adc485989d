//! Counts the instructions, with valgrind, and the allocations of the cases in the program's module `cases`.

mod baseline;
mod profile;

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use baseline::{Baseline, Count};

use crate::cases::{self, Case, Request, Response, Subject};

pub fn main() -> ExitCode {
    let args: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with("--b")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--case", name] => repeat(name),
        ["--check", file] => {
            if !Baseline::read(file).holds(&Baseline::of(count(""))) {
                return ExitCode::FAILURE;
            }
        }
        ["--profile", name] => {
            let case = cases::all().into_iter().find(|case| case.full_name() == name).unwrap();
            println!("| crate | instructions |\n| --- | ---: |");
            for (name, instructions) in profile::by_crate(&callgrind(&case).1) {
                println!("| {name} | {} |", instructions / COUNTED);
            }
        }
        ["--renew", file] => Baseline::of(count("")).write(file),
        _ => print(count(args.first().unwrap_or(&""))),
    }
    ExitCode::SUCCESS
}

fn print(counts: Vec<(Case, Count)>) {
    println!("| group | case | instructions | allocations | bytes |");
    println!("| --- | --- | ---: | ---: | ---: |");
    for (Case { group, name, .. }, Count { instructions, allocations, bytes }) in counts {
        println!("| {group} | {name} | {instructions} | {allocations} | {bytes} |");
    }
}

/// Counts the cases whose name contains the filter, on all cores, because counts don't depend on the load.
fn count(filter: &str) -> Vec<(Case, Count)> {
    let cases = cases::all().into_iter().filter(|case| case.full_name().contains(filter));
    let cases = Mutex::new(cases.enumerate());
    let counts = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((index, case)) = { cases.lock().unwrap().next() } {
                    let (allocations, bytes) = allocations(&case);
                    let instructions = callgrind(&case).0 / COUNTED;
                    let count = Count { instructions, allocations, bytes };
                    counts.lock().unwrap().push((index, case, count));
                }
            });
        }
    });
    let mut counts = counts.into_inner().unwrap();
    counts.sort_by_key(|(index, ..)| *index);
    counts.into_iter().map(|(_, case, count)| (case, count)).collect()
}

/// A limiter checks its first thousand requests for likely mistakes.
const WARM: usize = 1_100;
const COUNTED: u64 = 100;

fn allocations(case: &Case) -> (u64, u64) {
    let mut subject = warm(case);
    let req = (subject.request)();
    let mut response = None;
    let counted = allocation_counter::measure(|| response = Some((subject.answer)(req)));
    (counted.count_total, counted.bytes_total)
}

fn warm(case: &Case) -> Subject {
    let mut subject = (case.build)(case.size);
    for _ in 0..WARM {
        let status = (subject.answer)((subject.request)()).status();
        assert!(status.is_success(), "{}: {status}", case.name);
    }
    subject
}

/// Runs this program again under callgrind, which counts only inside [`counted`]. Returns the total, and the whole output.
fn callgrind(case: &Case) -> (u64, String) {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/stdout"])
        .arg("--toggle-collect=*counted_answer*")
        .arg(std::env::current_exe().unwrap())
        .args(["--case", &case.full_name()])
        .output()
        .expect("valgrind is not installed");
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let total = collected.unwrap_or_else(|| panic!("{text}")).1.trim().parse().unwrap();
    (total, String::from_utf8_lossy(&output.stdout).into_owned())
}

fn repeat(name: &str) {
    let case = cases::all().into_iter().find(|case| case.full_name() == name).unwrap();
    let mut subject = warm(&case);
    for _ in 0..COUNTED {
        let req = (subject.request)();
        black_box(counted_answer(&mut subject, req));
    }
}

#[inline(never)]
fn counted_answer(subject: &mut Subject, req: Request) -> Response {
    (subject.answer)(black_box(req))
}
