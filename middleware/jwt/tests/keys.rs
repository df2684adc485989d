//! Every algorithm, from every form of key.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature as sig;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::engine::general_purpose::STANDARD;

use super::*;

type Sign = Box<dyn Fn(Algorithm, &[u8]) -> Vec<u8>>;

/// The algorithms of a key pair, its public key as `SubjectPublicKeyInfo`, as PKCS#1 if it is RSA, and how it signs.
fn pairs() -> Vec<(Vec<Algorithm>, Vec<u8>, Option<Vec<u8>>, Sign)> {
    let spki = |key: &dyn AsDer<PublicKeyX509Der<'static>>| key.as_der().unwrap().as_ref().to_vec();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let p256 = EcdsaKeyPair::generate(&sig::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&sig::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let pkcs1 = rsa.public_key().as_ref().to_vec();
    use Algorithm::*;
    vec![
        (
            vec![Rs256, Rs384, Rs512, Ps256, Ps384, Ps512],
            spki(rsa.public_key()),
            Some(pkcs1),
            Box::new(move |algorithm, message| {
                let padding: &'static dyn sig::RsaEncoding = match algorithm {
                    Rs256 => &sig::RSA_PKCS1_SHA256,
                    Rs384 => &sig::RSA_PKCS1_SHA384,
                    Rs512 => &sig::RSA_PKCS1_SHA512,
                    Ps256 => &sig::RSA_PSS_SHA256,
                    Ps384 => &sig::RSA_PSS_SHA384,
                    _ => &sig::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; rsa.public_modulus_len()];
                rsa.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }),
        ),
        (
            vec![Es256],
            spki(p256.public_key()),
            None,
            Box::new(move |_, m| p256.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()),
        ),
        (
            vec![Es384],
            spki(p384.public_key()),
            None,
            Box::new(move |_, m| p384.sign(&SystemRandom::new(), m).unwrap().as_ref().to_vec()),
        ),
        (
            vec![Ed25519],
            spki(ed.public_key()),
            None,
            Box::new(move |_, m| ed.sign(m).as_ref().to_vec()),
        ),
    ]
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn every_public_key_verifies_its_own_algorithm_and_no_other() {
    for (own, spki, pkcs1, sign) in pairs() {
        for algorithm in Algorithm::ALL {
            let mut forms = vec![
                Key::der(algorithm, &spki),
                Key::pem(algorithm, pem("PUBLIC KEY", &spki)),
                Key::pem(algorithm, format!("\n{}\n\n", pem("PUBLIC KEY", &spki))),
            ];
            if let Some(pkcs1) = &pkcs1 {
                forms.push(Key::der(algorithm, pkcs1));
                forms.push(Key::pem(algorithm, pem("RSA PUBLIC KEY", pkcs1)));
            }
            for (form, key) in forms.into_iter().enumerate() {
                if !own.contains(&algorithm) {
                    assert!(key.is_err(), "{algorithm} {form} of {own:?}");
                    continue;
                }
                let keys = Keys::from(key.unwrap());
                for signed in Algorithm::ALL {
                    let header = URL_SAFE_NO_PAD.encode(json!({"alg": signed.name()}).to_string());
                    let message = format!("{header}.cGF5bG9hZA");
                    let signature = URL_SAFE_NO_PAD.encode(sign(signed, message.as_bytes()));
                    let expected = if signed == algorithm {
                        Ok(b"payload".to_vec())
                    } else {
                        Err(JwtRefusal::Algorithm)
                    };
                    let verified = keys.verify(format!("{message}.{signature}"));
                    assert_eq!(verified, expected, "{signed} by {algorithm}");
                }
            }
        }
        // The oldest trick: the public key as the secret of an HMAC.
        let file = pem("PUBLIC KEY", &spki);
        let body = file.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>();
        for public in [
            spki.clone(),
            file.clone().into_bytes(),
            format!("\u{feff}{file}").into_bytes(),
            format!("Public-Key: (256 bit)\n{file}").into_bytes(),
            body.join("\n").into_bytes(),
            body.concat().into_bytes(),
        ] {
            let secret = Key::secret(Algorithm::Hs256, public).unwrap_err();
            assert_eq!(secret, JwtError::SecretIsKeyFile);
        }
    }
}

