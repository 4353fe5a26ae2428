//! Compiles the protos this project owns, without `protoc`.

use std::error::Error;

const PROVIDER: &str = "proto/claimgate/provider/v1/provider.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROVIDER}");
    let descriptors = protox::compile([PROVIDER], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
