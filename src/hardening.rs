//! Protects the process from other processes on its machine.

/// Makes the memory of this process, which holds keys and tokens, private:
/// another process of the same user can't attach to it or read it from
/// `/proc`, and a crash leaves no core file. Root, or a process with
/// `CAP_SYS_PTRACE`, still may.
///
/// Does nothing on systems other than Linux.
pub fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) =
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
    {
        tracing::debug!(%error, "other processes of this user can read this one's memory");
    }
}
