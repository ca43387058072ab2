//! What the cloud has served so far. Tests wait on these numbers instead of sleeping.

use tokio::sync::watch;

/// Sums since the cloud started. Each only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests to the credentials provider answered with credentials.
    pub credentials: u64,
    /// Requests to the credentials provider answered with anything else, faults included.
    pub credentials_refused: u64,
    /// S3 requests answered with 200, 206 or 304.
    pub s3: u64,
    /// S3 requests answered with an error, faults included.
    pub s3_refused: u64,
    /// Bytes of object bodies handed to clients.
    pub s3_bytes: u64,
    /// MQTT connections that were accepted (CONNACK success).
    pub mqtt_connections: u64,
    /// Certificates that the authority issued but that are not registered, turned away by the broker.
    pub mqtt_strangers: u64,
    /// PUBLISH packets that passed the policy, before their acknowledgement.
    pub publishes: u64,
    /// PUBLISH packets that the policy refused.
    pub publishes_refused: u64,
    /// Topic filters granted.
    pub subscriptions: u64,
    /// Topic filters refused.
    pub subscriptions_refused: u64,
}

/// A handle on the sums; clones count together.
#[derive(Debug, Clone)]
pub struct Counters {
    served: watch::Sender<Served>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { served: watch::Sender::new(Served::default()) }
    }
}

impl Counters {
    /// The sums as they stand.
    pub fn served(&self) -> Served {
        *self.served.borrow()
    }

    /// Waits until `reached` holds, and gives the sums of that moment. Cancel safe. It has no time limit of its own.
    pub async fn wait_until(&self, mut reached: impl FnMut(&Served) -> bool) -> Served {
        let mut receiver = self.served.subscribe();
        match receiver.wait_for(|served| reached(served)).await {
            Ok(served) => *served,
            Err(_) => self.served(), // unreachable: `self` holds the sender
        }
    }

    /// Adds by `change`, and wakes whoever waits.
    pub(crate) fn add(&self, change: impl FnOnce(&mut Served)) {
        self.served.send_modify(change);
    }
}
