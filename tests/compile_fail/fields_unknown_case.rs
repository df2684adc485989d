//! A letter case that serde does not have.

#[derive(tower_chain::Fields)]
#[serde(rename_all = "camel_case")]
struct NewUser {
    first_name: String,
}

fn main() {}
