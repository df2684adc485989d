//! Forms with files.

use bytes::Bytes;

/// A form with files, as a browser sends it (RFC 7578). Sent by [`TestRequest::multipart`](super::TestRequest::multipart).
///
/// # Example
///
/// ```
/// use tower_chain::test_util::TestForm;
///
/// let form = TestForm::new().text("title", "Holiday").file("photo", "a.png", "image/png", b"\x89PNG".as_slice());
/// # let _ = form;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TestForm {
    parts: Vec<(String, Bytes)>,
}

impl TestForm {
    /// The empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        let head = format!("Content-Disposition: form-data; name=\"{}\"", quoted(name));
        self.parts.push((head, value.into().into()));
        self
    }

    /// Adds a file with its name, its Content-Type and its content.
    pub fn file(mut self, name: &str, file: &str, kind: &str, content: impl Into<Bytes>) -> Self {
        let head = format!(
            "Content-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {kind}",
            quoted(name),
            quoted(file)
        );
        self.parts.push((head, content.into()));
        self
    }

    pub(super) fn encode(self) -> (String, Vec<u8>) {
        let mut boundary = String::from("tower-chain-boundary");
        while self.parts.iter().any(|(_, content)| contains(content, boundary.as_bytes())) {
            boundary.push('-');
        }
        let mut body = Vec::new();
        for (head, content) in &self.parts {
            body.extend(format!("--{boundary}\r\n{head}\r\n\r\n").bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{boundary}--\r\n").bytes());
        (format!("multipart/form-data; boundary={boundary}"), body)
    }
}

fn contains(content: &[u8], what: &[u8]) -> bool {
    content.windows(what.len()).any(|window| window == what)
}

/// As browsers escape names (WHATWG HTML, "multipart/form-data encoding algorithm").
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}
