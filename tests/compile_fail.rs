//! What does not compile, and what the compiler says to it.

#[test]
fn mistakes_are_named_where_they_are_made() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
