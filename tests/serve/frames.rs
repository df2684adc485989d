//! HTTP/2 frames as bytes, for requests that no client sends.

/// The start of a connection, with a window for each of its streams and the largest one for itself.
pub(super) fn preface(window: u32) -> Vec<u8> {
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE
    frame(&mut sent, 4, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
    let connection = (1_u32 << 31) - 1 - 65_535;
    frame(&mut sent, 8, 0, 0, &connection.to_be_bytes());
    sent
}

pub(super) fn frame(sent: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    sent.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    sent.extend([kind, flags]);
    sent.extend(stream.to_be_bytes());
    sent.extend(payload);
}

/// A field in a head, as a literal without index (RFC 7541, 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    [vec![0], literal(name), literal(value)].concat()
}

/// A string (RFC 7541, 5.1 and 5.2).
fn literal(text: &str) -> Vec<u8> {
    let mut encoded = Vec::new();
    match text.len().checked_sub(127) {
        None => encoded.push(text.len() as u8),
        Some(mut rest) => {
            encoded.push(127);
            while rest >= 128 {
                encoded.push((rest % 128) as u8 | 128);
                rest /= 128;
            }
            encoded.push(rest as u8);
        }
    }
    encoded.extend(text.as_bytes());
    encoded
}
