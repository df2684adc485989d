//! The fields `Signature-Input` and `Signature` (RFC 9421, 4).

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, InnerList, Item, ListEntry, Parameters, Parser};

/// A signature of a message, with what it covers.
#[derive(Debug)]
pub(super) struct Labelled {
    pub(super) label: String,
    pub(super) covered: InnerList,
    pub(super) params: SignatureParams,
    pub(super) signature: Vec<u8>,
}

/// RFC 9421, 2.3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SignatureParams {
    pub(super) created: Option<i64>,
    pub(super) expires: Option<i64>,
    pub(super) nonce: Option<String>,
    pub(super) alg: Option<String>,
    pub(super) keyid: Option<String>,
    pub(super) tag: Option<String>,
}

/// Reads all signatures. An empty list means that there are none; an error is a malformed field.
pub(super) fn read(headers: &HeaderMap) -> Result<Vec<Labelled>, &'static str> {
    let inputs = dictionary(headers, &SIGNATURE_INPUT)?;
    let signatures = dictionary(headers, &SIGNATURE)?;
    if inputs.len() > SIGNATURES || signatures.len() > SIGNATURES {
        return Err("too many signatures");
    }
    let mut all = Vec::new();
    // Both fields have the same labels (RFC 9421, 4.2).
    if inputs.len() != signatures.len() {
        return Err("the labels of `Signature-Input` and `Signature` differ");
    }
    for (label, input) in inputs {
        let ListEntry::InnerList(covered) = input else {
            return Err("a member of `Signature-Input` is not a list");
        };
        let Some(ListEntry::Item(Item { bare_item: BareItem::ByteSequence(signature), .. })) =
            signatures.get(&label)
        else {
            return Err("a member of `Signature` is missing, or not a byte sequence");
        };
        if covered.items.len() > COMPONENTS {
            return Err("too many components");
        }
        let params = params(&covered.params)?;
        let (label, signature) = (String::from(label), signature.clone());
        all.push(Labelled { label, covered, params, signature });
    }
    Ok(all)
}

fn dictionary(headers: &HeaderMap, name: &HeaderName) -> Result<Dictionary, &'static str> {
    let mut text = String::new();
    for value in headers.get_all(name) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(value.to_str().map_err(|_| "a field of the signature is not ASCII")?);
        if text.len() > FIELD_BYTES {
            return Err("a field of the signature is too long");
        }
    }
    Parser::new(&text).parse().map_err(|_| "a field of the signature is malformed")
}

fn params(params: &Parameters) -> Result<SignatureParams, &'static str> {
    const TYPE: &str = "a parameter of the signature has another type";
    let mut read = SignatureParams::default();
    for (name, value) in params {
        let text = || {
            let text = value.as_string().ok_or(TYPE)?.as_str();
            if text.len() > TEXT_BYTES {
                return Err("a parameter of the signature is too long");
            }
            Ok(Some(text.to_owned()))
        };
        let integer = || value.as_integer().map(|n| Some(i64::from(n))).ok_or(TYPE);
        match name.as_str() {
            "created" => read.created = integer()?,
            "expires" => read.expires = integer()?,
            "nonce" => read.nonce = text()?,
            "alg" => read.alg = text()?,
            "keyid" => read.keyid = text()?,
            "tag" => read.tag = text()?,
            // Unknown parameters are covered by the signature as well.
            _ => {}
        }
    }
    Ok(read)
}

pub(super) const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("signature");

/// The longest value of each field.
const FIELD_BYTES: usize = 8192;

/// How many signatures a message may have. Each may cost a verification.
const SIGNATURES: usize = 4;

/// How many components a signature may cover.
const COMPONENTS: usize = 32;

/// The longest text of a parameter.
pub(super) const TEXT_BYTES: usize = 256;
