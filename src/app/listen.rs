//! Binds addresses and accepts connections.

use std::{
    fmt, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::settings::ListenAddress;

/// How long a connection to a socket file may take before the file counts as in
/// use.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why an address can't be bound; says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error(
        "{key}: {address} is already in use, stop the program that holds it or choose another address"
    )]
    InUse {
        /// The key path of the setting.
        key: &'static str,
        /// The address as configured.
        address: String,
    },
    /// The path exists, but is not a socket.
    #[error("{key}: {} exists and is not a socket, remove it or choose another path", path.display())]
    NotSocket {
        /// The key path of the setting.
        key: &'static str,
        /// The path as configured.
        path: PathBuf,
    },
    /// The operating system reports another error.
    #[error("{key}: cannot listen on {address}: {source}{}", advice(source))]
    Refused {
        /// The key path of the setting.
        key: &'static str,
        /// The address as configured.
        address: String,
        /// The error.
        source: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ", choose a port above 1023 or a folder that this user may write to"
        }
        io::ErrorKind::AddrNotAvailable => ", choose an address of this machine or 0.0.0.0",
        io::ErrorKind::NotFound => ", create the folder first",
        _ => "",
    }
}

/// The bound address of a listener: port 0 has become a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundAddress {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A bound socket that accepts connections.
#[derive(Debug)]
pub struct Listener {
    address: BoundAddress,
    socket: ListenSocket,
}

#[derive(Debug)]
enum ListenSocket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// An accepted connection that is not registered with a runtime yet, so that any
/// worker can take it.
#[derive(Debug)]
pub enum Accepted {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a Unix socket.
    Unix(std::os::unix::net::UnixStream),
}

impl Listener {
    /// Binds `address`; `key` is its key path, for the error.
    pub async fn bind(key: &'static str, address: &ListenAddress) -> Result<Self, BindError> {
        match address {
            ListenAddress::Tcp(address) => {
                let (listener, bound) = bind_tcp(key, address).await?;
                Ok(Self { address: BoundAddress::Tcp(bound), socket: ListenSocket::Tcp(listener) })
            }
            ListenAddress::Unix(path) => {
                let (listener, file) = bind_unix(key, path).await?;
                Ok(Self {
                    address: BoundAddress::Unix(path.clone()),
                    socket: ListenSocket::Unix { listener, _file: file },
                })
            }
        }
    }

    /// The bound address.
    pub fn address(&self) -> &BoundAddress {
        &self.address
    }

    /// Waits for the next connection. Cancellation-safe.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match &self.socket {
            ListenSocket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Tcp(stream.into_std()?))
            }
            ListenSocket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted::Unix(stream.into_std()?))
            }
        }
    }
}

impl Accepted {
    /// Registers the connection with the current runtime.
    pub(crate) fn register(self) -> io::Result<Registered> {
        match self {
            Self::Tcp(stream) => {
                let stream = TcpStream::from_std(stream)?;
                // A response is one small write; waiting to fill a segment would
                // only add the peer's delayed-ack time.
                stream.set_nodelay(true)?;
                Ok(Registered::Tcp(stream))
            }
            Self::Unix(stream) => Ok(Registered::Unix(UnixStream::from_std(stream)?)),
        }
    }
}

/// An accepted connection, registered with a runtime.
#[derive(Debug)]
pub(crate) enum Registered {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Binds a TCP address and returns the bound one; `key` is its key path, for
/// the error.
pub async fn bind_tcp(
    key: &'static str,
    address: &str,
) -> Result<(TcpListener, SocketAddr), BindError> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|source| refused(key, address, source))
}

async fn bind_unix(
    key: &'static str,
    path: &Path,
) -> Result<(UnixListener, SocketFile), BindError> {
    let address = format!("unix:{}", path.display());
    clear_stale(key, &address, path).await?;
    let bound = UnixListener::bind(path)
        .and_then(|listener| Ok((listener, SocketFile::new(path.to_owned())?)));
    bound.map_err(|source| refused(key, &address, source))
}

fn refused(key: &'static str, address: &str, source: io::Error) -> BindError {
    let address = address.to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { key, address },
        _ => BindError::Refused { key, address, source },
    }
}

/// Removes the socket file of a program that has ended: binding fails as long as
/// the file exists, whether a program listens or not.
async fn clear_stale(key: &'static str, address: &str, path: &Path) -> Result<(), BindError> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => {}
        Ok(_) => return Err(BindError::NotSocket { key, path: path.to_owned() }),
        // Absent, or unreadable in a way that bind will name.
        Err(_) => return Ok(()),
    }
    let probe = tokio::time::timeout(PROBE_TIMEOUT, UnixStream::connect(path)).await;
    match probe {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| refused(key, address, source))
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(BindError::InUse { key, address: address.to_owned() }),
    }
}

/// Removes the socket file when dropped, unless another program has replaced it
/// with its own.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let id = file_id(&path)?;
        Ok(Self { path, id })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if file_id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    let file = std::fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "server.grpc.address";

    async fn bind_at(path: &Path) -> Result<Listener, BindError> {
        Listener::bind(KEY, &ListenAddress::Unix(path.to_owned())).await
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_its_key() {
        let first = Listener::bind(KEY, &ListenAddress::Tcp("127.0.0.1:0".into())).await.unwrap();
        let address = first.address().to_string();
        let second = Listener::bind(KEY, &ListenAddress::Tcp(address.clone())).await;
        let message = second.unwrap_err().to_string();
        assert!(message.starts_with(KEY), "{message}");
        assert!(message.contains(&address) && message.contains("already in use"), "{message}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authz.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file behind");

        let listener = bind_at(&path).await.unwrap();
        assert_eq!(listener.address(), &BoundAddress::Unix(path.clone()));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authz.sock");
        let _owner = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = bind_at(&path).await.unwrap_err();
        assert!(matches!(error, BindError::InUse { .. }), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "precious").unwrap();
        let error = bind_at(&path).await.unwrap_err();
        assert!(matches!(error, BindError::NotSocket { .. }), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = bind_at(&folder.path().join("missing/authz.sock")).await.unwrap_err();
        assert!(error.to_string().contains("create the folder first"), "{error}");
    }

    #[tokio::test]
    async fn a_successors_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authz.sock");
        let first = bind_at(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = bind_at(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
    }
}
