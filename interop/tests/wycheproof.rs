//! Signatures and keys of C2SP/wycheproof, most of them wrong on purpose.

use std::path::Path;

use serde_json::{Value, json};
use tower_chain::middleware::jwt::{Algorithm, JwtError, Keys};

#[test]
#[cfg_attr(
    not(wycheproof),
    ignore = "set TOWER_CHAIN_VECTORS to the folder of the test vectors, see CONTRIBUTING.md"
)]
fn wycheproof_agrees_but_for_the_waived() {
    let folder = Path::new(option_env!("WYCHEPROOF").unwrap_or_default());
    for (name, cases) in [("signature", 401), ("key", 26), ("crypto", 83)] {
        let text = std::fs::read(folder.join(format!("json_web_{name}_test.json"))).unwrap();
        let file: Value = serde_json::from_slice(&text).unwrap();
        let (mut run, mut differ) = (0, Vec::new());
        for group in file["testGroups"].as_array().unwrap() {
            let key = if group["public"].is_null() { &group["private"] } else { &group["public"] };
            let set = if key["keys"].is_null() { json!({ "keys": [key] }) } else { key.clone() };
            let keys = match Keys::jwks(set.to_string(), ALGORITHMS) {
                Err(JwtError::NoUsableJwk) => None,
                keys => Some(keys.unwrap()),
            };
            for test in group["tests"].as_array().unwrap() {
                run += 1;
                // An encrypted token (JWE) must be refused.
                let token =
                    test["jws"].as_str().or_else(|| test["jwe"].as_str()).unwrap_or_default();
                let valid = test["result"] != "invalid" && !test["jws"].is_null();
                let accepted = keys.as_ref().is_some_and(|keys| keys.verify(token).is_ok());
                if accepted != valid {
                    differ.push(test["tcId"].as_u64().unwrap());
                }
            }
        }
        let waived: Vec<u64> =
            WAIVED.iter().filter(|(file, ..)| *file == name).map(|(_, id, _)| *id).collect();
        let unexplained: Vec<&u64> = differ.iter().filter(|id| !waived.contains(id)).collect();
        assert!(unexplained.is_empty(), "{name}: {unexplained:?}");
        assert_eq!(run, cases, "{name}");
    }
}

/// Cases whose result differs, with the reason.
const WAIVED: &[(&str, u64, &str)] = &[
    ("signature", 346, "the algorithm of the header is not that of the key"),
    ("signature", 350, "the algorithm of the header is not that of the key"),
    ("signature", 347, "P-521 under a wrong name"),
    ("signature", 351, "P-521 under a wrong name"),
    ("signature", 349, "`key_ops` is one joined string"),
    ("signature", 367, "byte-identical to 357, which is valid"),
    ("signature", 370, "byte-identical to 357, which is valid"),
    ("signature", 372, "an illegal character, yet marked valid"),
    ("signature", 373, "an illegal character, yet marked valid"),
    ("crypto", 46, "the same key as key 7"),
    ("key", 7, "its primes are weak, which is not checked: an issuer must generate good keys"),
];

const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::Hs256,
    Algorithm::Hs384,
    Algorithm::Hs512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Ed25519,
];
