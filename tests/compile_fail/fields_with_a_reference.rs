//! A field borrows from a body that is gone when the handler runs.

#[derive(tower_chain::Fields)]
struct NewUser<'a> {
    name: Option<&'a str>,
}

fn main() {}
