use super::*;

fn read(fields: &[&[u8]]) -> Cookies {
    let mut headers = HeaderMap::new();
    for field in fields {
        headers.append(COOKIE, HeaderValue::from_bytes(field).unwrap());
    }
    Cookies::of(&headers)
}

fn set(cookies: Cookies) -> Vec<String> {
    let response = (cookies, "body").into_response();
    let fields = response.headers().get_all(SET_COOKIE).iter();
    fields.map(|field| field.to_str().unwrap().to_owned()).collect()
}

#[test]
fn cookies_are_read_leniently() {
    for (fields, name, value) in [
        (&[&b"a=1; b=2;"[..]][..], "b", Some("2")),
        (&[b"a=1; a=2"], "a", Some("1")),
        (&[b"a=1", b"a=2; c=3"], "c", Some("3")),
        (&[b"a=%C3%A9%20x"], "a", Some("\u{e9} x")),
        (&[b"a=%ff"], "a", Some("%ff")),
        (&[b"a=%zz"], "a", Some("%zz")),
        (&[b"a=\"x y\""], "a", Some("x y")),
        (&[b"a=b=c"], "a", Some("b=c")),
        (&[b"a="], "a", Some("")),
        (&[b"a; =x; b=1"], "a", None),
        (&[b"__%48ost-a=1"], "__Host-a", None),
        (&[], "a", None),
    ] {
        assert_eq!(read(fields).value(name), value, "{fields:?}");
    }
}

#[test]
fn only_spaces_and_tabs_around_a_name_are_removed() {
    for blank in [" ", "\t", " \t "] {
        let field = format!("{blank}__Host-a{blank}={blank}1{blank};b=2");
        assert_eq!(read(&[field.as_bytes()]).value("__Host-a"), Some("1"), "{blank:?}");
    }
    for odd in LOOK_BLANK {
        for name in [format!("{odd}__Host-a"), format!("__Host-a{odd}"), format!(" {odd} __Host-a")]
        {
            let cookies = read(&[format!("{name}=planted; b={odd}2{odd}").as_bytes()]);
            assert_eq!(cookies.value("__Host-a"), None, "{name:?}");
            assert_eq!(cookies.value(name.trim_matches(' ')), Some("planted"), "{name:?}");
            assert_eq!(cookies.value("b"), Some(&*format!("{odd}2{odd}")), "{odd:?}");
            let cookies = read(&[format!("{name}=planted; __Host-a=own").as_bytes()]);
            assert_eq!(cookies.value("__Host-a"), Some("own"), "{name:?}");
        }
    }
    // Case mapping would turn the first letter into one of ASCII.
    for name in ["\u{212a}ey", "\u{131}d", "\u{17f}id"] {
        let cookies = read(&[format!("{name}=planted").as_bytes()]);
        for own in ["key", "Key", "id", "Id", "sid", "Sid"] {
            assert_eq!(cookies.value(own), None, "{name}");
        }
    }
    // A header field can't contain these.
    for control in ["\0", "\u{b}", "\u{c}", "\r", "\n"] {
        let field = format!("{control}__Host-a=1");
        assert!(HeaderValue::from_bytes(field.as_bytes()).is_err(), "{control:?}");
    }
}

/// White space of Unicode beyond ASCII, and two invisible characters.
const LOOK_BLANK: [&str; 12] = [
    "\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2003}", "\u{2028}", "\u{2029}", "\u{202f}",
    "\u{205f}", "\u{3000}", "\u{200b}", "\u{feff}",
];

#[test]
fn cookies_are_set_with_careful_defaults() {
    let cookies = read(&[b"kept=1; gone=2"])
        .set(Cookie::new("a", "x; y\u{e9}%"))
        .set(Cookie::build(("b", "1")).secure(false).path("/p").build())
        .set(
            Cookie::build(("__Host-c", "1")).secure(false).path("/p").domain("example.org").build(),
        )
        .remove("gone");
    assert_eq!(
        set(cookies),
        set(read(&[]).remove("gone"))
            .into_iter()
            .chain(
                [
                    "a=x%3B%20y%C3%A9%25; HttpOnly; SameSite=Lax; Secure; Path=/",
                    "b=1; HttpOnly; SameSite=Lax; Path=/p",
                    "__Host-c=1; HttpOnly; SameSite=Lax; Secure; Path=/",
                ]
                .map(str::to_owned)
            )
            .collect::<Vec<_>>()
    );
    let gone = set(read(&[]).remove("gone")).remove(0);
    assert!(gone.starts_with("gone=;") && gone.contains("Max-Age=0"), "{gone}");
    assert_eq!(set(read(&[b"kept=1"])), Vec::<String>::new());
    assert_eq!(set(Cookies::default().remove("a").set(Cookie::new("a", "1"))).len(), 1);
    assert_eq!(set(Cookies::default().set(Cookie::new("a", "1")).remove("a")).len(), 1);
}

