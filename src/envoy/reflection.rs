//! gRPC server reflection, so that tools such as `grpcurl` can list what is
//! served here.

use tonic_reflection::server::{
    Builder, Error,
    v1::{ServerReflection, ServerReflectionServer},
    v1alpha::{
        ServerReflection as ServerReflectionAlpha,
        ServerReflectionServer as ServerReflectionServerAlpha,
    },
};

/// `envoy/service/auth/v3/external_auth.proto` and all that it imports, as a
/// `FileDescriptorSet`. Made by the test below from the sources that
/// `envoy-types` ships: `UPDATE_DESCRIPTORS=1 cargo test descriptors`.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");

/// Reflection in the version that clients ask for first.
///
/// # Errors
///
/// If a descriptor can't be read, which no input brings about.
pub fn reflection() -> Result<ServerReflectionServer<impl ServerReflection>, Error> {
    Ok(builder().build_v1()?.max_decoding_message_size(MAX_REQUEST_BYTES))
}

/// Reflection in the older version, the only one that some clients support.
///
/// # Errors
///
/// As [`reflection`].
pub fn reflection_alpha() -> Result<ServerReflectionServerAlpha<impl ServerReflectionAlpha>, Error>
{
    Ok(builder().build_v1alpha()?.max_decoding_message_size(MAX_REQUEST_BYTES))
}

/// A request holds the name of a symbol or a file. tonic allocates the announced
/// length of a message as soon as its first bytes arrive.
const MAX_REQUEST_BYTES: usize = 4 << 10;

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use super::*;

    fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
        // nosemgrep: no-process-or-shell -- a test asks cargo where its sources are
        let mut command = Command::new(program);
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Where cargo keeps the sources of `envoy-types`. Asked for this platform
    /// alone: those of others were never downloaded.
    fn envoy_types() -> PathBuf {
        let version = String::from_utf8(output("rustc", &["-vV"])).expect("UTF-8");
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
        let arguments = ["metadata", "--format-version=1", "--offline", "--locked"];
        let arguments = [&arguments[..], &["--filter-platform", host]].concat();
        let metadata = output(env!("CARGO"), &arguments);
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).expect("JSON");
        let packages = metadata["packages"].as_array().expect("packages");
        let package = packages.iter().find(|package| package["name"] == "envoy-types");
        let manifest = package.expect("envoy-types")["manifest_path"].as_str().expect("a path");
        Path::new(manifest).parent().expect("a folder").into()
    }

    fn generate() -> Vec<u8> {
        let proto = envoy_types().join("proto");
        let roots = ["data-plane-api", "googleapis", "protoc-gen-validate", "xds", "client_model"];
        protox::Compiler::new(roots.map(|root| proto.join(root)))
            .expect("folders of protos")
            .include_imports(true)
            .include_source_info(false)
            .open_file("envoy/service/auth/v3/external_auth.proto")
            .expect("a proto that compiles")
            .encode_file_descriptor_set()
    }

    #[test]
    fn the_descriptors_are_those_of_envoy_types() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/envoy/descriptors.bin");
        let generated = generate();
        if std::env::var_os("UPDATE_DESCRIPTORS").is_some() {
            fs::write(&path, &generated).expect("the file can be written");
        }
        let committed = fs::read(&path).expect("the file can be read");
        assert!(committed == generated, "stale: run UPDATE_DESCRIPTORS=1 cargo test descriptors");
    }

    #[test]
    fn both_versions_can_be_built() {
        reflection().expect("v1");
        reflection_alpha().expect("v1alpha");
    }
}