#[test]
fn random_secrets_are_no_key_files_whatever_they_begin_with() {
    for secret in [
        [&[0x30, 30][..], &[7; 30]].concat(),
        STANDARD.encode([&[0x30, 30][..], &[7; 30]].concat()).into_bytes(),
        STANDARD.encode([7; 64]).into_bytes(),
        vec![0x30; 64],
    ] {
        assert!(Key::secret(Algorithm::Hs256, &secret).is_ok(), "{secret:?}");
    }
}

#[test]
fn a_signature_of_another_hash_or_padding_is_refused() {
    let (own, spki, _, sign) = pairs().remove(0);
    for accepted in &own {
        let keys = Keys::from(Key::der(*accepted, &spki).unwrap());
        for signed in &own {
            let header = URL_SAFE_NO_PAD.encode(json!({"alg": accepted.name()}).to_string());
            let message = format!("{header}.");
            let signature = URL_SAFE_NO_PAD.encode(sign(*signed, message.as_bytes()));
            let verified = keys.verify(format!("{message}.{signature}"));
            assert_eq!(verified.is_ok(), signed == accepted, "{signed} as {accepted}");
        }
    }
}

#[test]
fn keys_that_are_cut_short_are_refused_and_nothing_panics() {
    for (own, spki, _, _) in pairs() {
        for algorithm in &own {
            for length in 0..spki.len() {
                assert!(Key::der(*algorithm, &spki[..length]).is_err(), "{algorithm} {length}");
            }
        }
    }
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for length in 0..jwk.len() {
        assert!(Key::jwk(Algorithm::Ed25519, &jwk[..length]).is_err());
    }
    for bytes in 0..64 {
        let x = URL_SAFE_NO_PAD.encode(vec![7; bytes]);
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string();
        let token = "eyJhbGciOiJFZERTQSJ9..AAAA";
        if let Ok(key) = Key::jwk(Algorithm::Ed25519, jwk) {
            assert_eq!(bytes, 32);
            assert_eq!(Keys::from(key).verify(token), Err(JwtRefusal::Signature));
        }
    }
}

