//! An MQTT broker for tests, on a real socket with mutual TLS, that can misbehave on request.
//!
//! It keeps no sessions. Each message that it takes over is remembered, also when it then closes without acknowledging.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::{
    ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, QoS, SubAck, SubscribeReasonCode, UnsubAck,
};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{BrokerAddress, ConnectionSettings};
use super::link::LinkSettings;
use super::testing_certificates::Authority;

const LARGEST: usize = 4 * 1024 * 1024;

/// `normal`, or the count that `MARGAY_TEST_SCALE` multiplies it to.
pub(super) fn scaled(normal: u64) -> u64 {
    let scale = std::env::var("MARGAY_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    normal * scale
}

/// What to do with a CONNECT.
#[derive(Debug, Clone, Copy)]
pub(super) enum Admission {
    Admit,
    Refuse(ConnectReturnCode),
    Close,
    /// Admit, then close at once.
    AdmitAndClose,
}

/// What to do with a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Take it over and acknowledge it.
    Acknowledge,
    /// Take it over, acknowledge it, close.
    AcknowledgeAndClose,
    /// Take it over and acknowledge it twice, against the protocol.
    AcknowledgeTwice,
    /// Take it over and close without an acknowledgement: the sender cannot know.
    TakeAndClose,
    /// Close without taking it over: how AWS IoT Core refuses a topic.
    Close,
    /// Neither take it nor answer.
    Ignore,
}

type OnPublish = Arc<dyn Fn(&Publish) -> Reaction + Send + Sync>;

/// What the test may change while the broker runs.
#[derive(Clone)]
struct Manners {
    admission: Admission,
    on_publish: OnPublish,
    on_subscribe: Option<SubscribeReasonCode>,
}

struct Shared {
    manners: Mutex<Manners>,
    taken: watch::Sender<Vec<(String, Bytes)>>,
    /// Who connected: the CONNECT, and the certificate that came with it.
    guests: watch::Sender<Vec<(Connect, Vec<u8>)>>,
    /// Filters asked for, with repetitions.
    asked: watch::Sender<Vec<String>>,
    /// Every SUBSCRIBE and UNSUBSCRIBE, as `+a/# 1` and `-a/#`.
    requests: watch::Sender<Vec<String>>,
    /// Packet ids of our messages that the client acknowledged, with repetitions.
    acknowledged: watch::Sender<Vec<u16>>,
    /// Raised to cut every connection.
    cuts: watch::Sender<u64>,
    injected: broadcast::Sender<Publish>,
    demands_alpn: bool,
}

