//! Tandem
fn main() {}
