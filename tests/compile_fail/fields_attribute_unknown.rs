//! An attribute of `Fields` that does not exist.

#[derive(serde::Deserialize, tower_chain::Fields)]
struct NewUser {
    #[fields(rename = "userName")]
    name: String,
}

fn main() {}
