//! The client of the AWS IoT credentials provider: one fetch at a time, ahead of expiry, and pauses after refusals.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{HeaderValue, Method};
use reqwest::Request;
use time::OffsetDateTime;
use tokio::sync::{Notify, watch};

use super::Credentials;
use super::answer::{self, MAX_DOCUMENT};
use super::error::{CredentialsError, Refusal};
use super::state::{Change, Decision, State};
use crate::clock::Clock;
use crate::config::CredentialRetry;
use crate::http::{HttpClient, date, read_body};
use crate::name::{Endpoint, RoleAlias, ThingName};

/// The whole exchange, connection included; beyond this the provider counts as unreachable.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that was cut is tried once more after a part of this, so that a fleet whose server restarted does not
/// come back at one moment.
const RETRY_JITTER: Duration = Duration::from_millis(200);

/// The longest life that credentials are believed to have: AWS grants at most twelve hours.
const MAX_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// How long the background task sleeps at most before it looks at the clock again. Timers of the runtime do not count
/// suspension (CLOCK_MONOTONIC), so a device that slept notices within this time.
const MAX_NAP: Duration = Duration::from_secs(30);

/// What to ask for, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// The iot:CredentialProvider endpoint, `<prefix>.credentials.iot.<region>.amazonaws.com`; port 443 by default.
    pub endpoint: Endpoint,
    /// The role alias to assume.
    pub role_alias: RoleAlias,
    /// The thing that the device certificate is attached to (header `x-amzn-iot-thingname`).
    pub thing: ThingName,
    /// Pauses after refusals.
    pub retry: CredentialRetry,
}

/// The state of the credentials, for `margay status` and metrics. Holds no secret.
#[derive(Debug, Clone)]
pub struct ProviderState {
    /// The id of the access key held, if one is held and valid.
    pub access_key_id: Option<String>,
    /// The end of its life, as the provider wrote it.
    pub expiration: Option<OffsetDateTime>,
    /// How long it still lives.
    pub expires_in: Option<Duration>,
    /// When credentials were last granted.
    pub last_fetch: Option<OffsetDateTime>,
    /// Why the last fetch failed; none after a success.
    pub error: Option<CredentialsError>,
    /// When it failed.
    pub failed: Option<OffsetDateTime>,
    /// Whether the provider is being asked at this moment.
    pub fetching: bool,
    /// When the provider will be asked again.
    pub next_try_in: Option<Duration>,
    /// Requests made.
    pub fetches: u64,
    /// Requests that did not bring credentials.
    pub failures: u64,
    /// The same by [`CredentialsError::class`].
    pub failures_by_class: BTreeMap<&'static str, u64>,
}

/// The credentials of one role alias. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct CredentialsProvider {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Mutex<ProviderSettings>,
    http: HttpClient,
    state: Mutex<State>,
    /// Wakes the background task when the state changed under it.
    changed: Notify,
}

