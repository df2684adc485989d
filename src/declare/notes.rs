//! What is written about an operation, and how its input is read.

use std::any::Any;

use super::declaration::Declaration;
#[cfg(any(feature = "form", feature = "query"))]
use crate::extract::BracketSyntax;
#[cfg(feature = "json")]
use crate::extract::TextAsJson;
use crate::extract::{InvalidInput, MaxBody};

/// What is written about an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    id: Option<String>,
    summary: Option<String>,
    description: Option<String>,
    tags: Vec<String>,
    hidden: bool,
    #[cfg(feature = "openapi")]
    takes: Vec<Taken>,
}

/// The description of what a step takes.
#[cfg(feature = "openapi")]
#[derive(Clone, Copy, Debug)]
struct Taken(fn(&mut super::operation::Operation));

#[cfg(feature = "openapi")]
impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

#[cfg(feature = "openapi")]
impl Eq for Taken {}

impl Notes {
    pub(super) fn merge(&mut self, other: Self) {
        self.id = other.id.or(self.id.take());
        self.summary = other.summary.or(self.summary.take());
        self.description = other.description.or(self.description.take());
        let is_new = |tag: &String| !self.tags.contains(tag);
        let new: Vec<String> = other.tags.into_iter().filter(is_new).collect();
        self.tags.extend(new);
        self.hidden |= other.hidden;
    }
}

/// The provided values that change how extractors read their input. `None`: the step does not set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// JSON may be sent as plain text.
    pub(crate) text_as_json: bool,
    /// Brackets in names are lists and objects.
    pub(crate) brackets: Option<bool>,
    /// Input that is not valid is a 400, not a 422.
    pub(crate) bad_request: Option<bool>,
    /// How many bytes of a body extractors read. `Some(None)`: any number.
    pub(crate) max_body: Option<Option<u64>>,
}

impl Settings {
    pub(crate) fn merge(&mut self, later: Self) {
        self.text_as_json |= later.text_as_json;
        self.brackets = later.brackets.or(self.brackets);
        self.bad_request = later.bad_request.or(self.bad_request);
        self.max_body = later.max_body.or(self.max_body);
    }
}

impl Declaration {
    /// Sets the id of the operation in an OpenAPI document. It must be unique. Defaults to the name of the handler.
    pub fn id(&mut self, id: impl Into<String>) -> &mut Self {
        self.notes.id = Some(id.into());
        self
    }

    /// Sets the title of the operation.
    pub fn summary(&mut self, text: impl Into<String>) -> &mut Self {
        self.notes.summary = Some(text.into());
        self
    }

    /// Describes the operation, in CommonMark.
    pub fn description(&mut self, text: impl Into<String>) -> &mut Self {
        self.notes.description = Some(text.into());
        self
    }

    /// Adds a tag, by which a document groups operations.
    pub fn tag(&mut self, tag: impl Into<String>) -> &mut Self {
        let tag = tag.into();
        if !self.notes.tags.contains(&tag) {
            self.notes.tags.push(tag);
        }
        self
    }

    /// Leaves the operation out of documents.
    pub fn hide(&mut self) -> &mut Self {
        self.notes.hidden = true;
        self
    }

    /// Declares what the step reads from a request, as an extractor describes it. A documented chain describes the arguments of handlers and guards
    /// by itself, but not what middleware reads and provides.
    ///
    /// # Example
    ///
    /// ```
    /// # #[cfg(all(feature = "json", feature = "validate"))] {
    /// use tower_chain::step::declared;
    /// use tower_chain::{Chain, Json, Valid, ValidateInput};
    ///
    /// #[derive(Clone, schemars::JsonSchema, serde::Deserialize, validator::Validate)]
    /// struct Name {
    ///     #[validate(length(min = 1))]
    ///     name: String,
    /// }
    ///
    /// let step = declared(ValidateInput::<Json<Name>>::new(), |to| {
    ///     to.takes::<Valid<Json<Name>>>();
    /// });
    /// let chain = Chain::new().documented().use_(step).post(async |Valid(name): Valid<Name>| name.name);
    /// # let _ = chain.build();
    /// # }
    /// ```
    #[cfg(feature = "openapi")]
    #[cfg_attr(docsrs, doc(cfg(feature = "openapi")))]
    pub fn takes<E: super::operation::DescribeArgument>(&mut self) -> &mut Self {
        self.notes.takes.push(Taken(E::describe));
        self
    }

    /// Adds what the step takes to the description of an operation.
    #[cfg(feature = "openapi")]
    pub(crate) fn describe_taken(&self, to: &mut super::operation::Operation) {
        for taken in &self.notes.takes {
            (taken.0)(to);
        }
    }

    /// The id of the operation, if one is set.
    pub fn operation_id(&self) -> Option<&str> {
        self.notes.id.as_deref()
    }

    /// The title of the operation.
    pub fn title(&self) -> Option<&str> {
        self.notes.summary.as_deref()
    }

    /// The description of the operation.
    pub fn text(&self) -> Option<&str> {
        self.notes.description.as_deref()
    }

    /// The tags of the operation.
    pub fn tags(&self) -> &[String] {
        &self.notes.tags
    }

    /// Whether documents leave the operation out.
    pub fn is_hidden(&self) -> bool {
        self.notes.hidden
    }

    /// Takes over what is written about another operation, in addition to its own notes.
    pub(crate) fn add_notes(&mut self, of: &Self) {
        self.notes.merge(of.notes.clone());
        self.deprecated |= of.deprecated;
    }

    /// Declares a provided value, if it is one that extractors read.
    pub(crate) fn provides(&mut self, value: &dyn Any) {
        if let Some(max) = value.downcast_ref::<MaxBody>() {
            self.settings.max_body = Some(max.limit());
            if let Some(bytes) = max.limit() {
                self.limits_body(bytes);
            }
        }
        if let Some(invalid) = value.downcast_ref::<InvalidInput>() {
            self.settings.bad_request = Some(invalid.is_bad_request());
        }
        #[cfg(feature = "json")]
        if value.is::<TextAsJson>() {
            self.settings.text_as_json = true;
        }
        #[cfg(any(feature = "form", feature = "query"))]
        if let Some(brackets) = value.downcast_ref::<BracketSyntax>() {
            self.settings.brackets = Some(!brackets.is_literal());
        }
    }

    /// The provided values that change how extractors read their input.
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }
}
