//! What handlers answer with, beside texts, bytes, streams and `Json`.

mod redirect;

pub use self::redirect::Redirect;
