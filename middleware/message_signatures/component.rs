//! Components of a message, and the signature base (RFC 9421, 2).

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, Version};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use sfv::{
    BareItem, Dictionary, InnerList, Item, ItemSerializer, KeyRef, List, ListEntry, ListSerializer,
    Parameters, Parser,
};

use super::error::MessageSignaturesError;

/// How the value of a field is structured ([RFC 9651](https://www.rfc-editor.org/rfc/rfc9651)), for the parameter `sf` of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StructuredField {
    /// A single item.
    Item,
    /// A list.
    List,
    /// A dictionary.
    Dictionary,
}

/// The structure of fields, by name.
pub(super) type Structures = Vec<(HeaderName, StructuredField)>;

/// The origin that clients use, and the path at which a proxy mounts the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: &'static str,
    /// In lowercase, without the default port.
    pub(super) authority: String,
    /// Without a slash at its end.
    prefix: String,
}

impl Origin {
    pub(super) fn parse(url: &str) -> Result<Self, MessageSignaturesError> {
        let uri = Uri::try_from(url).map_err(|_| MessageSignaturesError::Origin)?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => return Err(MessageSignaturesError::Origin),
        };
        let authority = uri.authority().map(|authority| authority.as_str());
        let authority = authority.filter(|text| !text.contains('@') && !text.is_empty());
        let authority = authority.ok_or(MessageSignaturesError::Origin)?;
        if uri.query().is_some() || url.contains('#') {
            return Err(MessageSignaturesError::Origin);
        }
        let prefix = uri.path().strip_suffix('/').unwrap_or(uri.path()).to_owned();
        Ok(Self { scheme, authority: normal_authority(authority, scheme), prefix })
    }

    /// Whether a client has named this origin.
    pub(super) fn is_of(&self, authority: &str) -> bool {
        normal_authority(authority, self.scheme) == self.authority
    }
}

/// RFC 9421, 2.2.3: in lowercase, and without the default port.
fn normal_authority(authority: &str, scheme: &str) -> String {
    let port = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(port).unwrap_or(authority).to_ascii_lowercase()
}

/// What a signature can cover.
pub(super) struct Message<'a> {
    pub(super) method: &'a Method,
    pub(super) origin: &'a Origin,
    /// The URI that the client sent.
    pub(super) uri: &'a Uri,
    pub(super) version: Version,
    pub(super) headers: &'a HeaderMap,
    /// Of a response, its status and the request to it.
    pub(super) response: Option<(StatusCode, &'a HeaderMap)>,
}

impl Message<'_> {
    fn path(&self) -> String {
        match self.uri.path() {
            "*" => "*".to_owned(),
            "" => format!("{}/", self.origin.prefix),
            path => format!("{}{path}", self.origin.prefix),
        }
    }

    fn path_and_query(&self) -> String {
        match self.uri.query() {
            Some(query) => format!("{}?{query}", self.path()),
            None => self.path(),
        }
    }

    fn target_uri(&self) -> String {
        let Origin { scheme, authority, .. } = self.origin;
        match self.uri.path() {
            // RFC 9112, 3.2.4.
            "*" => format!("{scheme}://{authority}"),
            _ => format!("{scheme}://{authority}{}", self.path_and_query()),
        }
    }

    /// As in the request line of HTTP/1.1 (RFC 9421, 2.2.5).
    fn request_target(&self) -> String {
        let absolute = self.version < Version::HTTP_2 && self.uri.scheme().is_some();
        match *self.method {
            Method::CONNECT => self.origin.authority.clone(),
            _ if absolute => self.target_uri(),
            _ => self.path_and_query(),
        }
    }

    pub(super) fn has_query(&self) -> bool {
        self.uri.query().is_some()
    }
}

/// Why a component has no value. The text is for the log.
pub(super) type NoValue = &'static str;

/// The signature base, and the identifiers of the covered components (RFC 9421, 2.5).
pub(super) fn signature_base(
    covered: &InnerList,
    message: &Message<'_>,
    structures: &Structures,
) -> Result<(String, HashSet<String>), NoValue> {
    let mut base = String::new();
    let mut identifiers = HashSet::new();
    for item in &covered.items {
        let value = value(item, message, structures)?;
        if !identifiers.insert(canonical(item)) {
            return Err("a component is covered twice");
        }
        base.push_str(&serialize(item));
        base.push_str(": ");
        base.push_str(&value);
        base.push('\n');
        if base.len() > BASE_BYTES {
            return Err("the covered components are too long");
        }
    }
    base.push_str("\"@signature-params\": ");
    base.push_str(&signature_params(covered));
    Ok((base, identifiers))
}

/// The list of components with its parameters, as a member of `Signature-Input`.
pub(super) fn signature_params(covered: &InnerList) -> String {
    let mut list = ListSerializer::new();
    list.members([&ListEntry::InnerList(covered.clone())]);
    // A list with one member is not empty.
    list.finish().unwrap_or_default()
}