#[test]
fn a_cookie_is_identified_by_name_domain_and_path() {
    let new = |path: &'static str| Cookie::build(("a", "new")).path(path);
    let old = |path: &'static str| Cookie::build(("a", "")).path(path).build();
    let at = |domain: &'static str| new("/").domain(domain).build();
    let cookies = || read(&[b"a=sent"]);
    for (case, cookies, value, starts) in [
        (
            "moved",
            cookies().set(new("/new").build()).remove_cookie(old("/old")),
            Some("new"),
            &["a=; Path=/old", "a=new; Path=/new"][..],
        ),
        (
            "moved, removed first",
            cookies().remove_cookie(old("/old")).set(new("/new").build()),
            Some("new"),
            &["a=; Path=/old", "a=new; Path=/new"],
        ),
        (
            "to a domain",
            cookies().set(at("example.org")).remove("a"),
            Some("new"),
            &["a=; Path=/", "a=new; Path=/; Domain=example.org"],
        ),
        (
            "of one domain in other letters",
            cookies().set(at("Example.org")).set(at(".example.ORG")),
            Some("new"),
            &["a=new; Path=/; Domain=example.ORG"],
        ),
        (
            "to a partition",
            cookies().remove("a").set(new("/").partitioned(true).build()),
            Some("new"),
            &["a=; Path=/", "a=new; Partitioned; Path=/"],
        ),
        (
            "on two paths",
            cookies().set(new("/x").build()).set(Cookie::new("a", "2")),
            Some("2"),
            &["a=new; Path=/x", "a=2; Path=/"],
        ),
        (
            "twice",
            cookies().set(Cookie::new("a", "1")).set(new("/").build()),
            Some("new"),
            &["a=new; Path=/"],
        ),
        ("set, removed", cookies().set(new("/").build()).remove("a"), None, &["a=; Path=/"]),
        (
            "removed, set",
            cookies().remove("a").set(new("/").build()),
            Some("new"),
            &["a=new; Path=/"],
        ),
        ("removed elsewhere", cookies().remove_cookie(old("/x")), None, &["a=; Path=/x"]),
    ] {
        assert_eq!(cookies.value("a"), value, "{case}");
        let fields: Vec<_> = set(cookies).iter().map(|field| short(field)).collect();
        assert_eq!(fields, starts, "{case}");
    }
}

