//! The frames of an HTTP/2 connection, as far as the time limits depend on them.
//!
//! Sources: RFC 9113, 4.1, 4.3 and 6.

/// Follows the frames of one direction of a connection.
#[derive(Debug)]
pub(super) struct Frames {
    /// What is left of the connection preface.
    preface: usize,
    /// The header of the current frame, as far as it is known.
    header: [u8; 9],
    known: usize,
    /// What is left of the payload of the current frame.
    payload: usize,
    /// Whether a head has begun that continues in the next frame.
    continues: bool,
}

/// What some bytes of a connection are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// There is a part of a request or of a response.
    pub(super) messages: bool,
    /// A head, or a frame other than DATA, has begun in these bytes or before them and is not complete.
    pub(super) unfinished: bool,
    /// That has begun in these bytes.
    pub(super) begun: bool,
}

impl Frames {
    /// The frames after the preface of a client.
    pub(super) fn of_client() -> Self {
        Self { preface: PREFACE, ..Self::of_server() }
    }

    pub(super) fn of_server() -> Self {
        Self { preface: 0, header: [0; 9], known: 0, payload: 0, continues: false }
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Seen {
        let mut seen = Seen { begun: !self.is_unfinished(), ..Seen::default() };
        bytes = &bytes[self.skip_preface(bytes.len())..];
        while let [first, rest @ ..] = bytes {
            if self.known < self.header.len() {
                self.header[self.known] = *first;
                self.known += 1;
                bytes = rest;
                if self.known == self.header.len() {
                    let [a, b, c, ..] = self.header;
                    self.payload = u32::from_be_bytes([0, a, b, c]) as usize;
                }
            } else {
                let part = self.payload.min(bytes.len());
                self.payload -= part;
                bytes = &bytes[part..];
            }
            if self.known == self.header.len() {
                seen.messages |= matches!(self.kind(), DATA | HEADERS | CONTINUATION);
                if self.payload == 0 {
                    self.end_frame();
                    seen.begun |= !self.is_unfinished();
                }
            }
        }
        seen.unfinished = self.is_unfinished();
        seen.begun &= seen.unfinished;
        seen
    }

    fn skip_preface(&mut self, available: usize) -> usize {
        let skipped = self.preface.min(available);
        self.preface -= skipped;
        skipped
    }

    fn end_frame(&mut self) {
        if matches!(self.kind(), HEADERS | CONTINUATION) {
            self.continues = self.header[4] & END_HEADERS == 0;
        }
        self.known = 0;
    }

    fn is_unfinished(&self) -> bool {
        let is_in_data = self.known == self.header.len() && self.kind() == DATA;
        self.continues || self.known > 0 && !is_in_data
    }

    fn kind(&self) -> u8 {
        self.header[3]
    }
}

const PREFACE: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, 0, payload as u8, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![0; payload]);
        frame
    }

    #[test]
    fn a_head_is_unfinished_until_its_last_frame_is_complete() {
        let head = |flags| frame(HEADERS, flags, 5);
        let more = |flags| frame(CONTINUATION, flags, 5);
        let cut = |mut frame: Vec<u8>| {
            frame.pop();
            frame
        };
        let ping = || frame(6, 0, 8);
        for (name, sent, messages, unfinished) in [
            ("nothing", vec![], false, false),
            ("a ping", ping(), false, false),
            ("a part of a ping", cut(ping()), false, true),
            ("a part of a header", vec![0, 0], false, true),
            ("a head", head(END_HEADERS), true, false),
            ("a part of a head", cut(head(END_HEADERS)), true, true),
            ("a head that continues", head(0), true, true),
            ("its end", [head(0), more(END_HEADERS)].concat(), true, false),
            ("a part of its end", [head(0), cut(more(END_HEADERS))].concat(), true, true),
            ("its middle", [head(0), more(0), more(0)].concat(), true, true),
            ("data", [head(END_HEADERS), frame(DATA, 0, 5)].concat(), true, false),
            ("a part of data", [head(END_HEADERS), cut(frame(DATA, 0, 5))].concat(), true, false),
            ("empty data", frame(DATA, 0, 0), true, false),
        ] {
            let sent = [&[b'p'; PREFACE][..], &sent].concat();
            for step in [1, 2, 7, 1000] {
                let mut frames = Frames::of_client();
                let mut all = Seen::default();
                for bytes in sent.chunks(step) {
                    let seen = frames.read(bytes);
                    all = Seen { messages: all.messages | seen.messages, ..seen };
                }
                assert_eq!((all.messages, all.unfinished), (messages, unfinished), "{name} {step}");
            }
        }
    }

    #[test]
    fn each_head_begins_once() {
        let mut frames = Frames::of_server();
        let head = frame(HEADERS, END_HEADERS, 5);
        let begun = |frames: &mut Frames, bytes: &[u8]| frames.read(bytes).begun;
        assert!(begun(&mut frames, &head[..3]));
        assert!(!begun(&mut frames, &head[3..12]));
        assert!(!begun(&mut frames, &head[12..]));
        assert!(begun(&mut frames, &head[..12]));
        assert!(begun(&mut frames, &[&head[12..], &head[..1]].concat()));
        assert!(!begun(&mut frames, &frame(HEADERS, 0, 5)[1..]));
        for _ in 0..3 {
            assert!(!begun(&mut frames, &frame(CONTINUATION, 0, 1)));
        }
    }
}
