//! Raw multipart bodies beside busboy, the parser of most servers in Node: the same parts, or a reason in a table.

mod bodies;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_chain::extract::Multipart;
use tower_chain::{Body, Chain, ChainService, Error, Json};

use self::bodies::{Form, bodies};
use crate::support::programs::Folder;

/// The parts as busboy reports them: name, file name, value. Parts without a name are not a part of a form.
async fn parts(mut form: Multipart) -> Result<Json<Value>, Error> {
    let mut parts = Vec::new();
    while let Some(part) = form.next_part().await? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        let file_name = part.file_name().map(str::to_owned);
        let value = match &file_name {
            Some(_) => part.bytes().await?.to_vec(),
            None => part.text().await?.into_bytes(),
        };
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        parts.push(json!([name, file_name, hex]));
    }
    Ok(Json(Value::Array(parts)))
}

/// The parts, or the status of the refusal.
async fn ours(chain: &ChainService, form: &Form) -> Value {
    let req = Request::post("/").header("content-type", &form.content_type);
    let req = req.body(Body::from(form.body.clone())).unwrap();
    let response = chain.clone().oneshot(req).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    match status {
        200 => serde_json::from_slice(&body).unwrap(),
        400 | 413 | 415 => json!(status),
        _ => panic!("{}: {status} {}", form.name, String::from_utf8_lossy(&body)),
    }
}

/// What busboy finds, or "refused".
fn theirs(forms: &[Form]) -> Vec<Value> {
    let folder = Folder::new();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&*folder);
        command
    };
    fs::write(folder.join("package.json"), "{\"private\":true}").unwrap();
    fs::write(folder.join("busboy.mjs"), include_str!("busboy.mjs")).unwrap();
    let packages = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "busboy@1.6.0"];
    let installed = run("npm", &packages).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let input = folder.join("forms.json");
    let forms: Vec<(&str, String)> =
        forms.iter().map(|form| (&*form.content_type, STANDARD.encode(&form.body))).collect();
    fs::write(&input, serde_json::to_vec(&forms).unwrap()).unwrap();
    let node = run("node", &["busboy.mjs"])
        .stdin(Stdio::from(fs::File::open(input).unwrap()))
        .output()
        .unwrap();
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stderr));
    serde_json::from_slice(&node.stdout).unwrap()
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(120).collect()
}

#[tokio::test]
#[cfg_attr(not(npm), ignore = "npm is not installed")]
async fn bodies_have_the_same_parts_as_for_busboy() {
    let forms = bodies();
    assert!(forms.len() >= 84);
    let chain = Chain::new().post(parts).build();
    let mut reasons: BTreeMap<&str, &str> = DIFFERENCES.iter().copied().collect();
    assert_eq!(reasons.len(), DIFFERENCES.len());
    let mut differences = Vec::new();
    for (form, theirs) in forms.iter().zip(theirs(&forms)) {
        let ours = ours(&chain, form).await;
        let agree = if ours.is_number() { theirs == "refused" } else { ours == theirs };
        match (agree, reasons.remove(&*form.name)) {
            (true, None) | (false, Some(_)) => {}
            (true, Some(reason)) => differences.push(format!("{}: none, but {reason}", form.name)),
            (false, None) => differences.push(format!(
                "{}: {} busboy {}",
                form.name,
                short(&ours),
                short(&theirs)
            )),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(reasons.is_empty(), "{reasons:?}");
}

/// Bodies of others: each file is a body, whose boundary is that of its first delimiter, or a `Content-Type` field, a blank line and a body. None may end
/// with another status than those of the manual page, and none may hang.
#[tokio::test]
#[cfg_attr(
    not(multipart),
    ignore = "set TOWER_CHAIN_VECTORS to the folder of the test vectors, see CONTRIBUTING.md"
)]
async fn bodies_of_a_folder_have_the_same_parts_as_for_busboy() {
    let folder = option_env!("MULTIPART").unwrap_or_default();
    let mut forms: Vec<Form> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            form_of_file(name, &fs::read(&path).unwrap())
        })
        .collect();
    forms.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(!forms.is_empty());
    let chain = Chain::new().post(parts).build();
    let mut differences = Vec::new();
    for (form, theirs) in forms.iter().zip(theirs(&forms)) {
        let ours = ours(&chain, form).await;
        let agree = if ours.is_number() { theirs == "refused" } else { ours == theirs };
        if !agree {
            differences.push(format!("{}: {} busboy {}", form.name, short(&ours), short(&theirs)));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn form_of_file(name: String, file: &[u8]) -> Form {
    let end = |mark: &[u8]| file.windows(mark.len()).position(|window| window == mark);
    let head = end(b"\r\n\r\n").map(|end| String::from_utf8_lossy(&file[..end]).into_owned());
    let field = |line: &str| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
    };
    let is_delimiter = file.starts_with(b"--");
    let content_type = head.iter().flat_map(|head| head.lines()).find_map(field);
    if let Some((content_type, end)) = content_type.zip(end(b"\r\n\r\n"))
        && !is_delimiter
    {
        return Form { name, content_type, body: file[end + 4..].to_vec() };
    }
    let first = file.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"--"));
    let boundary = String::from_utf8_lossy(first.unwrap_or_default()).trim_end().to_owned();
    let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
    Form { name, content_type, body: file.to_vec() }
}