/// A component identifier whose parameters are in one order: two identifiers with the same parameters are the same (RFC 9421, 2).
pub(super) fn canonical(item: &Item) -> String {
    let mut item = item.clone();
    item.params.sort_keys();
    serialize(&item)
}

pub(super) fn serialize(item: &Item) -> String {
    ItemSerializer::new().bare_item(&item.bare_item).parameters(&item.params).finish()
}

/// A component of a request, from a setting: a name, or an identifier with its parameters.
pub(super) fn parse_request_component(text: &str) -> Result<Item, MessageSignaturesError> {
    let item = parse_component(text)?;
    let of_response = canonical(&item) == "\"@status\"" || item.params.contains_key("req");
    if of_response { Err(MessageSignaturesError::Component(text.to_owned())) } else { Ok(item) }
}

/// A component of a request or a response.
pub(super) fn parse_component(text: &str) -> Result<Item, MessageSignaturesError> {
    let invalid = || MessageSignaturesError::Component(text.to_owned());
    let quoted = if text.starts_with('"') { text.to_owned() } else { format!("\"{text}\"") };
    let item: Item = Parser::new(&quoted).parse().map_err(|_| invalid())?;
    let name = item.bare_item.as_string().ok_or_else(invalid)?.as_str();
    let is_known = match name.strip_prefix('@') {
        Some(derived) => DERIVED.contains(&derived),
        None => HeaderName::from_lowercase(name.as_bytes()).is_ok(),
    };
    let flags = flags(&item.params).map_err(|_| invalid())?;
    let fits = (name == "@query-param") == flags.name.is_some();
    if is_known && fits { Ok(item) } else { Err(invalid()) }
}

/// The parameters of a component.
#[derive(Default)]
struct Flags<'a> {
    sf: bool,
    bs: bool,
    req: bool,
    key: Option<&'a str>,
    name: Option<&'a str>,
}

fn flags(params: &Parameters) -> Result<Flags<'_>, NoValue> {
    let mut flags = Flags::default();
    for (name, value) in params {
        let text = value.as_string().map(|text| text.as_str());
        match (name.as_str(), value, text) {
            ("sf", BareItem::Boolean(true), _) => flags.sf = true,
            ("bs", BareItem::Boolean(true), _) => flags.bs = true,
            ("req", BareItem::Boolean(true), _) => flags.req = true,
            ("key", _, Some(key)) => flags.key = Some(key),
            ("name", _, Some(name)) => flags.name = Some(name),
            // Trailers arrive after the handler has begun, so a signature over them comes too late.
            ("tr", ..) => return Err("trailers are not supported"),
            _ => return Err("a component has an unknown parameter"),
        }
    }
    // RFC 9421, 2.1: `bs` is incompatible with the structure of the field.
    if flags.bs && (flags.sf || flags.key.is_some()) {
        return Err("`bs` is combined with `sf` or `key`");
    }
    Ok(flags)
}

fn value(item: &Item, message: &Message<'_>, structures: &Structures) -> Result<String, NoValue> {
    let name = item.bare_item.as_string().ok_or("a component is not a string")?.as_str();
    let flags = flags(&item.params)?;
    let is_response = message.response.is_some();
    if flags.req && !is_response {
        return Err("`req` is for responses");
    }
    if let Some(derived) = name.strip_prefix('@') {
        if flags.sf || flags.bs || flags.key.is_some() {
            return Err("a derived component has a parameter of fields");
        }
        return derived_value(derived, flags, message);
    }
    if flags.name.is_some() {
        return Err("a field has the parameter `name`");
    }
    let field = HeaderName::from_lowercase(name.as_bytes()).map_err(|_| "not a field name")?;
    let headers = match message.response {
        Some((_, response)) if !flags.req => response,
        _ => message.headers,
    };
    field_value(&field, &flags, headers, structures)
}

/// RFC 9421, 2.2.
fn derived_value(
    derived: &str,
    flags: Flags<'_>,
    message: &Message<'_>,
) -> Result<String, NoValue> {
    match (message.response, derived) {
        (Some((status, _)), "status") if !flags.req => return Ok(status.as_str().to_owned()),
        (Some(_), _) if !flags.req => return Err("not a component of a response"),
        _ => {}
    }
    if flags.name.is_some() != (derived == "query-param") {
        return Err("the parameter `name` is missing, or not allowed");
    }
    Ok(match derived {
        "method" => message.method.as_str().to_owned(),
        "target-uri" => message.target_uri(),
        "authority" => message.origin.authority.clone(),
        "scheme" => message.origin.scheme.to_owned(),
        "request-target" => message.request_target(),
        "path" => message.path(),
        "query" => format!("?{}", message.uri.query().unwrap_or_default()),
        "query-param" => query_param(message.uri, flags.name.unwrap_or_default())?,
        _ => return Err("an unknown derived component"),
    })
}

