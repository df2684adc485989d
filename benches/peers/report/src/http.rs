//! Sends one request at a time over TCP, and returns the unchanged response.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

pub struct Answer {
    pub status: u16,
    /// In lower case, without a redundant charset: JSON is always UTF-8.
    pub media: String,
    pub body: Vec<u8>,
    /// The bytes before the body.
    pub head: usize,
}

pub struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub fn open(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends a request and reads the response. The connection stays open, unless the server closes it.
    pub fn ask(&mut self, head: &str, body: &[u8]) -> Result<Answer> {
        self.stream.write_all(head.as_bytes())?;
        if body.len() > LARGE {
            // A server that refuses the declared length responds now, and may close the connection.
            self.stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            match self.more() {
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    for piece in body.chunks(LARGE) {
                        if self.stream.write_all(piece).is_err() {
                            break;
                        }
                    }
                }
                Err(error) => return Err(error.into()),
            }
        } else {
            self.stream.write_all(body)?;
        }
        self.stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                break end + 4;
            }
            if self.more()? == 0 {
                return Err("the connection ended in the head of an answer".into());
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).to_lowercase();
        self.read.drain(..end);
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned())
        };
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        let body = match field("content-length") {
            Some(length) => self.take(length.parse()?)?,
            None if field("transfer-encoding").as_deref() == Some("chunked") => self.chunks()?,
            None => return Err(format!("a body without a length: {head}").into()),
        };
        let media = field("content-type").unwrap_or_default().replace(' ', "");
        let media = match media.strip_suffix(";charset=utf-8") {
            Some("application/json") => "application/json".to_owned(),
            _ => media,
        };
        Ok(Answer { status, media, body, head: end })
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.read.len() < length {
            if self.more()? == 0 {
                return Err("the connection ended in the body of an answer".into());
            }
        }
        Ok(self.read.drain(..length).collect())
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                match find(&self.read, b"\r\n") {
                    Some(end) => break end,
                    None if self.more()? == 0 => return Err("a chunk is missing".into()),
                    None => {}
                }
            };
            let line = self.take(end + 2)?;
            let length = usize::from_str_radix(String::from_utf8_lossy(&line[..end]).trim(), 16)?;
            body.extend(self.take(length)?);
            self.take(2)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    fn more(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 4096];
        let read = self.stream.read(&mut buffer)?;
        self.read.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// The head of a request.
pub fn head(method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    if method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head + "\r\n"
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Larger bodies are not sent at once.
const LARGE: usize = 64 << 10;
