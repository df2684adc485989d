//! The parameters of a path.

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::request::Parts;
use serde_core::de::value::StrDeserializer;
use serde_core::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor};

use crate::extract::failure::WRONG_LENGTH;
use crate::extract::fields::document::Document;
use crate::extract::input::{Head, RawInput, RawKind};
use crate::extract::param::{Failed, Items, Param};
use crate::extract::typed_input::{HeadInput, Input};
use crate::extract::{FieldError, Location};
use crate::route::routes::Matched;
use crate::{Error, Request};

/// Data from the parameters of the matched path, percent-decoded.
///
/// | `T` | reads |
/// | --- | --- |
/// | a number, a text, an enum, .. | the only parameter |
/// | a tuple | the parameters in the order of the pattern, as many as it has |
/// | a struct, a map | the parameters by name |
///
/// A catch-all such as `{*rest}` is a text, or, as a `Vec`, the list of its segments, in which an encoded slash (`%2F`) stays inside of its
/// segment. A slash at the end of the path is in the text, and adds no item to the list.
///
/// `Option<Path<T>>` is `None` if the matched path has no parameters: an optional catch-all, for a handler on `/docs` and on `/docs/{*path}`.
///
/// An invalid value is a 400 with the name of the parameter and the code that a `Query` has for it. So is a catch-all with
/// another number of segments than a field that is a tuple or an array. A type that does not fit the pattern is a mistake in the program: a 500 whose
/// reason is logged. So is a number or bool in a flattened field or in an internally tagged enum: serde reads the text before it knows the type. An
/// untagged enum has such a value as a text, if it has a variant for texts.
///
/// # Example
///
/// ```
/// use serde::Deserialize;
/// use tower_chain::{Chain, Path};
///
/// #[derive(Deserialize)]
/// struct Post {
///     user: u64,
///     slug: String,
/// }
///
/// let chain = Chain::new()
///     .at("/users/{id}", |c| c.get(async |Path(id): Path<u64>| id.to_string()))
///     .at("/users/{user}/posts/{slug}", |c| c.get(async |Path(post): Path<Post>| post.slug))
///     .at("/diff/{a}/{b}", |c| c.get(async |Path((a, b)): Path<(u32, u32)>| a.abs_diff(b).to_string()))
///     .at("/files/{*path}", |c| c.get(async |Path(path): Path<Vec<String>>| path.join(" > ")));
/// # let _ = chain.build();
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path<T>(pub T);

super::transparent!(Path);

impl<T: DeserializeOwned + Send> Input for Path<T> {
    super::data_of!(T);
    const LOCATION: Location = Location::Path;

    async fn read(req: &mut Request) -> Result<RawInput, Error> {
        Self::find((&*req).into())
    }

    fn parse(source: &RawInput) -> Result<Self, Error> {
        match &source.kind {
            RawKind::Path(matched) => read(matched, source).map(Self),
            _ => Err(no_path()),
        }
    }

    fn document(source: &RawInput) -> Option<Document<'_>> {
        match &source.kind {
            RawKind::Path(matched) => Some(Document::path(matched)),
            _ => None,
        }
    }
}

impl<T: DeserializeOwned + Send> HeadInput for Path<T> {
    fn find(head: Head<'_>) -> Result<RawInput, Error> {
        let matched = head.extensions.get::<Matched>().ok_or_else(no_path)?;
        Ok(RawInput::path(matched.clone()).under(head))
    }
}

super::from_head!(Path);

impl<S: Sync, T: DeserializeOwned + Send> OptionalFromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        match parts.extensions.get::<Matched>() {
            Some(matched) if matched.raw_params().next().is_some() => {
                Self::parse(&Self::find((&*parts).into())?).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn no_path() -> Error {
    Error::internal("`Path` stands in a handler that answers on any path")
}

fn read<T: DeserializeOwned>(matched: &Matched, source: &RawInput) -> Result<T, Error> {
    let (name, code, detail) = match T::deserialize(PathParams { matched }) {
        Ok(data) => return Ok(data),
        Err(Failed::Value { name, code, detail }) => (name, code, detail),
        // The client chooses how many segments a catch-all has.
        Err(Failed::Length { name: Some(name), .. })
            if matched.pattern().contains(&format!("{{*{name}}}")) =>
        {
            (Some(name), "length".into(), WRONG_LENGTH.into())
        }
        Err(Failed::Length { reason, .. } | Failed::Shape(reason)) => {
            return Err(Error::internal(format!(
                "`Path<{}>` doesn't fit the pattern `{}`: {reason}",
                std::any::type_name::<T>(),
                matched.pattern()
            )));
        }
    };
    let mut error = FieldError::new(Location::Path, code, detail);
    // A type that checks a value after it was read does not know its name.
    if let Some(name) = name.or_else(|| Some(PathParams { matched }.only().ok()?.name.to_owned())) {
        error = error.at(name);
    }
    let detail = "A parameter of the path is not valid";
    Err(source.refuse(StatusCode::BAD_REQUEST, detail, vec![error]))
}

/// All parameters.
struct PathParams<'de> {
    matched: &'de Matched,
}

impl<'de> PathParams<'de> {
    fn all(&self) -> impl Iterator<Item = Param<'de>> + use<'de> {
        self.matched.raw_params().map(|(name, raw)| Param { name, raw })
    }

    fn only(&self) -> Result<Param<'de>, Failed> {
        let mut params = self.all();
        match (params.next(), params.next()) {
            (Some(param), None) => Ok(param),
            _ => Err(Failed::Shape("it has not exactly one parameter".to_owned())),
        }
    }

    fn fixed<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failed> {
        let count = self.all().count();
        if count != len {
            return Err(Failed::Shape(format!(
                "it has {count} parameters, and the type takes {len}"
            )));
        }
        visitor.visit_seq(Items(self.all()))
    }

    fn named<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_map(PathMembers { params: self.all(), value: None })
    }
}

macro_rules! of_the_only_one {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
            let param = self.only()?;
            param.$method(visitor).map_err(|failed| failed.named(param.name))
        }
    )*};
}

impl<'de> Deserializer<'de> for PathParams<'de> {
    type Error = Failed;

    read_as! { Failed: newtype_as_its_content unit_struct_as_unit present_as_some }

    of_the_only_one! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.named(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        self.named(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.named(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.fixed(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failed> {
        self.fixed(len, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        match self.only() {
            Ok(param) => param.deserialize_seq(visitor).map_err(|failed| failed.named(param.name)),
            Err(_) => visitor.visit_seq(Items(self.all())),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failed> {
        let param = self.only()?;
        param.deserialize_enum(name, variants, visitor).map_err(|failed| failed.named(param.name))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failed> {
        visitor.visit_unit()
    }
}

/// Parameters by name.
struct PathMembers<'de, I> {
    params: I,
    value: Option<Param<'de>>,
}

impl<'de, I: Iterator<Item = Param<'de>>> MapAccess<'de> for PathMembers<'de, I> {
    type Error = Failed;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failed> {
        self.value = self.params.next();
        let Some(param) = self.value else { return Ok(None) };
        seed.deserialize(StrDeserializer::new(param.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Failed> {
        let Some(param) = self.value.take() else {
            return Err(Failed::Shape("a value was asked for without its name".to_owned()));
        };
        seed.deserialize(param).map_err(|failed| failed.named(param.name))
    }
}
