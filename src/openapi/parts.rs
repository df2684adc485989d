//! The parts of a multipart form.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::arguments::HasSchema;
use super::{DescribeArgument, Operation};

/// Describes the parts of a [`Multipart`](crate::extract::Multipart) form by a struct: each field is a part of this name, and a [`File`] is a file.
///
/// The handler reads the parts itself, so no type contains their names. Nothing checks that the handler reads what the struct describes.
///
/// # Example
///
/// ```
/// use schemars::JsonSchema;
/// use tower_chain::extract::Multipart;
/// use tower_chain::openapi::{File, Parts, described};
/// use tower_chain::{Chain, Error, StatusCode};
///
/// /// The parts of the form, for the document alone.
/// #[derive(JsonSchema)]
/// #[allow(dead_code)]
/// struct Upload {
///     title: String,
///     pictures: Vec<File>,
/// }
///
/// async fn upload(mut form: Multipart) -> Result<String, Error> {
///     while let Some(part) = form.next_part().await? {
///         match part.name() {
///             Some("title" | "pictures") => drop(part.bytes().await?),
///             _ => return Err(Error::new(StatusCode::UNPROCESSABLE_ENTITY, "An unknown part")),
///         }
///     }
///     Ok("thanks".to_owned())
/// }
///
/// let upload = described(upload, |to| {
///     to.takes::<Parts<Upload>>();
/// });
/// let chain = Chain::new().documented().post(upload);
/// # let _ = chain.build();
/// ```
#[derive(Debug)]
pub struct Parts<T>(PhantomData<fn() -> T>);

impl<T: HasSchema> DescribeArgument for Parts<T> {
    fn describe(to: &mut Operation) {
        let schema = to.schemas.input::<T>();
        to.body("multipart/form-data", schema);
    }
}

/// A file in the [parts](Parts) of a form. It has a schema and no content.
#[derive(Clone, Copy, Debug)]
pub struct File(());

impl JsonSchema for File {
    fn schema_name() -> Cow<'static, str> {
        "File".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "binary" })
    }
}
