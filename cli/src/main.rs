//! saelab
fn main() {}
