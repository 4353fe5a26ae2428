//! Compiles the protocol of custom providers, without `protoc`.

use std::error::Error;

const PROTOS: &str = "../../proto";
const PROVIDER: &str = "../../proto/claimgate/provider/v1/provider.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROVIDER}");
    let descriptors = protox::compile([PROVIDER], [PROTOS])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
