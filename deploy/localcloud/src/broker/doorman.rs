//! Who a connection to the broker is, and what it may do. Follows AWS IoT: identity is the certificate, a SUBSCRIBE
//! that no policy allows is answered with a failure code, and a PUBLISH that none allows closes the connection
//! without an acknowledgement.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use mqtt5::broker::{AuthProvider, AuthResult};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use tokio::sync::watch;

use crate::counters::Counters;
use crate::faults::Faults;
use crate::lock::lock;
use crate::policy::TopicPolicy;
use crate::registry::Principal;

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Decides for the broker.
pub(crate) struct Doorman {
    things: TopicPolicy,
    viewers: TopicPolicy,
    faults: Faults,
    counters: Counters,
    announced: AtomicU64,
    /// By the source address of the front's connection to the broker.
    connections: Arc<Mutex<HashMap<SocketAddr, Connection>>>,
}

#[derive(Debug, Clone)]
struct Connection {
    /// Grows with each connection, so that the newest is known.
    number: u64,
    principal: Principal,
    /// As in CONNECT; empty until then, and where the client leaves the choice to the broker.
    client_id: String,
    stage: watch::Sender<Stage>,
}

/// How far the end of a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The front is to close it.
    CutRequested,
    /// The client's side is closed.
    Closed,
}

/// A connection that the front announced. Its drop says that the client's side is closed.
pub(super) struct Admission {
    source: SocketAddr,
    stage: watch::Sender<Stage>,
    connections: Arc<Mutex<HashMap<SocketAddr, Connection>>>,
}

impl Admission {
    /// Completes when the connection is to be cut.
    pub(super) async fn cut(&self) {
        let mut stage = self.stage.subscribe();
        let _ = stage.wait_for(|stage| *stage != Stage::Open).await; // `self` holds the sender
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        lock(&self.connections).remove(&self.source);
        self.stage.send_replace(Stage::Closed);
    }
}

impl fmt::Debug for Doorman {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Doorman")
            .field("things", &self.things)
            .field("viewers", &self.viewers)
            .finish_non_exhaustive()
    }
}

impl Doorman {
    pub(crate) fn new(things: TopicPolicy, viewers: TopicPolicy, faults: Faults, counters: Counters) -> Self {
        Self { things, viewers, faults, counters, announced: AtomicU64::new(0), connections: Arc::default() }
    }

    /// Lets in the connection that will come from `source`, on behalf of `principal`.
    pub(super) fn announce(&self, source: SocketAddr, principal: Principal) -> Admission {
        let stage = watch::Sender::new(Stage::Open);
        let number = self.announced.fetch_add(1, Ordering::Relaxed);
        let connection = Connection { number, principal, client_id: String::new(), stage: stage.clone() };
        lock(&self.connections).insert(source, connection);
        Admission { source, stage, connections: Arc::clone(&self.connections) }
    }

    pub(super) fn count_stranger(&self) {
        self.counters.add(|served| served.mqtt_strangers += 1);
    }

    pub(super) fn disconnect(&self, whom: impl Fn(&Principal) -> bool) {
        for connection in lock(&self.connections).values().filter(|connection| whom(&connection.principal)) {
            connection.stage.send_if_modified(request_cut);
        }
    }

    /// Who connects from `source` as `client_id`; none if the front did not announce it, or a thing's client ID does
    /// not begin with the thing's name.
    fn admit(&self, source: SocketAddr, client_id: &str) -> Option<String> {
        let mut connections = lock(&self.connections);
        let connection = connections.get_mut(&source)?;
        if let Principal::Thing(thing) = &connection.principal
            && !client_id.starts_with(thing.as_str())
        {
            return None;
        }
        connection.client_id = client_id.to_owned();
        Some(connection.principal.user())
    }

    /// The connection of a client, by the user it was admitted as and its client ID; the newest, because one that was
    /// just taken over may still be there. One whose ID the broker chose is only known by its user.
    fn connection(&self, user: &str, client_id: &str) -> Option<Connection> {
        let connections = lock(&self.connections);
        let newest = |id: &str| {
            let candidates = connections.values().filter(|one| one.principal.user() == user && one.client_id == id);
            candidates.max_by_key(|one| one.number)
        };
        newest(client_id).or_else(|| newest("")).cloned()
    }

    fn policy(&self, principal: &Principal) -> &TopicPolicy {
        match principal {
            Principal::Thing(_) => &self.things,
            Principal::Viewer(_) => &self.viewers,
        }
    }

    async fn decide_publish(&self, connection: Option<Connection>, user: Option<&str>, topic: &str) -> bool {
        let principal = connection.as_ref().map(|connection| connection.principal.clone());
        // A last will is published after its connection is gone.
        let principal = principal.or_else(|| Principal::of_user(user?));
        let allowed = principal.is_some_and(|principal| {
            self.policy(&principal).allows_publish(principal.name(), topic) && !self.faults.refuses_topic(topic)
        });
        if allowed {
            self.counters.add(|served| served.publishes += 1);
            return true;
        }
        self.counters.add(|served| served.publishes_refused += 1);
        let Some(connection) = connection else { return false };
        connection.stage.send_if_modified(request_cut);
        // The broker acknowledges even what it refuses; by then nobody must be there to read it.
        let mut stage = connection.stage.subscribe();
        let _ = stage.wait_for(|stage| *stage == Stage::Closed).await;
        false
    }

    fn decide_subscribe(&self, connection: Option<Connection>, filter: &str) -> bool {
        let allowed = connection.is_some_and(|Connection { principal, .. }| {
            self.policy(&principal).allows_subscribe(principal.name(), filter) && !self.faults.refuses_topic(filter)
        });
        self.counters.add(|served| if allowed { served.subscriptions += 1 } else { served.subscriptions_refused += 1 });
        allowed
    }
}

impl AuthProvider for Doorman {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        source: SocketAddr,
    ) -> Answer<'a, mqtt5::Result<AuthResult>> {
        let result = match self.admit(source, &connect.client_id) {
            Some(user) => {
                self.counters.add(|served| served.mqtt_connections += 1);
                AuthResult::success_with_user(user)
            }
            None => AuthResult::fail(ReasonCode::NotAuthorized),
        };
        Box::pin(std::future::ready(Ok(result)))
    }

    fn authorize_publish<'a>(&'a self, client_id: &str, user_id: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        let connection = user_id.and_then(|user| self.connection(user, client_id));
        Box::pin(self.decide_publish(connection, user_id, topic))
    }

    fn authorize_subscribe<'a>(
        &'a self,
        client_id: &str,
        user_id: Option<&'a str>,
        filter: &'a str,
    ) -> Answer<'a, bool> {
        let connection = user_id.and_then(|user| self.connection(user, client_id));
        Box::pin(std::future::ready(self.decide_subscribe(connection, filter)))
    }
}

/// Moves an open connection on; says whether it did.
fn request_cut(stage: &mut Stage) -> bool {
    let open = *stage == Stage::Open;
    if open {
        *stage = Stage::CutRequested;
    }
    open
}
