//! A union has no fields that serde could read.

#[derive(tower_chain::Fields)]
union Number {
    small: u8,
    large: u64,
}

fn main() {}
