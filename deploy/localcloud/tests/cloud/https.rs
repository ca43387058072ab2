//! An HTTP/1.1 client for one request a connection, which hides nothing: it reports a body that ended early.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use margay_localcloud::DeviceFiles;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Whether as many bytes came as were announced.
    pub fn is_complete(&self) -> bool {
        self.header("content-length").is_none_or(|length| length == self.body.len().to_string())
    }
}

pub fn config(ca: &Path, device: Option<&DeviceFiles>) -> ClientConfig {
    config_at(ca, device, Duration::ZERO)
}

/// The same with a clock that is `ahead` of the machine's.
pub fn config_at(ca: &Path, device: Option<&DeviceFiles>, ahead: Duration) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Ahead(ahead)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match device {
        None => builder.with_no_client_auth(),
        Some(files) => {
            let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(&files.private_key).unwrap()).unwrap()
        }
    }
}

#[derive(Debug)]
struct Ahead(Duration);

impl TimeProvider for Ahead {
    fn current_time(&self) -> Option<UnixTime> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(now + self.0))
    }
}

/// Sends `head`, the request line and headers without the last empty line, to `name` on `port` of loopback.
pub async fn request(config: ClientConfig, name: &str, port: u16, head: &str) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await;
    let Some(split) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Err(end.err().unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into()));
    };
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Ok(Answer { status, headers, body: bytes[split + 4..].to_vec() })
}

/// The port of `host:port`.
pub fn port(endpoint: &str) -> u16 {
    endpoint.rsplit_once(':').unwrap().1.parse().unwrap()
}
