//! The running service: settings become bound listeners, which are served
//! until a signal drains them.

pub mod connection;
pub mod listen;
pub mod readiness;
pub mod server;
pub mod signals;
pub mod tls;
pub mod watch;
pub mod workers;
