//! Programs that must not compile, and the compiler's messages.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[test]
fn mistakes_are_named_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("*.rs");
}

#[test]
fn the_first_message_fits_a_screen() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "stderr") {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().take_while(|line| !line.is_empty()).count();
            assert!(lines <= 34, "{}: {lines} lines", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10);
}

/// Returns the rows of the page: the message and its case. Tables of cases have four columns.
fn rows_of_the_page() -> Vec<(String, String)> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.replace("\\|", "\u{0}");
        line.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
    };
    include_str!("../../../src/guide/mistakes.md")
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| ---"))
        .map(cells)
        .filter(|cells| cells.len() == 4 && cells[3] != "case")
        .map(|cells| (code(&cells[1]), code(&cells[3])))
        .collect()
}

/// Returns the content of a code span, which has two backticks on each side if it contains one.
fn code(cell: &str) -> String {
    let inside = cell.strip_prefix("`` ").and_then(|rest| rest.strip_suffix(" ``"));
    let inside = inside.or_else(|| cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')));
    inside.unwrap_or_else(|| panic!("no code: {cell}")).to_owned()
}

/// Whether a line contains the parts of a message, which `..` separates, in order.
fn says(line: &str, message: &str) -> bool {
    let mut rest = line;
    message.split("..").map(str::trim).all(|part| match rest.split_once(part) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

#[test]
fn the_page_shows_what_the_compiler_says() {
    for (message, case) in rows_of_the_page() {
        let path = format!("{}/{case}.stderr", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no case {case}"));
        assert!(text.lines().any(|line| says(line, &message)), "{case} does not say: {message}");
    }
}

#[test]
fn the_page_has_every_case() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let mut cases: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut shown: Vec<String> = rows_of_the_page().into_iter().map(|(_, case)| case).collect();
    cases.sort();
    shown.sort();
    assert_eq!(shown, cases);
}