#[test]
fn a_published_key_is_used_for_what_it_names_alone() {
    let bilbo = |extra: Value| {
        let mut jwk = json!({"kty": "EC", "crv": "P-256", "kid": "1",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
        jwk.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        Keys::jwks(json!({ "keys": [jwk] }).to_string(), [Algorithm::Es256, Algorithm::Rs256])
    };
    for (extra, usable) in [
        (json!({}), true),
        (json!({"alg": "ES256"}), true),
        (json!({"use": "sig"}), true),
        (json!({"key_ops": ["verify"]}), true),
        (json!({"x5c": ["AAAA"], "other": {}}), true),
        (json!({"alg": "ES384"}), false),
        (json!({"alg": "RS256"}), false),
        (json!({"alg": "ECDH-ES"}), false),
        (json!({"use": "enc"}), false),
        (json!({"key_ops": ["sign"]}), false),
        (json!({"key_ops": []}), false),
        (json!({"key_ops": "verify"}), false),
        (json!({"kty": "RSA"}), false),
        (json!({"crv": "P-384"}), false),
        (json!({"crv": "secp256k1"}), false),
        (json!({"kid": 7}), false),
        (json!({"d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}), false),
        // Not on the curve.
        (json!({"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"}), false),
        (json!({"y": "AAAAzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}), false),
        (json!({"y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0AA"}), false),
    ] {
        assert_eq!(bilbo(extra.clone()).is_ok(), usable, "{extra}");
    }
}

/// Issuers publish keys for encryption beside those for signatures, often under one `kid`. Only keys that could verify a token can be confused.
#[test]
fn a_key_that_cannot_verify_does_not_disable_the_one_that_can() {
    let (pair, other) = (Ed25519KeyPair::generate().unwrap(), Ed25519KeyPair::generate().unwrap());
    let jwk = |pair: &Ed25519KeyPair| {
        let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x})
    };
    let with = |mut jwk: Value, members: Value| {
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        jwk
    };
    let p256 = json!({"kty": "EC", "crv": "P-256", "kid": "1",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let good = Ok(b"payload".to_vec());
    let table = [
        (with(jwk(&other), json!({"use": "enc"})), good.clone()),
        (with(jwk(&pair), json!({"use": "enc"})), good.clone()),
        (with(jwk(&other), json!({"key_ops": ["sign"]})), good.clone()),
        (with(jwk(&other), json!({"key_ops": ["deriveKey"]})), good.clone()),
        (with(jwk(&other), json!({"alg": "ECDH-ES"})), good.clone()),
        (with(jwk(&other), json!({"alg": "ES256"})), good.clone()),
        (with(jwk(&other), json!({"crv": "X25519"})), good.clone()),
        (with(jwk(&other), json!({"crv": "Ed448"})), good.clone()),
        (with(jwk(&other), json!({"kty": "RSA"})), good.clone()),
        (with(jwk(&other), json!({"d": "AAAA"})), good.clone()),
        (with(jwk(&other), json!({"use": 1})), good.clone()),
        (json!({"kty": "oct", "kid": "1", "k": "AAAA"}), good.clone()),
        (json!(null), good.clone()),
        (p256.clone(), good.clone()),
        (with(p256, json!({"alg": "ES256"})), good.clone()),
        // The same key twice is one key.
        (jwk(&pair), good.clone()),
        (with(jwk(&pair), json!({"alg": "EdDSA"})), good.clone()),
        (with(jwk(&pair), json!({"use": "sig", "key_ops": ["verify"]})), good),
        // Which of two keys a token means can't be told.
        (jwk(&other), Err(JwtRefusal::Key)),
        (with(jwk(&other), json!({"use": "sig"})), Err(JwtRefusal::Key)),
        (with(jwk(&other), json!({"alg": "EdDSA"})), Err(JwtRefusal::Key)),
    ];
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "EdDSA", "kid": "1"}).to_string());
    let message = format!("{header}.cGF5bG9hZA");
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()));
    let token = format!("{message}.{signature}");
    for (twin, expected) in table {
        for keys in [[jwk(&pair), twin.clone()], [twin.clone(), jwk(&pair)]] {
            let set = json!({"keys": keys}).to_string();
            let keys = Keys::jwks(set, [Algorithm::Ed25519, Algorithm::Es256]).unwrap();
            assert_eq!(keys.verify(&token), expected, "{twin}");
        }
    }
    // Of two entries that a token can't tell apart, the malformed one may be the one that the issuer means.
    for malformed in ["AAAA", "not base64url", ""] {
        let keys = [jwk(&pair), with(jwk(&other), json!({"x": malformed}))];
        let set = json!({"keys": keys}).to_string();
        let refused = Keys::jwks(set, [Algorithm::Ed25519]).map(drop);
        assert_eq!(refused, Err(JwtError::NoUsableJwk), "{malformed}");
    }
}

proptest::proptest! {
    /// Whatever comes, it is answered.
    #[test]
    fn no_input_panics(token: Vec<u8>, header: String, claims: String, set: String) {
        let keys = Keys::from(Key::secret(Algorithm::Hs256, SECRET).unwrap());
        proptest::prop_assert!(keys.verify(&token).is_err());
        let _ = keys.verify(sign(&header, &claims));
        let _ = json::claims::<Value>(claims.as_bytes(), &[], &mut json::Read::default());
        let _ = json::header(header.as_bytes());
        let _ = Keys::jwks(&set, Algorithm::ALL);
        let _ = Key::pem(Algorithm::Rs256, &set);
        let _ = Key::der(Algorithm::Es256, &token);
        let mut headers = http::HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&token) {
            headers.insert(AUTHORIZATION, value);
        }
        let mut req = Request::new(Body::empty());
        *req.headers_mut() = headers;
        let jwt = any();
        let _ = jwt.places.find(&req, Some(&claims));
    }

    /// A claim set is read as the JSON that it is.
    #[test]
    fn claims_are_what_was_signed(names in proptest::collection::btree_map("[a-z]{4,6}", "\\PC*", 0..30)) {
        let mut all: Value = json!(names);
        all["exp"] = json!(NOW + 60);
        let text = all.to_string();
        let read = json::claims::<Value>(text.as_bytes(), &[], &mut json::Read::default());
        proptest::prop_assert_eq!(read.unwrap(), all);
    }
}