/// The broker. Dropped, it stops listening; its connections end with the runtime.
pub(super) struct TestingBroker {
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    devices: Authority,
    servers: Authority,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl TestingBroker {
    /// A well-behaved broker on a free port of loopback.
    pub(super) async fn start() -> Self {
        let (servers, devices) = (Authority::new(), Authority::new());
        let tls = servers.server(&devices, 4000);
        Self::start_with(servers, devices, tls).await
    }

    /// A broker that shows another certificate than the one its clients expect.
    pub(super) async fn start_with(servers: Authority, devices: Authority, tls: Arc<ServerConfig>) -> Self {
        let manners = Manners {
            admission: Admission::Admit,
            on_publish: Arc::new(|_| Reaction::Acknowledge),
            on_subscribe: Some(SubscribeReasonCode::Success(QoS::AtLeastOnce)),
        };
        let shared = Arc::new(Shared {
            manners: Mutex::new(manners),
            taken: watch::Sender::new(Vec::new()),
            guests: watch::Sender::new(Vec::new()),
            asked: watch::Sender::new(Vec::new()),
            requests: watch::Sender::new(Vec::new()),
            acknowledged: watch::Sender::new(Vec::new()),
            cuts: watch::Sender::new(0),
            injected: broadcast::Sender::new(1000),
            demands_alpn: !tls.alpn_protocols.is_empty(),
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = Self { address, tls, devices, servers, shared, listening: None };
        broker.resume().await;
        broker
    }

    /// A broker that wants this protocol name of its clients, as AWS IoT Core does on port 443.
    pub(super) async fn start_demanding(protocol: &[u8]) -> Self {
        let (servers, devices) = (Authority::new(), Authority::new());
        let mut tls = ServerConfig::clone(&servers.server(&devices, 4000));
        tls.alpn_protocols = vec![protocol.to_vec()];
        Self::start_with(servers, devices, Arc::new(tls)).await
    }

    /// From the next [`resume`](Self::resume) on, takes only devices of `authority`: every certificate issued before is
    /// as good as revoked.
    pub(super) fn take_only_devices_of(&mut self, authority: Authority) {
        self.devices = authority;
        self.tls = self.servers.server(&self.devices, 4000);
    }

    /// A device that this broker knows, and that trusts the authority `pem` beside the broker's.
    pub(super) fn device_that_also_trusts(&self, pem: &str) -> Arc<rustls::ClientConfig> {
        self.devices.client_trusting(&self.servers, Some(pem))
    }

    /// The port.
    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Who connected so far: the CONNECT, and the certificate, DER.
    pub(super) fn guests(&self) -> watch::Receiver<Vec<(Connect, Vec<u8>)>> {
        self.shared.guests.subscribe()
    }

    /// The filters asked for so far, with repetitions.
    pub(super) fn asked(&self) -> watch::Receiver<Vec<String>> {
        self.shared.asked.subscribe()
    }

    /// Every SUBSCRIBE with its quality, and UNSUBSCRIBE, so far: `+a/# 1`, `-a/#`.
    pub(super) fn requests(&self) -> watch::Receiver<Vec<String>> {
        self.shared.requests.subscribe()
    }

    /// The packet ids of our messages that were acknowledged, with repetitions.
    pub(super) fn acknowledged(&self) -> watch::Receiver<Vec<u16>> {
        self.shared.acknowledged.subscribe()
    }

    /// Listens again after [`stop`](Self::stop), on the same port.
    pub(super) async fn resume(&mut self) {
        let listener = bind(self.address).await;
        self.address = listener.local_addr().unwrap();
        let (tls, shared) = (TlsAcceptor::from(self.tls.clone()), self.shared.clone());
        self.listening = Some(tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, tls.clone(), shared.clone()));
            }
        }));
    }

    /// Stops listening and cuts every connection, as a kill would.
    pub(super) async fn stop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
        self.cut();
    }

    /// Cuts every connection.
    pub(super) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(super) fn admission(&self, admission: Admission) {
        self.shared.manners.lock().unwrap().admission = admission;
    }

    pub(super) fn on_publish(&self, reaction: impl Fn(&Publish) -> Reaction + Send + Sync + 'static) {
        self.shared.manners.lock().unwrap().on_publish = Arc::new(reaction);
    }

    /// What SUBACK says; `None` closes instead.
    pub(super) fn on_subscribe(&self, answer: Option<SubscribeReasonCode>) {
        self.shared.manners.lock().unwrap().on_subscribe = answer;
    }

    /// Every message taken over, in order, with repetitions.
    pub(super) fn taken(&self) -> watch::Receiver<Vec<(String, Bytes)>> {
        self.shared.taken.subscribe()
    }

    /// Sends a message to every connection that has subscribed to anything.
    pub(super) fn inject(&self, topic: &str, payload: &str) {
        self.inject_bytes(topic, payload.as_bytes());
    }

    /// The same with any bytes.
    pub(super) fn inject_bytes(&self, topic: &str, payload: &[u8]) {
        let _ = self.shared.injected.send(Publish::new(topic, QoS::AtLeastOnce, payload));
    }

    /// How a device that this broker knows connects to it.
    pub(super) fn connection(&self) -> ConnectionSettings {
        let broker = BrokerAddress { host: "127.0.0.1".parse().unwrap(), port: self.address.port() };
        let mut settings = ConnectionSettings::new(broker, "device", self.devices.client(&self.servers));
        settings.keep_alive = Duration::from_secs(60);
        settings
    }

    /// The same, with short times.
    pub(super) fn link(&self) -> LinkSettings {
        let mut settings = LinkSettings::new(self.connection());
        settings.retry_floor = Duration::from_millis(2);
        settings.retry_ceiling = Duration::from_millis(20);
        settings.settling_time = Duration::from_millis(5);
        settings
    }
}

impl Drop for TestingBroker {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// Binds, again and again while the port is in use: a child that another test is just starting holds a copy of the old
/// listener from its fork to its exec.
async fn bind(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::time::sleep(Duration::from_millis(1)).await,
            bound => return bound.unwrap(),
        }
    }
}

async fn serve(socket: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    socket.set_nodelay(true).unwrap();
    let stream = match tls.accept(socket).into_fallible().await {
        Ok(stream) => stream,
        Err((_, socket)) => return read_up(socket).await,
    };
    let (_, tls) = stream.get_ref();
    // Without ALPN in its hello a client is not refused by TLS itself.
    if shared.demands_alpn && tls.alpn_protocol().is_none() {
        return;
    }
    let mut connection = Connection { stream, buffer: BytesMut::new(), shared, injected: None };
    tokio::select! {
        _ = connection.talk() => {}
        _ = cuts.changed() => {}
    }
}