/// RFC 9421, 2.2.8: name and value are decoded as a form, and encoded in one way.
fn query_param(uri: &Uri, name: &str) -> Result<String, NoValue> {
    let query = uri.query().unwrap_or_default();
    let mut values = query.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
        let (own, value) = pair.split_once('=').unwrap_or((pair, ""));
        (encoded(own) == name).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(encoded(value)),
        (None, _) => Err("a covered query parameter is missing"),
        // With two of one name, the signature does not determine which one the handler reads.
        (Some(_), Some(_)) => Err("a covered query parameter is there more than once"),
    }
}

fn encoded(text: &str) -> String {
    let spaces: Vec<u8> = text.bytes().map(|byte| if byte == b'+' { b' ' } else { byte }).collect();
    let bytes: Vec<u8> = percent_decode(&spaces).collect();
    percent_encode(&bytes, FORM).to_string()
}

/// RFC 9421, 2.1.
fn field_value(
    field: &HeaderName,
    flags: &Flags<'_>,
    headers: &HeaderMap,
    structures: &Structures,
) -> Result<String, NoValue> {
    let mut lines = Vec::new();
    for value in headers.get_all(field) {
        if flags.bs {
            // RFC 9421, 2.1.3.
            let bytes = STANDARD.encode(value.as_bytes().trim_ascii());
            lines.push(format!(":{bytes}:"));
        } else {
            let text = value.to_str().map_err(|_| "a covered field is not ASCII")?;
            lines.push(text.trim_matches([' ', '\t']).to_owned());
        }
    }
    if lines.is_empty() {
        return Err("a covered field is missing");
    }
    let combined = lines.join(", ");
    if let Some(key) = flags.key {
        return member(&combined, key);
    }
    if flags.sf {
        return strict(&combined, structure(field, structures)?);
    }
    Ok(combined)
}

fn structure(field: &HeaderName, own: &Structures) -> Result<StructuredField, NoValue> {
    if let Some((_, structure)) = own.iter().find(|(name, _)| name == field) {
        return Ok(*structure);
    }
    let known = STRUCTURES.iter().find(|(name, _)| name == field);
    known.map(|(_, structure)| *structure).ok_or("the structure of a covered field is not known")
}

/// RFC 9421, 2.1.1.
fn strict(value: &str, structure: StructuredField) -> Result<String, NoValue> {
    const MALFORMED: &str = "a covered structured field is malformed";
    let text = match structure {
        StructuredField::Item => {
            Some(serialize(&Parser::new(value).parse().map_err(|_| MALFORMED)?))
        }
        StructuredField::List => {
            let list: List = Parser::new(value).parse().map_err(|_| MALFORMED)?;
            let mut out = ListSerializer::new();
            out.members(&list);
            out.finish()
        }
        StructuredField::Dictionary => {
            let dictionary: Dictionary = Parser::new(value).parse().map_err(|_| MALFORMED)?;
            let mut out = sfv::DictSerializer::new();
            out.members(&dictionary);
            out.finish()
        }
    };
    text.ok_or("a covered structured field is empty")
}

/// RFC 9421, 2.1.2.
fn member(value: &str, key: &str) -> Result<String, NoValue> {
    let dictionary: Dictionary =
        Parser::new(value).parse().map_err(|_| "a covered dictionary is malformed")?;
    let key = KeyRef::from_str(key).map_err(|_| "the key of a dictionary is malformed")?;
    match dictionary.get(key) {
        Some(ListEntry::Item(item)) => Ok(serialize(item)),
        Some(ListEntry::InnerList(list)) => Ok(signature_params(list)),
        None => Err("a covered member of a dictionary is missing"),
    }
}

const DERIVED: [&str; 9] = [
    "method",
    "target-uri",
    "authority",
    "scheme",
    "request-target",
    "path",
    "query",
    "query-param",
    "status",
];

/// The percent-encode set of forms.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// The fields whose structure their RFCs define.
const STRUCTURES: [(&str, StructuredField); 10] = [
    ("accept-signature", StructuredField::Dictionary),
    ("cache-status", StructuredField::List),
    ("client-cert", StructuredField::Item),
    ("client-cert-chain", StructuredField::List),
    ("content-digest", StructuredField::Dictionary),
    ("deprecation", StructuredField::Item),
    ("priority", StructuredField::Dictionary),
    ("repr-digest", StructuredField::Dictionary),
    ("signature", StructuredField::Dictionary),
    ("signature-input", StructuredField::Dictionary),
];

/// The longest signature base. One field can be covered several times with different parameters.
const BASE_BYTES: usize = 64 * 1024;
