//! The methods of a declaration that describe an operation in words.

use super::declaration::Declaration;
#[cfg(feature = "openapi")]
use super::notes::Taken;
use super::settings::Settings;

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

    /// Sets the title and the description from the text of a doc comment: its first paragraph, and the others.
    pub fn doc_comment(&mut self, text: &str) -> &mut Self {
        let lines =
            text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_ascii_end());
        let mut lines = lines.skip_while(|line| line.is_empty());
        let title: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let rest: Vec<&str> = lines.collect();
        let rest = rest.join("\n");
        self.summary(title.join(" "));
        match rest.trim_ascii() {
            "" => self,
            rest => self.description(rest),
        }
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
    /// by itself, but not what middleware reads and provides, nor the [parts](crate::openapi::Parts) of a multipart form.
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

    /// Declares a provided value that changes how extractors read their input.
    pub(crate) fn set(&mut self, settings: Settings) -> &mut Self {
        self.settings.merge(settings);
        self
    }

    /// The provided values that change how extractors read their input.
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }
}
