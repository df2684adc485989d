//! The same deliveries for this crate and for the libraries of the senders. `peers/compare` runs the libraries.

use std::collections::HashMap;

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    format: String,
    secret: String,
    headers: HashMap<String, String>,
    body: String,
}

async fn accepts(case: &Case) -> bool {
    let signed = match &*case.format {
        "standard" => Signed::standard(&case.secret),
        "stripe" => Signed::stripe(&case.secret),
        _ => Signed::github(&case.secret),
    };
    let chain = receiver(signed.unwrap().clock(at(NOW)));
    let given: Vec<_> = case.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    send(&chain, &fields(&given), case.body.as_bytes()).await.status() == 200
}

#[tokio::test]
async fn the_verdict_is_that_of_the_libraries_of_the_senders_or_has_a_reason() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("peers/cases.json")).unwrap();
    let rows = include_str!("peers/verdicts.txt").lines().filter(|line| !line.starts_with("# "));
    let verdicts: HashMap<&str, Vec<&str>> = rows
        .map(|row| row.split_once('\t').unwrap())
        .map(|(name, rest)| (name, rest.split('\t').collect()))
        .collect();
    assert!(cases.len() > 60 && verdicts.len() == cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let [ours, libraries, reason] = verdicts[&*case.name][..] else { panic!("{}", case.name) };
        let found = accepts(case).await.to_string();
        let differs = libraries.split(' ').any(|library| !library.ends_with(&format!("={ours}")));
        if found != ours || differs != (reason != "-") {
            wrong.push(format!("{}: {found}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
