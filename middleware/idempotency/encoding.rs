//! Bytes and numbers in a store.

use bytes::{BufMut, Bytes, BytesMut};

/// Writes bytes after their length.
pub(super) fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(bytes);
}

/// Bytes that are read from the start. Nothing of it panics: the bytes come from outside.
pub(super) struct Input(pub(super) Bytes);

impl Input {
    /// A number of so many bytes.
    pub(super) fn number<const N: usize>(&mut self) -> Option<u32> {
        let bytes = self.take(N)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// Bytes after their length.
    pub(super) fn bytes(&mut self) -> Option<Bytes> {
        let length = self.number::<4>()?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// All bytes that are left.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.0.len() >= length).then(|| self.0.split_to(length))
    }
}
