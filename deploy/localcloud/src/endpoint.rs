//! An HTTPS server on 127.0.0.1: ends TLS, tells the router which certificate the client showed, and puts the cloud's
//! time into every answer. When it is dropped, the port and all its connections close.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, State};
use axum::middleware::map_response_with_state;
use axum::response::Response;
use http::HeaderValue;
use http::header::DATE;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::error::CloudError;
use crate::faults::Faults;
use crate::registry::CertificateId;

/// How long a client may take over its handshake.
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Rest after a connection could not be accepted: for want of descriptors, the next could not be either.
pub(crate) const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Which certificate the client showed, if the service asks for one. An extension of each request.
#[derive(Debug, Clone)]
pub(crate) struct Peer(pub(crate) Option<CertificateId>);

impl Peer {
    pub(crate) fn of(session: &rustls::ServerConnection) -> Self {
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        Self(certificate.map(|certificate| CertificateId::of(certificate)))
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Endpoint {
    port: u16,
    task: JoinHandle<()>,
}

/// What an endpoint is made of.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) tls: Arc<ServerConfig>,
    pub(crate) router: Router,
}

impl Endpoint {
    pub(crate) async fn start(service: Service, faults: Faults) -> Result<Self, CloudError> {
        let Service { name, port, tls, router } = service;
        let listen = |source| CloudError::Listen { service: name, port, source };
        let listener = TcpListener::bind(("127.0.0.1", port)).await.map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        let router = router.layer(map_response_with_state(faults, stamp_date));
        let task = tokio::spawn(accept(listener, TlsAcceptor::from(tls), router));
        Ok(Self { port, task })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort(); // and with it the set of connections
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, acceptor.clone(), router.clone()));
                }
                Err(error) => {
                    debug!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, router: Router) {
    let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "a TLS handshake failed"),
        Err(_) => return debug!("a TLS handshake took too long"),
    };
    let peer = Peer::of(stream.get_ref().1);
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "an HTTP connection ended early");
    }
}

async fn stamp_date(State(faults): State<Faults>, mut response: Response) -> Response {
    let date = httpdate::fmt_http_date(faults.now().into());
    let date = HeaderValue::try_from(date).expect("an HTTP date is ASCII");
    response.headers_mut().insert(DATE, date);
    response
}
