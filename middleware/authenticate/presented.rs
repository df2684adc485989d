//! What a verifying function is given.

use std::fmt;

/// A token that a client sent. It is shown by [`as_str`](Self::as_str) alone, never by `Debug`.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub(super) fn new(token: String) -> Self {
        Self(token)
    }

    /// The text that the client sent: at most 8 KiB of visible ASCII, without blanks.
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
    /// `text` is user, colon and password; the colon stands at `colon`.
    pub(super) fn new(text: String, colon: usize) -> Self {
        Self { text, colon }
    }

    /// The user. It may be empty.
    pub fn user(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// The password. It may be empty, and may hold colons.
    pub fn password(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}
