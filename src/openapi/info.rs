//! The settings of a document.

/// The title, version and further settings of a document.
///
/// # Example
///
/// ```
/// use tower_chain::openapi::Info;
///
/// let info = Info::new("Shop", "1.4.0")
///     .description("Orders and articles.")
///     .server("https://shop.example.org");
/// # let _ = info;
/// ```
#[derive(Clone, Debug)]
pub struct Info {
    pub(super) title: String,
    pub(super) version: String,
    pub(super) description: Option<String>,
    pub(super) servers: Vec<String>,
    pub(super) license: Option<(String, Option<String>)>,
    pub(super) is_3_2: bool,
    pub(super) written_only: bool,
}

impl Info {
    /// The title of the API, and its version.
    pub fn new(title: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            version: version.into(),
            description: None,
            servers: Vec::new(),
            license: None,
            is_3_2: false,
            written_only: false,
        }
    }

    /// Describes the API, in CommonMark.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Adds the URL of a server. Defaults to `/`, the server of the document.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.servers.push(url.into());
        self
    }

    /// Sets the license of the API by its name, with the URL of its text if there is one.
    #[must_use]
    pub fn license(mut self, name: impl Into<String>, url: Option<&str>) -> Self {
        self.license = Some((name.into(), url.map(str::to_owned)));
        self
    }

    /// Writes OpenAPI 3.2: QUERY and other methods are operations, and the items of a stream have a schema. Defaults to 3.1, which more tools read.
    #[must_use]
    pub fn openapi_3_2(mut self) -> Self {
        self.is_3_2 = true;
        self
    }

    /// Leaves out the operations that the chain adds: HEAD for each GET, and OPTIONS for each path. Defaults to listing them.
    #[must_use]
    pub fn without_automatic_operations(mut self) -> Self {
        self.written_only = true;
        self
    }
}
