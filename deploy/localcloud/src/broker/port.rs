//! A TCP port on 127.0.0.1 that stays ours while nobody listens on it, so that a stopped broker can come back to it. A
//! bound socket that does not listen keeps the kernel from giving the port to anybody else, and connections to it are
//! refused.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::error::CloudError;

const BACKLOG: u32 = 1024;

/// A port that is held.
#[derive(Debug)]
pub(super) struct ReservedPort {
    number: u16,
    /// Bound, never listening.
    _reservation: TcpSocket,
}

impl ReservedPort {
    /// Takes the port, or any if it is 0.
    pub(super) fn take(port: u16) -> Result<Self, CloudError> {
        let take = || {
            let socket = bound(port)?;
            Ok((socket.local_addr()?.port(), socket))
        };
        let (number, socket) = take().map_err(|source| listen_error(port, source))?;
        Ok(Self { number, _reservation: socket })
    }

    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Listens on it, beside the reservation.
    pub(super) fn listen(&self) -> Result<TcpListener, CloudError> {
        bound(self.number).and_then(|socket| socket.listen(BACKLOG)).map_err(|source| listen_error(self.number, source))
    }
}

/// Linux lets two sockets of one port coexist if both set SO_REUSEADDR and at most one listens (socket(7)).
fn bound(port: u16) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

fn listen_error(port: u16, source: std::io::Error) -> CloudError {
    CloudError::Listen { service: "the broker", port, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_it_listens_and_can_listen_again() {
        let port = ReservedPort::take(0).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
        let connects = || async { tokio::net::TcpStream::connect(address).await.is_ok() };
        assert!(!connects().await);
        for _ in 0..2 {
            let listener = port.listen().unwrap();
            assert!(connects().await);
            drop(listener);
            assert!(!connects().await);
        }
        assert!(std::net::TcpListener::bind(address).is_err() || port.listen().is_ok());
    }
}