/// A field without the defaults and without what makes it a removal.
fn short(field: &str) -> String {
    let defaults = ["HttpOnly", "Secure", "SameSite=Lax", "Max-Age=0"];
    let kept = |part: &&str| !defaults.contains(part) && !part.starts_with("Expires=");
    field.split("; ").filter(kept).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_prefix_of_a_name_is_enforced_in_any_letter_case() {
    let host = "=1; HttpOnly; SameSite=Lax; Secure; Path=/";
    let secure = "=1; SameSite=Lax; Secure; Path=/p; Domain=example.org";
    let http = "=1; HttpOnly; SameSite=Lax; Secure; Path=/p; Domain=example.org";
    let none = "=1; SameSite=Lax; Path=/p; Domain=example.org";
    for (name, rest) in [
        ("__Host-Http-a", host),
        ("__hOST-hTTP-a", host),
        ("__Http-a", http),
        ("__HTTP-a", http),
        ("__http-", http),
        ("__Secure-a", secure),
        ("__secure-a", secure),
        ("__Http_a", none),
        ("__Host", none),
        ("a__Host-", none),
    ] {
        let cookie = Cookie::build((name, "1")).secure(false).http_only(false).path("/p");
        let fields = set(Cookies::default().set(cookie.domain("example.org").build()));
        assert_eq!(fields, [format!("{name}{rest}")]);
    }
    for name in ["__Host-a", "__HOST-a", "__host-a"] {
        let cookie = Cookie::build((name, "1")).secure(false).http_only(false).path("/p");
        let fields = set(Cookies::default().set(cookie.domain("example.org").build()));
        assert_eq!(fields, [format!("{name}=1; SameSite=Lax; Secure; Path=/")]);
        let gone = set(Cookies::default().remove_cookie(Cookie::build(name).path("/p").build()));
        assert!(gone[0].contains("; Secure; Path=/;"), "{gone:?}");
    }
}

#[test]
fn an_invalid_name_or_attribute_is_a_500_with_the_fix() {
    let a = || Cookie::build(("a", "1"));
    let sized = |length: usize| Cookie::build(("abc", "x".repeat(length - 3)));
    let long = |length: usize| format!("/{}", "x".repeat(length - 1));
    let domain = |length: usize| format!("{}.org", "x".repeat(length - 4));
    for (cookie, fix) in [
        (Cookie::build(("a b", "1")), "in its name"),
        (Cookie::build(("", "1")), "in its name"),
        (Cookie::build(("a\r\nx", "1")), "in its name"),
        (Cookie::build(("caf\u{e9}", "1")), "in its name"),
        (a().path("/; Domain=x"), "percent-encode its path"),
        (a().path("/\r\n"), "percent-encode its path"),
        (a().path("/\t"), "percent-encode its path"),
        (a().path("/\u{7f}"), "percent-encode its path"),
        (a().path("/a b"), "percent-encode its path"),
        (a().path("/caf\u{e9}"), "percent-encode its path"),
        (a().path(""), "begin its path with a slash"),
        (a().path("p"), "begin its path with a slash"),
        (a().path(long(1025)), "1,024 bytes"),
        (a().path(long(1024)), ""),
        (a().domain("b\u{fc}cher.example"), "xn--"),
        (a().domain("xn--bcher-kva.example"), ""),
        (a().domain("127.0.0.1"), ""),
        (a().domain(""), "host name"),
        (a().domain("."), "host name"),
        (a().domain("a.example; Path=/x"), "host name"),
        (a().domain("a.example\0"), "host name"),
        (a().domain("https://a.example"), "host name"),
        (a().domain("a.example:443"), "host name"),
        (a().domain(" a.example"), "host name"),
        (a().domain(domain(1025)), "1,024 bytes"),
        (a().domain(domain(1024)), ""),
        (a().same_site(SameSite::None), ""),
        (a().same_site(SameSite::None).secure(false), "SameSite=None needs Secure"),
        (a().partitioned(true), ""),
        (a().partitioned(true).secure(false), "Partitioned needs Secure"),
        (sized(4096), ""),
        (sized(4097), "4,096 bytes"),
        // The encoded value is sent.
        (Cookie::build(("abc", " ".repeat(1364))), ""),
        (Cookie::build(("abc", " ".repeat(1365))), "4,096 bytes"),
    ] {
        let cookie = cookie.build();
        let response = Cookies::default().set(cookie.clone()).into_response();
        let detail = Error::of(&response).map(|error| error.detail().to_owned());
        assert_eq!(response.status() == 500, !fix.is_empty(), "{cookie:?} {detail:?}");
        assert!(detail.unwrap_or_default().contains(fix), "{cookie:?}");
        let removed = Cookies::default().remove_cookie(cookie).into_response();
        assert_eq!(removed.status() == 500, !["", "4,096 bytes"].contains(&fix), "{fix}");
    }
    let huge = Cookies::default()
        .set_encrypted(&Key::from(&[7; 64]), Cookie::new("a", "x".repeat(4000)))
        .into_response();
    assert_eq!(huge.status(), 500);
}

#[test]
fn signed_and_encrypted_cookies_can_not_be_altered() {
    let key = Key::from(&[7; 64]);
    let other = Key::from(&[8; 64]);
    let fields = set(Cookies::default()
        .set_signed(&key, Cookie::new("s", "v=1;\u{e9}"))
        .set_encrypted(&key, Cookie::new("p", "secret")));
    let sent: Vec<&str> = fields.iter().map(|field| field.split(';').next().unwrap()).collect();
    let back = read(&[sent.join("; ").as_bytes()]);
    assert_eq!(back.verified(&key, "s").as_deref(), Some("v=1;\u{e9}"));
    assert_eq!(back.decrypted(&key, "p").as_deref(), Some("secret"));
    assert_eq!(back.verified(&other, "s"), None);
    assert_eq!(back.decrypted(&other, "p"), None);
    assert!(!sent.join("").contains("secret"));
    for pair in &sent {
        let altered = read(&[format!("{pair}x").as_bytes()]);
        assert_eq!(altered.verified(&key, "s"), None);
        assert_eq!(altered.decrypted(&key, "p"), None);
        let (_, value) = pair.split_once('=').unwrap();
        let moved = read(&[format!("t={value}").as_bytes()]);
        assert_eq!(moved.verified(&key, "t"), None);
        assert_eq!(moved.decrypted(&key, "t"), None);
    }
    for short in ["", "x", "\u{e9}"] {
        assert_eq!(read(&[format!("s={short}").as_bytes()]).verified(&key, "s"), None);
    }
    assert!(!format!("{back:?}").contains("v=1"));
}
