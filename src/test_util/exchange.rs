//! A request and its response, as a failing assertion prints them.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::{Error, Request};

/// The request that was sent.
#[derive(Clone)]
pub(super) struct Sent {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// `None` for a stream.
    pub(super) body: Option<Bytes>,
    peer: SocketAddr,
    trailers: Option<HeaderMap>,
    redirected: Vec<String>,
}

impl Sent {
    pub(super) fn new(
        req: &Request,
        body: Option<Bytes>,
        trailers: &HeaderMap,
        peer: SocketAddr,
    ) -> Self {
        Self {
            method: req.method().clone(),
            uri: req.uri().clone(),
            headers: req.headers().clone(),
            body,
            trailers: (!trailers.is_empty()).then(|| trailers.clone()),
            peer,
            redirected: Vec::new(),
        }
    }

    pub(super) fn after(mut self, redirected: Vec<String>) -> Self {
        self.redirected = redirected;
        self
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.redirected {
            writeln!(f, "  (redirected: {step})")?;
        }
        writeln!(f, "> {} {}  (from {})", self.method, self.uri, self.peer)?;
        headers(f, '>', &self.headers)?;
        match &self.body {
            Some(bytes) => body(f, '>', bytes)?,
            None => writeln!(f, ">\n> (a stream)")?,
        }
        match &self.trailers {
            Some(fields) => trailers(f, '>', fields),
            None => Ok(()),
        }
    }
}

/// Writes the head of a response.
pub(super) fn received(
    f: &mut fmt::Formatter<'_>,
    status: StatusCode,
    fields: &HeaderMap,
    error: Option<&Error>,
) -> fmt::Result {
    writeln!(f, "< {status}")?;
    headers(f, '<', fields)?;
    if let Some(error) = error.filter(|error| error.status().is_server_error()) {
        // The client doesn't see this error. The author of the test should.
        writeln!(f, "  (the error that was not sent: {error}")?;
        let mut cause = error.source().map(|source| source as &dyn std::error::Error);
        while let Some(source) = cause {
            writeln!(f, "   caused by: {source}")?;
            cause = source.source();
        }
        writeln!(f, "  )")?;
    }
    Ok(())
}

fn headers(f: &mut fmt::Formatter<'_>, mark: char, headers: &HeaderMap) -> fmt::Result {
    for (name, value) in headers {
        match value.is_sensitive() {
            true => writeln!(f, "{mark} {name}: (sensitive)")?,
            false => writeln!(f, "{mark} {name}: {}", String::from_utf8_lossy(value.as_bytes()))?,
        }
    }
    Ok(())
}

/// Writes trailers.
pub(super) fn trailers(f: &mut fmt::Formatter<'_>, mark: char, fields: &HeaderMap) -> fmt::Result {
    writeln!(f, "{mark}\n{mark} (trailers)")?;
    headers(f, mark, fields)
}

/// Writes a body: as text if it is UTF-8, otherwise as hex, and cut if it is long.
pub(super) fn body(f: &mut fmt::Formatter<'_>, mark: char, bytes: &[u8]) -> fmt::Result {
    if bytes.is_empty() {
        return Ok(());
    }
    writeln!(f, "{mark}")?;
    let shown = &bytes[..bytes.len().min(SHOWN)];
    // The cut may be in the middle of a character.
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&shown[..e.valid_up_to()]).ok(),
        Err(_) => None,
    };
    match text {
        Some(text) => {
            for line in text.lines() {
                writeln!(f, "{mark} {line}")?;
            }
        }
        None => {
            let mut hex = String::new();
            for byte in shown.iter().take(64) {
                let _ = write!(hex, "{byte:02x} ");
            }
            writeln!(f, "{mark} {hex}..")?;
        }
    }
    if bytes.len() > shown.len() || text.is_none() {
        writeln!(f, "{mark} ({} bytes)", bytes.len())?;
    }
    Ok(())
}

const SHOWN: usize = 4096;
