//! A port in front of another one that cuts connections at given offsets: what a bad line does to a download.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A running relay on loopback.
pub struct Relay {
    pub port: u16,
    passed: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Relay {
    /// Leads to `port`. The n-th connection is closed after `cuts[n]` bytes from the server; those after the last cut
    /// are left alone.
    pub async fn start(port: u16, cuts: Vec<u64>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay =
            Self { port: listener.local_addr().unwrap().port(), passed: Arc::default(), connections: Arc::default() };
        let cuts = Arc::new(Mutex::new(VecDeque::from(cuts)));
        let (passed, connections) = (relay.passed.clone(), relay.connections.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let cut = cuts.lock().unwrap().pop_front();
                tokio::spawn(lead(client, port, cut, passed.clone()));
            }
        });
        relay
    }

    /// Bytes that went from the server to the client, heads included.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn lead(client: TcpStream, port: u16, cut: Option<u64>, passed: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (mut from_server, mut to_server) = server.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    let upwards = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut left = cut.unwrap_or(u64::MAX);
    let mut piece = vec![0; 16 * 1024];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(piece.len()).min(piece.len());
        let Ok(length @ 1..) = from_server.read(&mut piece[..most]).await else { break };
        if to_client.write_all(&piece[..length]).await.is_err() {
            break;
        }
        left -= length as u64;
        passed.fetch_add(length as u64, Ordering::SeqCst);
    }
    upwards.abort();
}

/// An HTTP proxy on loopback: opens ways by CONNECT to where `route` leads a `host:port`, and keeps what it was asked.
pub struct ConnectProxy {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    pub async fn start(route: impl Fn(&str) -> Option<u16> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self { port: listener.local_addr().unwrap().port(), asked: Arc::default() };
        let asked = proxy.asked.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let Some(target) = target_of(&mut client).await else { continue };
                let port = route(&target);
                asked.lock().unwrap().push(target);
                tokio::spawn(async move {
                    let Some(port) = port else {
                        return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
                    };
                    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await.map(|_| ())
                });
            }
        });
        proxy
    }

    /// The hosts that ways were asked to, without repeats.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked.dedup();
        asked
    }
}

/// Reads a request's head; gives what it wants to be connected to.
async fn target_of(client: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    head.strip_prefix("CONNECT ")?.split(' ').next().map(str::to_owned)
}
