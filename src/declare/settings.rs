//! How the input of an operation is read.

/// The provided values that change how extractors read a request. `None`: the step does not set it.
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
    /// Any client can choose its address.
    pub(crate) trusts_everyone: bool,
}

impl Settings {
    pub(crate) fn merge(&mut self, later: Self) {
        self.text_as_json |= later.text_as_json;
        self.brackets = later.brackets.or(self.brackets);
        self.bad_request = later.bad_request.or(self.bad_request);
        self.max_body = later.max_body.or(self.max_body);
        self.trusts_everyone |= later.trusts_everyone;
    }
}