/// The bodies that busboy reads differently, with the reason.
const DIFFERENCES: &[(&str, &str)] = &[
    // Read here, as browsers and RFCs write it.
    ("name with an encoded quote", "browsers encode a quote (HTML, 4.10.21.8)"),
    ("name with an encoded line break", "browsers encode a line break (HTML, 4.10.21.8)"),
    ("file name with an encoded quote", "browsers encode a quote (HTML, 4.10.21.8)"),
    ("empty name", "it is a name; busboy takes it for none"),
    ("empty file name", "a file field without a file; busboy takes it for a text"),
    ("extended name", "RFC 8187; busboy loses the name"),
    ("extended file name with a bad escape", "the escape stays; busboy loses the part"),
    ("extended file name that is quoted", "some clients quote it; busboy loses the part"),
    ("space before the equals sign", "busboy loses the part"),
    ("space after the equals sign", "busboy loses the part"),
    ("semicolon at the end", "busboy loses the part"),
    ("spaces after a boundary", "RFC 2046, 5.1.1 allows them; busboy loses the part"),
    ("line feeds in the head", "a line may end with a line feed alone, as in HTTP"),
    (
        "header of 20 KB",
        "the bound counts what is read before a head is complete, and this head comes in one frame",
    ),
    ("disposition twice", "the last one counts; busboy takes the first one"),
    // Refused here with a status, where a value or a name would be lost or changed.
    ("name twice", "two readers could take another one"),
    ("file name twice", "two readers could take another one"),
    ("unclosed quote", "malformed; busboy loses the part"),
    ("two semicolons", "malformed; busboy loses the part"),
    ("parameter without a value", "malformed; busboy loses the part"),
    ("extended file name in another charset", "RFC 8187 has UTF-8 alone; busboy loses the part"),
    ("extended file name without quotes", "malformed; busboy loses the part"),
    ("extended file name that is not UTF-8", "busboy changes the name"),
    ("name in Latin-1", "busboy changes the name"),
    ("file name in Latin-1", "busboy changes the name"),
    ("value that is not UTF-8", "busboy changes the value"),
    ("value in Latin-1", "a part that is read as text must be UTF-8"),
    ("another charset of the form", "busboy ignores it"),
    ("folded line", "RFC 9112, 5.2 withdrew them"),
    ("forty headers", "a head has at most 32 fields"),
    ("boundary as the beginning of a line", "malformed; busboy cuts the value"),
    ("delimiter right after a head", "parsers disagree about what it ends; busboy loses it"),
    ("boundary of 100 characters", "RFC 2046, 5.1.1 allows 70"),
    ("boundary twice", "two readers could take another one"),
];
