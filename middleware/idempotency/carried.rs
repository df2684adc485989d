//! The error that a response carries, in a store.
//!
//! A hook of `on_error` further outside renders it. It must render a replayed response as it rendered the first one.

use axum_core::response::IntoResponse;
use bytes::{BufMut, BytesMut};
use futures_util::FutureExt;
use http::{Extensions, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;

use super::encoding::{Input, put};
use crate::extract::{FieldError, Location};
use crate::{Error, Response};

/// The error of a response, unless a hook further inside has rendered it. A rendered error has another body than its own.
pub(super) fn error_of(response: &Response, body: &[u8]) -> Option<Error> {
    let error = Error::of(response)?;
    let own = error.clone().into_response().into_body().collect();
    let own = own.now_or_never()?.ok()?.to_bytes();
    (own == body).then(|| error.clone())
}

pub(super) fn write_error(out: &mut BytesMut, error: Option<&Error>) {
    let Some(error) = error else { return out.put_u8(0) };
    let parts = Parts::of(error);
    out.put_u8(1);
    out.put_u16(parts.status.as_u16());
    for text in [&parts.type_uri, &parts.title, &parts.detail] {
        put(out, text.as_bytes());
    }
    out.put_u32(u32::try_from(parts.members.len()).unwrap_or(u32::MAX));
    for (name, json) in &parts.members {
        put(out, name.as_bytes());
        put(out, json.as_bytes());
    }
}

/// The extensions of a response that carries the error; `Some(None)` if there is no error, `None` if the bytes are wrong.
pub(super) fn read_error(input: &mut Input) -> Option<Option<Extensions>> {
    if input.number::<1>()? == 0 {
        return Some(None);
    }
    let status = StatusCode::from_u16(u16::try_from(input.number::<2>()?).ok()?).ok()?;
    let (type_uri, title, detail) = (input.text()?, input.text()?, input.text()?);
    let mut members = Vec::new();
    for _ in 0..input.number::<4>()? {
        members.push((input.text()?, input.text()?));
    }
    let error = rebuilt(&Parts { status, type_uri, title, detail, members });
    Some(Some(std::mem::take(error.into_response().extensions_mut())))
}

/// What an error has, except for its cause and its header fields, which are those of the response.
struct Parts {
    status: StatusCode,
    type_uri: String,
    title: String,
    detail: String,
    members: Vec<(String, String)>,
}

impl Parts {
    fn of(error: &Error) -> Self {
        let members = error.members().map(|(name, json)| (name.to_owned(), json.to_owned()));
        Self {
            status: error.status(),
            type_uri: error.type_uri().to_owned(),
            title: error.title().to_owned(),
            detail: error.detail().to_owned(),
            members: members.collect(),
        }
    }
}

fn rebuilt(parts: &Parts) -> Error {
    let fields = parts.members.iter().find(|(name, _)| name == "errors");
    let fields = fields.and_then(|(_, json)| field_errors(json));
    let (status, detail) = (parts.status, parts.detail.clone());
    let error = match fields {
        Some(fields) => FieldError::refuse(status, detail, &fields),
        None => Error::new(status, detail),
    };
    let error = error.with_type(parts.type_uri.clone()).with_title(parts.title.clone());
    parts
        .members
        .iter()
        .fold(error, |error, (name, json)| error.with_member(name.clone(), json.clone()))
}

/// The errors of the fields, from the member `errors`.
fn field_errors(json: &str) -> Option<Vec<FieldError>> {
    let list: Vec<Value> = serde_json::from_str(json).ok()?;
    let field = |value: &Value| {
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let location = text("location")?;
        let location = LOCATIONS.into_iter().find(|known| known.as_str() == location)?;
        let mut field = FieldError::new(location, text("code")?, text("detail")?)
            .with_pointer(text("pointer")?);
        for (name, value) in value.get("params").and_then(Value::as_object).into_iter().flatten() {
            field = field.with_param(name.clone(), value.to_string());
        }
        Some(field)
    };
    list.iter().map(field).collect()
}

const LOCATIONS: [Location; 4] =
    [Location::Path, Location::Query, Location::Header, Location::Body];