/// Reads what the client still sends: closed before that, the socket would be reset and our alert lost.
async fn read_up(mut socket: TcpStream) {
    let mut rest = [0; 1024];
    while socket.read(&mut rest).await.is_ok_and(|read| read > 0) {}
}

struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    shared: Arc<Shared>,
    /// Present after a SUBSCRIBE.
    injected: Option<broadcast::Receiver<Publish>>,
}

impl Connection {
    /// Answers until the connection ends or is to be closed (`None`).
    async fn talk(&mut self) -> Option<()> {
        loop {
            let packet = tokio::select! {
                packet = read(&mut self.stream, &mut self.buffer) => packet?,
                Some(message) = next_injected(&mut self.injected) => {
                    self.send(Packet::Publish(message)).await?;
                    continue;
                }
            };
            self.answer(packet).await?;
        }
    }

    async fn answer(&mut self, packet: Packet) -> Option<()> {
        let manners = self.shared.manners.lock().unwrap().clone();
        match packet {
            Packet::Connect(connect) => {
                let (_, tls) = self.stream.get_ref();
                let certificate = tls.peer_certificates().unwrap()[0].to_vec();
                self.shared.guests.send_modify(|guests| guests.push((connect, certificate)));
                self.admit(manners.admission).await
            }
            Packet::Publish(publish) => {
                let reaction = (manners.on_publish)(&publish);
                self.react(&publish, reaction).await
            }
            Packet::Subscribe(subscribe) => {
                let asked = subscribe.filters.iter().map(|filter| filter.path.clone());
                self.shared.asked.send_modify(|all| all.extend(asked));
                let requests = subscribe.filters.iter().map(|filter| format!("+{} {}", filter.path, filter.qos as u8));
                self.shared.requests.send_modify(|all| all.extend(requests));
                self.injected = Some(self.shared.injected.subscribe());
                self.send(Packet::SubAck(SubAck::new(subscribe.pkid, vec![manners.on_subscribe?]))).await
            }
            Packet::Unsubscribe(unsubscribe) => {
                let requests = unsubscribe.topics.iter().map(|filter| format!("-{filter}"));
                self.shared.requests.send_modify(|all| all.extend(requests));
                self.send(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid))).await
            }
            Packet::PubAck(answer) => {
                self.shared.acknowledged.send_modify(|all| all.push(answer.pkid));
                Some(())
            }
            Packet::PingReq => self.send(Packet::PingResp).await,
            Packet::Disconnect => None,
            _ => Some(()),
        }
    }

    async fn admit(&mut self, admission: Admission) -> Option<()> {
        let code = match admission {
            Admission::Close => return None,
            Admission::Refuse(code) => code,
            Admission::Admit | Admission::AdmitAndClose => ConnectReturnCode::Success,
        };
        self.send(Packet::ConnAck(ConnAck::new(code, false))).await?;
        matches!(admission, Admission::Admit).then_some(())
    }

    async fn react(&mut self, publish: &Publish, reaction: Reaction) -> Option<()> {
        use Reaction::{Acknowledge, AcknowledgeAndClose, AcknowledgeTwice, Ignore, TakeAndClose};
        if matches!(reaction, Acknowledge | AcknowledgeAndClose | AcknowledgeTwice | TakeAndClose) {
            let message = (publish.topic.clone(), publish.payload.clone());
            self.shared.taken.send_modify(|taken| taken.push(message));
        }
        if matches!(reaction, Acknowledge | AcknowledgeAndClose | AcknowledgeTwice) {
            self.send(Packet::PubAck(PubAck::new(publish.pkid))).await?;
        }
        if reaction == AcknowledgeTwice {
            self.send(Packet::PubAck(PubAck::new(publish.pkid))).await?;
        }
        matches!(reaction, Acknowledge | AcknowledgeTwice | Ignore).then_some(())
    }

    async fn send(&mut self, mut packet: Packet) -> Option<()> {
        if let Packet::Publish(publish) = &mut packet {
            publish.pkid = 1;
        }
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, LARGEST).unwrap();
        self.stream.write_all(&bytes).await.ok()?;
        self.stream.flush().await.ok()
    }
}

async fn read(stream: &mut TlsStream<TcpStream>, buffer: &mut BytesMut) -> Option<Packet> {
    loop {
        match Packet::read(buffer, LARGEST) {
            Ok(packet) => return Some(packet),
            Err(rumqttc::Error::InsufficientBytes(_)) => {}
            Err(_) => return None,
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn next_injected(injected: &mut Option<broadcast::Receiver<Publish>>) -> Option<Publish> {
    match injected {
        Some(injected) => injected.recv().await.ok(),
        None => std::future::pending().await,
    }
}
