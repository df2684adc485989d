//! Measures the time of a request in process, for the cases of the program's module `cases`. The cases run in rounds, so disturbances of the machine affect
//! all of them. The figure is the minimum time per request, in nanoseconds. The arguments `[FILTER]..` select the cases whose `| group | case |` contains one.

use std::hint::black_box;
use std::time::Instant;

use crate::cases;

const ROUNDS: usize = 100;
const REQUESTS: usize = 100;

pub fn main() {
    let filters: Vec<String> = std::env::args().skip(1).collect();
    let mut cases: Vec<_> = cases::all()
        .into_iter()
        .map(|case| (format!("| {} | {} |", case.group, case.name), case))
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|word| name.contains(word)))
        .map(|(name, case)| (name, (case.build)(case.size), f64::MAX))
        .collect();
    for _ in 0..ROUNDS {
        for (_, subject, least) in &mut cases {
            let requests: Vec<_> = (0..REQUESTS).map(|_| (subject.request)()).collect();
            let mut responses = Vec::with_capacity(REQUESTS);
            let begin = Instant::now();
            for req in requests {
                responses.push((subject.answer)(black_box(req)));
            }
            *least = least.min(begin.elapsed().as_nanos() as f64 / REQUESTS as f64);
        }
    }
    for (name, _, least) in cases {
        println!("{name} {least:.1} |");
    }
}
