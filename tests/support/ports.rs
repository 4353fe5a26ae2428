//! Ports of the loopback address without a listener.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// A port that is taken and refuses connections. It stays taken as long as
/// this value lives, so that no test beside this one is given it.
pub(crate) struct Reserved {
    socket: TcpSocket,
    pub(crate) address: SocketAddr,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address }
    }

    /// Accepts connections from now on.
    pub(crate) fn listen(self) -> TcpListener {
        self.socket.listen(128).unwrap()
    }
}
