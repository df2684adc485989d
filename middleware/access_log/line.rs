//! The text of a line.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{Method, Version};

use super::field::LogField;

/// All that a line may contain.
pub(super) struct Line {
    pub(super) time: SystemTime,
    pub(super) start: Instant,
    pub(super) client: Option<IpAddr>,
    pub(super) method: Method,
    pub(super) path: Escaped,
    pub(super) version: Version,
    pub(super) referer: Option<Escaped>,
    pub(super) user_agent: Option<Escaped>,
    pub(super) route: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) sent: u64,
    pub(super) seconds: f64,
    /// The values of the fields that are read from the request or the response, in the order of the fields.
    pub(super) values: Vec<Option<Escaped>>,
}

/// Bytes of any content, cut off after [`LONGEST`]. `Display` writes them with Apache's escapes, as visible ASCII.
#[derive(Clone)]
pub(super) struct Escaped(Box<[u8]>);

impl Escaped {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(LONGEST)].into())
    }
}

impl fmt::Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &*self.0 {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

/// A value of a field.
enum Value {
    Missing,
    Number(String),
    Text(Escaped),
}

impl Line {
    /// `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"`, and the fields in quotes.
    pub(super) fn combined(&self, fields: &[(String, LogField)]) -> String {
        let mut line = String::with_capacity(256);
        let method = Escaped::new(self.method.as_str().as_bytes());
        let (path, version, date) = (&self.path, self.version, Timestamp::of(self.time));
        match self.client {
            Some(client) => write_to(&mut line, format_args!("{client}")),
            None => line.push('-'),
        }
        write_to(&mut line, format_args!(" - - [{date}] \"{method} {path} {version:?}\" "));
        let status = self.status.unwrap_or_default();
        match self.sent {
            0 => write_to(&mut line, format_args!("{status} -")),
            sent => write_to(&mut line, format_args!("{status} {sent}")),
        }
        for value in [&self.referer, &self.user_agent] {
            quote(&mut line, value.as_ref());
        }
        for (index, (_, field)) in fields.iter().enumerate() {
            match self.value(index, field) {
                Value::Missing => quote(&mut line, None),
                Value::Number(digits) => write_to(&mut line, format_args!(" \"{digits}\"")),
                Value::Text(text) => quote(&mut line, Some(&text)),
            }
        }
        line
    }

    /// A JSON object, in which everything outside of visible ASCII is escaped.
    pub(super) fn json(&self, fields: &[(String, LogField)]) -> String {
        let mut line = String::with_capacity(256);
        line.push('{');
        for (index, (name, field)) in fields.iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            push_json(&mut line, name.as_bytes());
            line.push(':');
            match self.value(index, field) {
                Value::Missing => line.push_str("null"),
                Value::Number(digits) => line.push_str(&digits),
                Value::Text(text) => push_json(&mut line, &text.0),
            }
        }
        line.push('}');
        line
    }

    fn value(&self, index: usize, field: &LogField) -> Value {
        let text = |text: &str| Value::Text(Escaped::new(text.as_bytes()));
        let optional = |value: Option<String>| value.map_or(Value::Missing, |value| text(&value));
        match field {
            LogField::Time => text(&Timestamp::of(self.time).rfc3339()),
            LogField::Client => optional(self.client.map(|client| client.to_string())),
            LogField::Method => text(self.method.as_str()),
            LogField::Path => Value::Text(self.path.clone()),
            LogField::Version => text(&format!("{:?}", self.version)),
            LogField::Route => optional(self.route.clone()),
            LogField::Status => Value::Number(self.status.unwrap_or_default().to_string()),
            LogField::Bytes => Value::Number(self.sent.to_string()),
            LogField::Duration => Value::Number(format!("{:.6}", self.seconds)),
            LogField::Refusal
            | LogField::RequestHeader(_)
            | LogField::ResponseHeader(_)
            | LogField::Request(_)
            | LogField::Response(_) => {
                let value = self.values.get(index).cloned().flatten();
                value.map_or(Value::Missing, Value::Text)
            }
        }
    }
}

fn write_to(line: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a `String` does not fail.
    let _ = line.write_fmt(text);
}

/// A value in quotes, `"-"` for none.
fn quote(line: &mut String, value: Option<&Escaped>) {
    match value {
        Some(value) => write_to(line, format_args!(" \"{value}\"")),
        None => line.push_str(" \"-\""),
    }
}

/// A JSON string. Bytes that are not UTF-8 become U+FFFD. Characters outside of ASCII are escaped as well: some readers end a line at U+2028.
fn push_json(line: &mut String, bytes: &[u8]) {
    line.push('"');
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '"' | '\\' => {
                line.push('\\');
                line.push(c);
            }
            ' '..='~' => line.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write_to(line, format_args!("\\u{unit:04x}"));
                }
            }
        }
    }
    line.push('"');
}

/// A time in UTC. Displayed as Apache does: `01/Dec/2026:09:30:00 +0000`.
pub(super) struct Timestamp {
    year: i64,
    /// From 1.
    month: u8,
    day: u8,
    second: u64,
    millisecond: u32,
}

impl Timestamp {
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut days = i64::try_from(since.as_secs() / 86_400).unwrap_or_default();
        // The Gregorian calendar repeats after 146,097 days. A year that begins in March has its leap day at the end.
        days += 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: u8::try_from(month).unwrap_or(1),
            day: u8::try_from(day).unwrap_or(1),
            second: since.as_secs() % 86_400,
            millisecond: since.subsec_millis(),
        }
    }

    fn clock(&self) -> String {
        let Self { second, .. } = self;
        format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
    }

    pub(super) fn rfc3339(&self) -> String {
        let Self { year, month, day, millisecond, .. } = self;
        format!("{year:04}-{month:02}-{day:02}T{}.{millisecond:03}Z", self.clock())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, .. } = self;
        let month = MONTHS[usize::from(*month).saturating_sub(1) % 12];
        write!(f, "{day:02}/{month}/{year:04}:{} +0000", self.clock())
    }
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// The longest value, in bytes.
const LONGEST: usize = 1_024;
