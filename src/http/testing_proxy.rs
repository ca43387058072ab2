//! An HTTP or HTTPS proxy on loopback, for tests: it opens ways by CONNECT to where the test says, and keeps what it was
//! asked.

use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::Proxies;
use crate::config::{NetworkProxy, ProxyScheme};
use crate::secret::Secret;

/// What the proxy does with a request to connect to a host.
pub(crate) enum Verdict {
    /// Opens a way to this port of loopback.
    To(u16),
    /// Answers this and closes.
    Say(&'static str),
}

/// A running proxy.
pub(crate) struct TestingProxy {
    scheme: ProxyScheme,
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl TestingProxy {
    /// Asks `judge` about each host.
    pub(crate) async fn start(judge: impl Fn(&str) -> Verdict + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (heard, judge) = (heads.clone(), Arc::new(judge));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heard, judge) = (heard.clone(), judge.clone());
                tokio::spawn(async move { serve(stream, &heard, judge.as_ref()).await });
            }
        });
        Self { scheme: ProxyScheme::Http, port, heads }
    }

    /// The same over TLS, with the authority that clients have to trust, PEM.
    pub(crate) async fn start_with_tls(judge: impl Fn(&str) -> Verdict + Send + Sync + 'static) -> (Self, String) {
        let (acceptor, authority) = tls();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (heard, judge) = (heads.clone(), Arc::new(judge));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (heard, judge, acceptor) = (heard.clone(), judge.clone(), acceptor.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    serve(stream, &heard, judge.as_ref()).await;
                });
            }
        });
        (Self { scheme: ProxyScheme::Https, port, heads }, authority)
    }

    /// No proxy: a port that leads to `port` of loopback, but hangs up where `cut` says so. Gives its number.
    pub(crate) async fn start_as_relay(port: u16, cut: impl Fn() -> bool + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if cut() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut server).await;
                });
            }
        });
        own
    }

    /// A client's setting for this proxy, with a user's name and password.
    pub(crate) fn setting(&self) -> Proxies {
        let configured = NetworkProxy {
            scheme: self.scheme,
            host: "127.0.0.1".parse().unwrap(),
            port: self.port,
            username: Some("Mary_Major".to_owned()),
            password: Some(Secret::new("pass@word1357")),
            no_proxy: vec!["direct.example".parse().unwrap()],
        };
        Proxies::new(Some(&configured), |_| None).unwrap()
    }

    /// The heads of the requests so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// A certificate for 127.0.0.1 by an authority of its own.
fn tls() -> (TlsAcceptor, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "the proxy's authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), authority.pem())
}

async fn serve<S>(mut stream: S, heard: &Mutex<Vec<String>>, judge: &(dyn Fn(&str) -> Verdict + Send + Sync))
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heard.lock().unwrap().push(head);
    match judge(&target) {
        Verdict::To(port) => {
            let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut server).await;
        }
        Verdict::Say(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    }
}
