//! Raw multipart bodies, as clients and attackers write them.

/// A content type and a body.
pub(crate) struct Form {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

const TYPE: &str = "multipart/form-data; boundary=B";

fn form(name: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Form {
    Form { name: name.into(), content_type: content_type.into(), body: body.into() }
}

/// One part with this head and this value.
fn one(name: &str, head: &str, value: &[u8]) -> Form {
    let body = [b"--B\r\n", head.as_bytes(), b"\r\n\r\n", value, b"\r\n--B--\r\n"].concat();
    form(name, TYPE, body)
}

/// Every body, each with a name of its own.
pub(crate) fn bodies() -> Vec<Form> {
    let plain = "Content-Disposition: form-data; name=\"a\"";
    let mut all = Vec::new();
    // The disposition.
    let long_name = format!("form-data; name=\"{}\"", "n".repeat(200));
    for (name, disposition) in [
        ("quoted name", "form-data; name=\"a\""),
        ("name that is a token", "form-data; name=a"),
        ("name with a space", "form-data; name=\"a b\""),
        ("name with a semicolon", "form-data; name=\"a;b\""),
        ("name with an equals sign", "form-data; name=\"a=b\""),
        ("name with a comma", "form-data; name=\"a,b\""),
        ("name with brackets", "form-data; name=\"a[0][b]\""),
        ("name with an escaped quote", "form-data; name=\"a\\\"b\""),
        ("name with an escaped backslash", "form-data; name=\"a\\\\b\""),
        ("name with a backslash before a letter", "form-data; name=\"a\\b\""),
        ("name with an encoded quote", "form-data; name=\"a%22b\""),
        ("name with an encoded line break", "form-data; name=\"a%0D%0Ab\""),
        ("name with another encoded character", "form-data; name=\"a%41b\""),
        ("name in UTF-8", "form-data; name=\"ü€\""),
        ("long name", &*long_name),
        ("empty name", "form-data; name=\"\""),
        ("no name", "form-data"),
        ("no name, but a file name", "form-data; filename=\"x\""),
        ("extended name", "form-data; name*=UTF-8''%c3%bc"),
        ("name twice", "form-data; name=\"a\"; name=\"b\""),
        ("unclosed quote", "form-data; name=\"a"),
        ("letter case of the parameter", "form-data; NAME=\"a\"; FileName=\"x\""),
        ("letter case of the disposition", "Form-Data; name=\"a\""),
        ("no space", "form-data;name=\"a\";filename=\"x\""),
        ("many spaces", "form-data  ;   name=\"a\"  ;  filename=\"x\"  "),
        ("tabs", "form-data;\tname=\"a\";\tfilename=\"x\""),
        ("space before the equals sign", "form-data; name =\"a\""),
        ("space after the equals sign", "form-data; name= \"a\""),
        ("semicolon at the end", "form-data; name=\"a\";"),
        ("two semicolons", "form-data;; name=\"a\""),
        ("parameter without a value", "form-data; x; name=\"a\""),
        ("unknown parameter", "form-data; size=3; name=\"a\"; x=\"y;z\""),
        ("attachment", "attachment; name=\"a\""),
        ("file name", "form-data; name=\"a\"; filename=\"x.txt\""),
        ("file name before the name", "form-data; filename=\"x.txt\"; name=\"a\""),
        ("file name that is a token", "form-data; name=\"a\"; filename=x.txt"),
        ("file name with a semicolon", "form-data; name=\"a\"; filename=\"x;y.txt\""),
        ("file name with an escaped quote", "form-data; name=\"a\"; filename=\"x\\\"y.txt\""),
        ("file name with an encoded quote", "form-data; name=\"a\"; filename=\"x%22y.txt\""),
        ("file name with a path", "form-data; name=\"a\"; filename=\"../../x.txt\""),
        ("file name with a path of Windows", "form-data; name=\"a\"; filename=\"C:\\dir\\x.txt\""),
        ("file name in UTF-8", "form-data; name=\"a\"; filename=\"ü😀.txt\""),
        ("empty file name", "form-data; name=\"a\"; filename=\"\""),
        ("extended file name alone", "form-data; name=\"a\"; filename*=UTF-8''%e2%82%ac.txt"),
        (
            "extended file name after it",
            "form-data; name=\"a\"; filename=\"x\"; filename*=UTF-8''%e2%82%ac",
        ),
        (
            "extended file name first",
            "form-data; filename*=UTF-8''%e2%82%ac; filename=\"x\"; name=\"a\"",
        ),
        (
            "extended file name with a language",
            "form-data; name=\"a\"; filename*=utf-8'en'%e2%82%ac",
        ),
        ("extended file name in Latin-1", "form-data; name=\"a\"; filename*=iso-8859-1''%a3"),
        ("extended file name in another charset", "form-data; name=\"a\"; filename*=koi8-r''%a3"),
        ("extended file name without quotes", "form-data; name=\"a\"; filename*=x.txt"),
        ("extended file name with a bad escape", "form-data; name=\"a\"; filename*=UTF-8''%zz"),
        ("extended file name that is quoted", "form-data; name=\"a\"; filename*=\"UTF-8''%c3%bc\""),
        ("extended file name that is not UTF-8", "form-data; name=\"a\"; filename*=UTF-8''%ff"),
        ("file name twice", "form-data; name=\"a\"; filename=\"x\"; filename=\"y\""),
        ("extended file name in utf8", "form-data; name=\"a\"; filename*=utf8''%e2%82%ac"),
        ("extended file name in US-ASCII", "form-data; name=\"a\"; filename*=us-ascii''x.txt"),
        ("extended name beside a name", "form-data; name=\"a\"; name*=UTF-8''b"),
        ("continued file name", "form-data; name=\"a\"; filename*0=\"x\"; filename*1=\"y.txt\""),
        ("continued name", "form-data; name*0=\"a\"; name*1=\"b\""),
        ("name in single quotes", "form-data; name='a'"),
        ("encoded word", "form-data; name=\"=?utf-8?B?w6k=?=\""),
        ("comma for a semicolon", "form-data, name=\"a\""),
    ] {
        all.push(one(name, &format!("Content-Disposition: {disposition}"), b"value"));
    }
    all.push(form(
        "name in Latin-1",
        TYPE,
        b"--B\r\nContent-Disposition: form-data; name=\"\xfc\"\r\n\r\nvalue\r\n--B--\r\n",
    ));
    all.push(form("file name in Latin-1", TYPE, b"--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\xfc\"\r\n\r\nvalue\r\n--B--\r\n"));
    // The head of a part.
    let long = format!("{plain}\r\nX-Long: {}", "x".repeat(2000));
    let too_long = format!("{plain}\r\nX-Long: {}", "x".repeat(20_000));
    let many = format!("{plain}{}", (0..40).map(|n| format!("\r\nX-{n}: y")).collect::<String>());
    for (name, head) in [
        ("upper case header", "CONTENT-DISPOSITION: form-data; name=\"a\""),
        ("lower case header", "content-disposition: form-data; name=\"a\""),
        ("no space after the colon", "Content-Disposition:form-data; name=\"a\""),
        ("space before the colon", "Content-Disposition : form-data; name=\"a\""),
        ("no disposition", "Content-Type: text/plain"),
        (
            "disposition twice",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"",
        ),
        ("folded line", "Content-Disposition: form-data;\r\n name=\"a\""),
        ("line without a colon", "Content-Disposition: form-data; name=\"a\"\r\nnonsense"),
        ("other headers", "X-One: 1\r\nContent-Disposition: form-data; name=\"a\"\r\nX-Two: 2"),
        ("header that is not ASCII", "Content-Disposition: form-data; name=\"a\"\r\nX-Ü: 1"),
        (
            "type of text",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: text/plain; charset=utf-8",
        ),
        (
            "type of JSON",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: application/json",
        ),
        (
            "type of bytes without a file name",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: application/octet-stream",
        ),
        (
            "type of an image",
            "Content-Disposition: form-data; name=\"a\"; filename=\"x.png\"\r\nContent-Type: image/png",
        ),
        (
            "type before the disposition",
            "Content-Type: image/png\r\nContent-Disposition: form-data; name=\"a\"; filename=\"x.png\"",
        ),
        ("broken type", "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: ;;;"),
        (
            "transfer encoding base64",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64",
        ),
        (
            "transfer encoding binary",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: binary",
        ),
        (
            "nested multipart",
            "Content-Disposition: form-data; name=\"a\"\r\nContent-Type: multipart/mixed; boundary=C",
        ),
        ("long header", &*long),
        ("header of 20 KB", &*too_long),
        ("forty headers", &*many),
    ] {
        all.push(one(name, head, b"value"));
    }
    // Values.
    let megabyte = "v".repeat(500_000);
    for (name, value) in [
        ("empty value", &b""[..]),
        ("line breaks", b"one\r\ntwo\r\n\r\nthree"),
        ("line break at the end", b"value\r\n"),
        ("carriage return at the end", b"value\r"),
        ("line feed at the end", b"value\n"),
        ("boundary inside a line", b"x--B"),
        ("boundary with another end", b"x\r\n--C"),
        ("dashes at the beginning of a line", b"x\r\n--"),
        ("dash at the beginning of a line", b"x\r\n-"),
        ("boundary after a line feed", b"x\n--B\ny"),
        ("bytes", b"\0\x01\x02\x7f"),
        ("UTF-8", "ü€😀".as_bytes()),
        ("byte order mark", b"\xef\xbb\xbfx"),
        ("long value", megabyte.as_bytes()),
    ] {
        all.push(one(name, plain, value));
    }
    all.push(one("boundary as the beginning of a line", plain, b"x\r\n--Bx"));
    all.push(one("value that is not UTF-8", plain, b"\xff\xfe"));
    let next = b"--B\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n2";
    all.push(one("delimiter right after a head", plain, next));
    let file = format!("{plain}; filename=\"x\"");
    all.push(one("file that is not UTF-8", &file, b"\xff\xfe\0\r\n-"));
    all.push(one(
        "value in Latin-1",
        &format!("{plain}\r\nContent-Type: text/plain; charset=iso-8859-1"),
        b"\xfc",
    ));
    // Parts.
    let part = |name: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let (a, b) = (part("a", "1"), part("b", "2"));
    let hundred: String = (0..100).map(|n| part(&format!("n{n}"), "v")).collect();
    for (name, body) in [
        ("two parts", format!("{a}{b}--B--\r\n")),
        ("one name twice", format!("{a}{a}{b}--B--\r\n")),
        ("a hundred parts", format!("{hundred}--B--\r\n")),
        ("charset of the form", format!("{}{a}--B--\r\n", part("_charset_", "utf-8"))),
        ("another charset of the form", format!("{}{a}--B--\r\n", part("_charset_", "iso-8859-1"))),
        ("preamble", format!("preamble\r\n{a}--B--\r\n")),
        ("preamble with dashes", format!("--\r\n--C\r\n{a}--B--\r\n")),
        ("line break before the first boundary", format!("\r\n{a}--B--\r\n")),
        ("epilogue", format!("{a}--B--\r\nepilogue")),
        ("epilogue with a part", format!("{a}--B--\r\n{b}--B--\r\n")),
        ("no line break after the end", format!("{a}--B--")),
        ("text right after the end", format!("{a}--B--x")),
        ("no end", a.clone()),
        ("end without dashes", format!("{a}--B\r\n")),
        ("cut in the end", format!("{a}--B-")),
        ("cut in a value", a[..a.len() - 2].to_owned()),
        ("cut in a head", a[..30].to_owned()),
        ("cut after a head", format!("--B\r\n{plain}\r\n\r\n")),
        ("cut after a boundary", "--B\r\n".to_owned()),
        ("head without a blank line", format!("--B\r\n{plain}\r\n--B--\r\n")),
        ("empty body", String::new()),
        ("end alone", "--B--\r\n".to_owned()),
        ("no boundary in the body", "nothing here".to_owned()),
        (
            "spaces after a boundary",
            format!("{}--B--  \r\n", a.replacen("--B\r\n", "--B \t\r\n", 1)),
        ),
        ("blank lines between parts", format!("{a}\r\n\r\n{b}--B--\r\n")),
        ("line feeds alone", format!("{a}{b}--B--\r\n").replace("\r\n", "\n")),
        ("line feeds in the head", format!("--B\r\n{plain}\nX: y\r\n\r\n1\r\n--B--\r\n")),
        ("carriage returns alone", format!("{a}--B--\r\n").replace("\r\n", "\r")),
    ] {
        all.push(form(name, TYPE, body));
    }
    // The boundary.
    let long = "x".repeat(70);
    let longer = "x".repeat(100);
    for (name, content_type, boundary) in [
        ("quoted boundary", "multipart/form-data; boundary=\"B\"", "B"),
        (
            "boundary of a browser",
            "multipart/form-data; boundary=----WebKitFormBoundaryAbC123",
            "----WebKitFormBoundaryAbC123",
        ),
        ("boundary of 70 characters", &*format!("multipart/form-data; boundary={long}"), &*long),
        (
            "boundary of 100 characters",
            &*format!("multipart/form-data; boundary={longer}"),
            &*longer,
        ),
        (
            "boundary with punctuation",
            "multipart/form-data; boundary=\"a'()+_,-./:=?b\"",
            "a'()+_,-./:=?b",
        ),
        ("boundary with a space", "multipart/form-data; boundary=\"a b\"", "a b"),
        ("boundary that is no token", "multipart/form-data; boundary=a:b", "a:b"),
        ("letter case of the type", "Multipart/Form-Data; BOUNDARY=B", "B"),
        ("charset before the boundary", "multipart/form-data; charset=utf-8; boundary=B", "B"),
        ("boundary twice", "multipart/form-data; boundary=B; boundary=C", "B"),
        ("empty boundary", "multipart/form-data; boundary=", ""),
        ("no boundary", "multipart/form-data", "B"),
        ("another boundary", "multipart/form-data; boundary=C", "B"),
        ("letter case of the boundary", "multipart/form-data; boundary=b", "B"),
        ("another type", "multipart/mixed; boundary=B", "B"),
    ] {
        all.push(form(
            name,
            content_type,
            format!("{a}--B--\r\n").replace("--B", &format!("--{boundary}")),
        ));
    }
    all
}
