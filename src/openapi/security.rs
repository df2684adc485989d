//! Security schemes and requirements.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::declare::{Credential, Declaration, Kind, Scheme};

/// The alternatives of credentials: each is a set of schemes, with their scopes, that a request needs together.
#[derive(Debug)]
pub(super) struct Security {
    alternatives: Vec<BTreeMap<String, Vec<String>>>,
}

impl Security {
    /// No credentials.
    pub(super) fn none() -> Self {
        Self { alternatives: vec![BTreeMap::new()] }
    }

    /// Adds a step: each of its credentials is an alternative, and all steps are needed.
    pub(super) fn require(&mut self, step: &Declaration, schemes: &mut Map<String, Value>) {
        for (name, scopes) in self.alternatives.iter_mut().flatten() {
            add_scopes(scopes, step.scopes());
            // Those of OpenID Connect are scopes alone (OpenAPI, 4.8.30).
            let kind = schemes.get(name).and_then(|scheme| scheme.get("type"));
            if kind.is_none_or(|kind| kind != "openIdConnect") {
                add_scopes(scopes, step.roles());
            }
        }
        if step.kinds().contains(&Kind::Authorization) && !step.conditional() {
            self.refuse_anonymous();
        }
        if step.credentials().is_empty() {
            return;
        }
        let is_optional = !step.needs_credentials() || step.conditional();
        let mut all = Vec::new();
        for before in &self.alternatives {
            if is_optional {
                all.push(before.clone());
            }
            for credential in step.credentials() {
                let mut needed = before.clone();
                let scopes = needed.entry(add_scheme(credential, schemes)).or_default();
                add_scopes(scopes, credential.scopes());
                all.push(needed);
            }
        }
        all.truncate(MAX_ALTERNATIVES);
        let mut distinct: Vec<BTreeMap<String, Vec<String>>> = Vec::new();
        for needed in all {
            if !distinct.contains(&needed) {
                distinct.push(needed);
            }
        }
        self.alternatives = distinct;
    }

    /// Removes the alternative without credentials, as far as another one is known.
    fn refuse_anonymous(&mut self) {
        if self.alternatives.iter().any(|needed| !needed.is_empty()) {
            self.alternatives.retain(|needed| !needed.is_empty());
        }
    }

    /// The member `security` of an operation. `None`: no credentials are read.
    pub(super) fn to_value(&self) -> Option<Value> {
        let is_empty = self.alternatives.iter().all(BTreeMap::is_empty);
        (!is_empty).then(|| json!(self.alternatives))
    }
}

fn add_scopes(scopes: &mut Vec<String>, more: &[String]) {
    for scope in more {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
}

/// Adds the scheme of a credential to the document, and returns its name.
fn add_scheme(credential: &Credential, schemes: &mut Map<String, Value>) -> String {
    let (name, mut scheme) = match credential.scheme() {
        Scheme::Basic => ("basic".to_owned(), json!({ "type": "http", "scheme": "basic" })),
        Scheme::Bearer(None) => {
            ("bearer".to_owned(), json!({ "type": "http", "scheme": "bearer" }))
        }
        Scheme::Bearer(Some(format)) => (
            format!("bearer-{format}"),
            json!({ "type": "http", "scheme": "bearer", "bearerFormat": format }),
        ),
        Scheme::Http(name) => {
            (name.to_ascii_lowercase(), json!({ "type": "http", "scheme": name }))
        }
        Scheme::Header(name) => (
            format!("header-{}", name.to_ascii_lowercase()),
            json!({ "type": "apiKey", "in": "header", "name": name }),
        ),
        Scheme::Cookie(name) => {
            (format!("cookie-{name}"), json!({ "type": "apiKey", "in": "cookie", "name": name }))
        }
        Scheme::Query(name) => {
            (format!("query-{name}"), json!({ "type": "apiKey", "in": "query", "name": name }))
        }
        Scheme::Issuer(url) => {
            let url = format!(
                "{}/.well-known/openid-configuration",
                url.strip_suffix('/').unwrap_or(url)
            );
            ("issuer".to_owned(), json!({ "type": "openIdConnect", "openIdConnectUrl": url }))
        }
        Scheme::Certificate => ("certificate".to_owned(), json!({ "type": "mutualTLS" })),
    };
    if let (Some(object), false) = (scheme.as_object_mut(), credential.text().is_empty()) {
        object.insert("description".to_owned(), Value::from(credential.text()));
    }
    // The name of a component has letters, digits, dots, hyphens and underscores.
    let is_valid = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let name: String = name.chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
    let mut unique = name.clone();
    let mut number = 2;
    while schemes.get(&unique).is_some_and(|own| *own != scheme) {
        unique = format!("{name}-{number}");
        number += 1;
    }
    schemes.insert(unique.clone(), scheme);
    unique
}

/// A bound on what steps multiply.
const MAX_ALTERNATIVES: usize = 64;
