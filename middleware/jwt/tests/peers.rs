//! The same key sets and tokens for this crate and for other libraries. `peers/compare` runs the other libraries.

use std::collections::HashMap;

use super::*;

#[derive(Deserialize)]
struct Case {
    name: String,
    jwks: Value,
    algorithms: Vec<String>,
    token: String,
}

async fn accepts(case: &Case) -> bool {
    let algorithms = case.algorithms.iter().map(|name| Algorithm::from_name(name).unwrap());
    let Ok(keys) = Keys::jwks(case.jwks.to_string(), algorithms) else { return false };
    let jwt = at(Jwt::<Value>::new(keys), NOW).issuer("https://issuer.example").unwrap();
    jwt.audience("api").unwrap().verify(&case.token).await.is_ok()
}

#[tokio::test]
async fn the_verdict_is_that_of_other_libraries_or_has_a_reason() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("peers/cases.json")).unwrap();
    let rows = include_str!("peers/verdicts.txt").lines().filter(|line| !line.starts_with("# "));
    let verdicts: HashMap<&str, Vec<&str>> = rows
        .map(|row| row.split_once('\t').unwrap())
        .map(|(name, rest)| (name, rest.split('\t').collect()))
        .collect();
    assert!(cases.len() > 150 && verdicts.len() == cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let [ours, jose, pyjwt, joserfc, reason] = verdicts[&*case.name][..] else {
            panic!("{}", case.name)
        };
        let found = accepts(case).await.to_string();
        let differs = [jose, pyjwt, joserfc].iter().any(|verdict| *verdict != ours);
        if found != ours || differs != (reason != "-") {
            wrong.push(format!("{}: {found}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
