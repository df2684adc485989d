//! The arguments of verifying functions.

use std::fmt;

/// A token that a client sent. `Debug` does not show it.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub(super) fn new(token: String) -> Self {
        Self(token)
    }

    /// The text that the client sent: visible ASCII, without spaces, and by [default](super::Authenticate::max_bytes) at most 8 KiB.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A user and a password that a client sent. `Debug` shows neither.
#[derive(Clone)]
pub struct Login {
    text: String,
    colon: usize,
}

impl Login {
    /// `text` is the user, a colon and the password. `colon` is the index of the colon.
    pub(super) fn new(text: String, colon: usize) -> Self {
        Self { text, colon }
    }

    /// The user. It may be empty.
    pub fn user(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// The password. It may be empty, and may contain colons.
    pub fn password(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}
