//! The `claimgate` program.

fn main() {}
