//! The TLS side of the broker: verifies the client's certificate, looks it up, and passes bytes to and from the broker
//! behind until one side ends, or the doorman has the connection cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::doorman::Doorman;
use crate::endpoint::{ACCEPT_REST, HANDSHAKE_LIMIT, Peer};
use crate::registry::Registry;

/// A running front.
#[derive(Debug)]
pub(super) struct Front {
    task: JoinHandle<()>,
}

/// What every connection needs.
struct Entrance {
    broker: SocketAddr,
    acceptor: TlsAcceptor,
    registry: Registry,
    doorman: Arc<Doorman>,
}

impl Front {
    pub(super) fn start(
        listener: TcpListener,
        broker: SocketAddr,
        tls: Arc<ServerConfig>,
        registry: Registry,
        doorman: Arc<Doorman>,
    ) -> Self {
        let entrance = Entrance { broker, acceptor: TlsAcceptor::from(tls), registry, doorman };
        Self { task: tokio::spawn(accept(listener, Arc::new(entrance))) }
    }

    /// Closes the port and all connections, and waits until that is done.
    pub(super) async fn close(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await; // cancelled, as intended
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort(); // and with it the set of connections
    }
}

async fn accept(listener: TcpListener, entrance: Arc<Entrance>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(pass(stream, Arc::clone(&entrance)));
                }
                Err(error) => {
                    debug!(%error, "an MQTT connection could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(stream: TcpStream, entrance: Arc<Entrance>) {
    let _ = stream.set_nodelay(true); // a matter of speed only
    let mut client = match tokio::time::timeout(HANDSHAKE_LIMIT, entrance.acceptor.accept(stream)).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return debug!(%error, "an MQTT client failed its TLS handshake"),
        Err(_) => return debug!("an MQTT client took too long over its TLS handshake"),
    };
    let Peer(certificate) = Peer::of(client.get_ref().1);
    let Some(principal) = certificate.and_then(|certificate| entrance.registry.principal(&certificate)) else {
        entrance.doorman.count_stranger();
        return debug!("an MQTT client's certificate is not registered");
    };
    let Ok(socket) = inner_socket() else { return };
    let Ok(source) = socket.local_addr() else { return };
    let admission = entrance.doorman.announce(source, principal);
    let Ok(mut broker) = socket.connect(entrance.broker).await else {
        return debug!("the broker behind the front is gone");
    };
    let _ = broker.set_nodelay(true);
    tokio::select! {
        ended = copy_bidirectional(&mut client, &mut broker) => {
            if let Err(error) = ended {
                debug!(%error, "an MQTT connection broke");
            }
        }
        () = admission.cut() => {}
    }
    drop(client); // before the doorman hears that the connection is closed
    drop(admission);
}

/// A socket whose address is known before it connects.
fn inner_socket() -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(socket)
}
