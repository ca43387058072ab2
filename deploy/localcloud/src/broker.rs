//! The MQTT broker: crate `mqtt5` behind a TLS front of our own. The front knows which certificate a connection came
//! with, the doorman turns that into who the client is and what it may do.
//!
//! The broker itself listens on a port of loopback without TLS. Only connections that the front made are let in there:
//! the doorman knows them by their source port, which the front told it before it connected.

mod doorman;
mod front;
mod port;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker, StorageBackendType, StorageConfig};
use rustls::ServerConfig;
use tokio::task::JoinHandle;

pub(crate) use self::doorman::Doorman;

use self::front::Front;
use self::port::ReservedPort;
use crate::error::CloudError;
use crate::jobs::JobsService;
use crate::lock::lock;
use crate::registry::Registry;

/// AWS IoT's limit of an MQTT message is 128 KB; the packet around it has a topic and a few bytes of head.
const MAX_PACKET: usize = 128 * 1024 + 1024;

/// How long a persistent session is kept, as at AWS IoT.
const SESSION_LIFE: Duration = Duration::from_secs(3600);

/// Messages kept for a client that is away.
const MAX_QUEUED_MESSAGES: usize = 10_000;

/// A broker that can be stopped and started on one port.
#[derive(Debug)]
pub(crate) struct Broker {
    port: ReservedPort,
    tls: Arc<ServerConfig>,
    registry: Registry,
    doorman: Arc<Doorman>,
    jobs: JobsService,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Held for its drop, which closes the port and cuts the connections.
    front: Front,
    shutdown: BrokerShutdownHandle,
    broker: JoinHandle<()>,
    jobs: JoinHandle<()>,
}

impl Broker {
    pub(crate) async fn start(
        port: u16,
        tls: Arc<ServerConfig>,
        registry: Registry,
        doorman: Doorman,
        jobs: JobsService,
    ) -> Result<Self, CloudError> {
        let port = ReservedPort::take(port)?;
        let broker = Self { port, tls, registry, doorman: Arc::new(doorman), jobs, running: Mutex::new(None) };
        broker.run().await?;
        Ok(broker)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Starts with no sessions, unless it runs already.
    pub(crate) async fn run(&self) -> Result<(), CloudError> {
        if lock(&self.running).is_some() {
            return Ok(());
        }
        let inner = MqttBroker::with_config(config(self.jobs.clone())).await.map_err(broker_error)?;
        let mut inner = inner.with_auth_provider(Arc::clone(&self.doorman) as Arc<_>);
        let address = inner.local_addr().ok_or_else(|| broker_error(NoAddress))?;
        let shutdown = inner.shutdown_handle();
        let mut ready = inner.ready_receiver();
        let jobs = self.jobs.serve(&inner);
        let broker = tokio::spawn(async move {
            if let Err(error) = inner.run().await {
                tracing::warn!(%error, "the broker ended");
            }
        });
        ready.wait_for(|ready| *ready).await.map_err(broker_error)?;
        let front = Front::start(
            self.port.listen()?,
            address,
            Arc::clone(&self.tls),
            self.registry.clone(),
            Arc::clone(&self.doorman),
        );
        *lock(&self.running) = Some(Running { front, shutdown, broker, jobs });
        Ok(())
    }

    /// Cuts all connections and loses all sessions.
    pub(crate) async fn stop(&self) {
        let Some(Running { front, shutdown, broker, jobs }) = lock(&self.running).take() else {
            return;
        };
        jobs.abort();
        front.close().await;
        shutdown.shutdown();
        let _ = broker.await; // its own panic is in its log already
    }

    pub(crate) fn disconnect_clients(&self) {
        self.doorman.disconnect(|_| true);
    }

    pub(crate) fn disconnect_clients_of(&self, name: &str) {
        self.doorman.disconnect(|principal| principal.name() == name);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            running.jobs.abort();
            running.shutdown.shutdown();
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Running").field("front", &self.front).finish_non_exhaustive()
    }
}

/// The broker gave no address although it listens.
#[derive(Debug, thiserror::Error)]
#[error("it listens on no address")]
struct NoAddress;

fn broker_error(source: impl std::error::Error + Send + Sync + 'static) -> CloudError {
    CloudError::Broker { source: Box::new(source) }
}

fn config(jobs: JobsService) -> BrokerConfig {
    let storage = StorageConfig::new()
        .with_backend(StorageBackendType::Memory)
        .with_max_queued_messages_per_client(MAX_QUEUED_MESSAGES);
    BrokerConfig::new()
        .with_bind_address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
        .with_maximum_qos(1) // AWS IoT has no QoS 2
        .with_max_packet_size(MAX_PACKET)
        .with_session_expiry(SESSION_LIFE)
        .with_sys_topics_enabled(false)
        .with_storage(storage)
        .with_event_handler(Arc::new(jobs))
}
