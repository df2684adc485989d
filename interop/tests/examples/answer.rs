//! Compares a response with the one in the header of an example.

/// Whether a response matches the expected one.
///
/// `..` matches anything in a line, and alone in a line it matches any lines. For a response with its head (`curl -i`), the header of the example has the
/// status and some fields, in any order, and after an empty line the body.
pub(crate) fn fits(page: &[String], answer: &str) -> bool {
    let page: Vec<&str> = page.iter().map(String::as_str).collect();
    let answer: Vec<&str> = answer.trim_end().lines().map(str::trim).collect();
    let has_head = page.first().is_some_and(|line| line.starts_with("HTTP/"));
    if !has_head {
        return lines_fit(&page, &answer);
    }
    let (Some((status, fields)), body) = split_head(&page) else { return false };
    let (Some((found_status, found_fields)), found_body) = split_head(&answer) else {
        return false;
    };
    let is_there =
        |field: &&str| found_fields.iter().any(|found| line_fits(&lower(field), &lower(found)));
    line_fits(status, found_status)
        && fields.iter().all(is_there)
        && body.is_none_or(|body| lines_fit(body, found_body.unwrap_or_default()))
}

/// The status, the fields, and the body if there is an empty line before it.
#[allow(clippy::type_complexity, reason = "taken apart at once")]
fn split_head<'a, 'b>(
    lines: &'a [&'b str],
) -> (Option<(&'a &'b str, &'a [&'b str])>, Option<&'a [&'b str]>) {
    let mut parts = lines.splitn(2, |line| line.is_empty());
    (parts.next().and_then(<[_]>::split_first), parts.next())
}

/// A field with its name in lower case.
fn lower(field: &str) -> String {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    format!("{}:{value}", name.to_ascii_lowercase())
}

fn lines_fit(page: &[&str], answer: &[&str]) -> bool {
    match (page, answer) {
        ([], []) => true,
        (["..", rest @ ..], _) => (0..=answer.len()).any(|skip| lines_fit(rest, &answer[skip..])),
        ([line, rest @ ..], [found, more @ ..]) => line_fits(line, found) && lines_fit(rest, more),
        _ => false,
    }
}

fn line_fits(page: &str, answer: &str) -> bool {
    let Some((first, rest)) = page.split_once("..") else { return page == answer };
    let Some(answer) = answer.strip_prefix(first) else { return false };
    (0..=answer.len())
        .filter(|&skip| answer.is_char_boundary(skip))
        .any(|skip| line_fits(rest, &answer[skip..]))
}

#[test]
fn an_answer_fits_line_by_line_and_its_head_in_any_order() {
    let head = "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n{\"a\":1}\n";
    let table: [(&[&str], &str, bool); 15] = [
        (&[], "", true),
        (&[], "more", false),
        (&["one"], "one\n", true),
        (&["one"], "one\ntwo", false),
        (&["one", ".."], "one\ntwo\nthree", true),
        (&["o..e, .."], "one, two", true),
        (&["o..e"], "one, two", false),
        (&["HTTP/1.1 200 OK"], head, true),
        (&["HTTP/1.1 200 OK", "b: 2", "a: 1"], head, true),
        (&["HTTP/1.1 200 OK", "c: 2"], head, false),
        (&["HTTP/1.1 404 ..", "a: 1"], head, false),
        (&["HTTP/1.1 200 OK", "", "{\"a\":..}"], head, true),
        (&["HTTP/1.1 200 OK", "", "{}"], head, false),
        (&["HTTP/1.1 204 ..", ""], "HTTP/1.1 204 No Content\r\n\r\n", true),
        (&["HTTP/1.1 200 OK"], "", false),
    ];
    for (page, answer, expected) in table {
        let page: Vec<String> = page.iter().map(ToString::to_string).collect();
        assert_eq!(fits(&page, answer), expected, "{page:?} {answer:?}");
    }
}
