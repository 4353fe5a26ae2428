//! What the process denies to others on its machine.

/// Keeps the memory of this process, which holds keys and tokens, to itself:
/// another process of the same user can't attach to it or read it from
/// `/proc`, and a crash leaves no core file. Root, or who holds
/// `CAP_SYS_PTRACE`, still may.
///
/// Linux alone knows this; elsewhere nothing happens.
pub fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::debug!(%error, "other processes of this user can read this one's memory");
    }
}
