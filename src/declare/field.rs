//! A header field.

/// A header field of a request or a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    name: String,
    description: String,
    required: bool,
    pattern: Option<String>,
}

impl Field {
    /// A field that is always there. The name is made lowercase.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        let name = name.into().to_ascii_lowercase();
        Self { name, description: description.into(), required: true, pattern: None }
    }

    /// A field that may be absent.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Sets a regular expression of JSON Schema (ECMA-262) for the values that are accepted. Defaults to any text.
    ///
    /// # Example
    ///
    /// ```
    /// use tower_chain::declare::Field;
    ///
    /// let field = Field::new("x-timeout", "In milliseconds").with_pattern("^[0-9]{1,6}$").optional();
    /// assert_eq!(field.pattern(), Some("^[0-9]{1,6}$"));
    /// ```
    #[must_use]
    pub fn with_pattern(mut self, regex: impl Into<String>) -> Self {
        self.pattern = Some(regex.into());
        self
    }

    /// The regular expression for the values, if there is one.
    pub fn pattern(&self) -> Option<&str> {
        self.pattern.as_deref()
    }

    /// The name, in lowercase.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The meaning of the field, in words. Empty for a field that is known by its name.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whether the field is always there.
    pub fn is_required(&self) -> bool {
        self.required
    }
}

impl From<&str> for Field {
    fn from(name: &str) -> Self {
        Self::new(name, "")
    }
}
