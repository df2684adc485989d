//! What does not compile, and what the compiler says to it.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[test]
fn mistakes_are_named_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

#[test]
fn the_first_message_fits_a_screen() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compile_fail");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "stderr") {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().take_while(|line| !line.is_empty()).count();
            assert!(lines <= 40, "{}: {lines} lines", path.display());
            seen += 1;
        }
    }
    assert!(seen > 10);
}
