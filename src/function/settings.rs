//! What a provided value declares, if extractors read it.

use std::any::Any;

use crate::declare::Declaration;
use crate::declare::settings::Settings;
#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::BracketSyntax;
#[cfg(feature = "json")]
use crate::extract::TextAsJson;
use crate::extract::{InvalidInput, MaxBody, TrustedProxies};

/// Declares a provided value, if it changes how extractors read their input.
pub(super) fn declare(value: &dyn Any, to: &mut Declaration) {
    if let Some(max) = value.downcast_ref::<MaxBody>() {
        to.set(Settings { max_body: Some(max.limit()), ..Settings::default() });
        if let Some(bytes) = max.limit() {
            to.limits_body(bytes);
        }
    }
    if let Some(proxies) = value.downcast_ref::<TrustedProxies>() {
        let trusts_everyone = proxies.trusts_everyone();
        to.set(Settings { trusts_everyone, ..Settings::default() });
    }
    if let Some(invalid) = value.downcast_ref::<InvalidInput>() {
        let bad_request = Some(invalid.is_bad_request());
        to.set(Settings { bad_request, ..Settings::default() });
    }
    #[cfg(feature = "json")]
    if value.is::<TextAsJson>() {
        to.set(Settings { text_as_json: true, ..Settings::default() });
    }
    #[cfg(any(feature = "form", feature = "query"))]
    if let Some(brackets) = value.downcast_ref::<BracketSyntax>() {
        to.set(Settings { brackets: Some(!brackets.is_literal()), ..Settings::default() });
    }
}