impl CredentialsProvider {
    /// Asks nothing yet. `http` must show the device's identity.
    pub fn new(settings: ProviderSettings, http: HttpClient) -> Self {
        let state = Mutex::new(State::new(settings.retry));
        let shared = Shared { settings: Mutex::new(settings), http, state, changed: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// What is asked for, and where.
    pub fn settings(&self) -> ProviderSettings {
        self.shared.settings()
    }

    /// Asks by `settings` from now on, with whatever identity the HTTP client shows now, and forgets every refusal.
    /// Credentials of another role, thing or provider are dropped; those that would be fetched again are served until
    /// they have been renewed.
    pub fn change(&self, settings: ProviderSettings) {
        let mut current = self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let asks_the_same = (&current.endpoint, &current.role_alias, &current.thing)
            == (&settings.endpoint, &settings.role_alias, &settings.thing);
        let change = if asks_the_same { Change::Identity } else { Change::Role };
        self.shared.state().changed(change, settings.retry);
        *current = settings;
        drop(current);
        self.shared.changed.notify_one();
    }

    /// Credentials that are valid now: the held ones, or new ones. Callers that come while a fetch is under way wait
    /// for it; dropping the call does not interrupt the fetch.
    ///
    /// # Errors
    /// When none are held and the provider gives none, or gave none a moment ago and is being left alone.
    pub async fn get(&self) -> Result<Credentials, CredentialsError> {
        loop {
            let decision = self.shared.state().decide(self.shared.boottime());
            let mut landing = match decision {
                Decision::Serve(credentials) => return Ok(credentials),
                Decision::Refuse(error) => return Err(error),
                Decision::Wait(landing) => landing,
                Decision::Fetch => self.take_off(),
            };
            // The sender sends nothing: it is dropped when the fetch has landed.
            let _ = landing.changed().await;
        }
    }

    /// Credentials other than `refused`, which a service did not accept although they have not expired; the same once
    /// more if the provider gives no others. Whoever asks by [`CredentialsProvider::get`] is served `refused` until then.
    ///
    /// # Errors
    /// As for [`CredentialsProvider::get`].
    pub async fn get_other_than(&self, refused: &Credentials) -> Result<Credentials, CredentialsError> {
        let decide = || self.shared.state().decide_other_than(&refused.access_key_id, self.shared.boottime());
        let mut landing = match decide() {
            Decision::Serve(credentials) => return Ok(credentials),
            Decision::Refuse(error) => return Err(error),
            Decision::Wait(landing) => landing,
            Decision::Fetch => self.take_off(),
        };
        // The sender sends nothing: it is dropped when the fetch has landed.
        let _ = landing.changed().await;
        match decide() {
            Decision::Refuse(error) => Err(error),
            _ => self.get().await,
        }
    }

    /// Forgets the pause after connection failures: something else has just found the network working.
    pub fn retry_now(&self) {
        self.shared.state().forget_connection_failure();
        self.shared.changed.notify_one();
    }

    /// What `margay status` shows.
    pub fn state(&self) -> ProviderState {
        self.shared.state().describe(self.shared.boottime())
    }

    /// The clock that expiry is counted on.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.shared.http.clock()
    }

    /// Fetches at once and then ahead of every expiry, until dropped. Run it as a task of its own, once.
    pub async fn run(&self) {
        loop {
            let due = self.shared.state().due();
            let boottime = self.shared.boottime();
            if boottime < due {
                let nap = (due - boottime).min(MAX_NAP);
                // Either way the state is looked at again.
                let _ = tokio::time::timeout(nap, self.shared.changed.notified()).await;
                continue;
            }
            let mut landing = self.take_off();
            let _ = landing.changed().await;
        }
    }

    /// Starts a fetch, or joins the one under way; the receiver closes when it has landed.
    fn take_off(&self) -> watch::Receiver<()> {
        let mut state = self.shared.state();
        if let Some(landing) = state.under_way() {
            return landing;
        }
        let (aloft, landing) = watch::channel(());
        let epoch = state.took_off(landing.clone());
        drop(state);
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let settings = shared.settings();
            let mut outcome = shared.fetch(&settings).await;
            if outcome.as_ref().is_err_and(CredentialsError::is_interruption) {
                tokio::time::sleep(RETRY_JITTER.mul_f64(fastrand::f64())).await;
                outcome = shared.fetch(&settings).await;
            }
            shared.land(epoch, settings.role_alias.as_str(), outcome);
            drop(aloft);
        });
        landing
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> ProviderSettings {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn boottime(&self) -> Duration {
        self.http.clock().boottime()
    }

    fn land(&self, epoch: u64, role_alias: &str, outcome: Result<Credentials, CredentialsError>) {
        let clock = self.http.clock();
        match &outcome {
            Ok(credentials) => {
                tracing::info!(role_alias, access_key_id = credentials.access_key_id, expiration = %credentials.expiration, "credentials granted");
            }
            Err(error) => {
                tracing::warn!(role_alias, class = error.class(), error = error as &dyn Error, "no credentials");
            }
        }
        self.state().landed(epoch, outcome, (clock.boottime(), clock.now()));
        self.changed.notify_one();
    }

    async fn fetch(&self, settings: &ProviderSettings) -> Result<Credentials, CredentialsError> {
        let role_alias = || settings.role_alias.to_string();
        // Counting the lifetime from before the request makes an early end of a slow answer's delay, never a late one.
        let asked_at = self.boottime();
        let response = self
            .http
            .send(request(settings)?)
            .await
            .map_err(|source| CredentialsError::Unreachable { role_alias: role_alias(), source })?;
        let date = date(&response).unwrap_or_else(|| self.http.clock().now());
        let status = response.status().as_u16();
        let body = read_body(response, MAX_DOCUMENT).await;
        if status != 200 {
            let message = body.ok().and_then(|body| answer::message(&body));
            let refusal = Refusal { status, message };
            let thing = settings.thing.to_string();
            return Err(CredentialsError::Refused { role_alias: role_alias(), thing, refusal });
        }
        let body = body.map_err(|source| CredentialsError::Body { role_alias: role_alias(), source })?;
        let granted = answer::granted(&body).map_err(|problem| malformed(settings, problem))?;
        let expiration = granted.expiration;
        let lifetime = Duration::try_from(expiration - date)
            .ok()
            .filter(|lifetime| !lifetime.is_zero())
            .ok_or_else(|| CredentialsError::AlreadyExpired { role_alias: role_alias(), expiration, date })?;
        Ok(Credentials {
            access_key_id: granted.access_key_id,
            secret_access_key: granted.secret_access_key,
            session_token: granted.session_token,
            expiration,
            expires_at: asked_at + lifetime.min(MAX_LIFETIME),
        })
    }
}

fn request(settings: &ProviderSettings) -> Result<Request, CredentialsError> {
    let ProviderSettings { endpoint, role_alias, thing, .. } = settings;
    let url = format!("https://{endpoint}/role-aliases/{role_alias}/credentials");
    let url = url.parse().map_err(|_| malformed(settings, "its endpoint does not make a URL"))?;
    let thing = HeaderValue::from_str(thing.as_str())
        .map_err(|_| malformed(settings, "its thing name does not fit a header"))?;
    let mut request = Request::new(Method::GET, url);
    request.headers_mut().insert("x-amzn-iot-thingname", thing);
    *request.timeout_mut() = Some(TOTAL_TIMEOUT);
    Ok(request)
}

fn malformed(settings: &ProviderSettings, problem: &'static str) -> CredentialsError {
    CredentialsError::Malformed {
        role_alias: settings.role_alias.to_string(),
        endpoint: settings.endpoint.to_string(),
        problem,
    }
}
