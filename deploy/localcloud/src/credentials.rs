//! The AWS IoT credentials provider: `GET /role-aliases/{alias}/credentials` on mutual TLS gives the certificate's
//! thing temporary credentials. Anything it does not like is a 403, with a message in JSON.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Json, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use time::format_description::well_known::Rfc3339;

use crate::counters::Counters;
use crate::endpoint::Peer;
use crate::faults::{CredentialsFault, Faults};
use crate::issued::{IssuedCredential, IssuedCredentials};
use crate::lock::lock;
use crate::registry::{Principal, Registry};

const THING_HEADER: &str = "x-amzn-iot-thingname";

/// What the provider works with; clones are the same provider.
#[derive(Debug, Clone)]
pub(crate) struct CredentialsProvider {
    pub(crate) role_aliases: Arc<Mutex<Vec<String>>>,
    pub(crate) lifetime: Arc<Mutex<Duration>>,
    pub(crate) registry: Registry,
    pub(crate) issued: IssuedCredentials,
    pub(crate) faults: Faults,
    pub(crate) counters: Counters,
}

/// Why no credentials were given, in the words AWS uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Unknown alias, or a certificate that is not registered, or one without a thing.
    AccessDenied,
    /// The header names a thing that the certificate is not attached to.
    InvalidThingName,
}

impl CredentialsProvider {
    pub(crate) fn router(self) -> Router {
        Router::new().route("/role-aliases/{alias}/credentials", get(answer)).with_state(self)
    }

    fn decide(&self, alias: &str, peer: &Peer, headers: &HeaderMap) -> Result<(), Refusal> {
        let principal = peer.0.as_ref().and_then(|certificate| self.registry.principal(certificate));
        let Some(Principal::Thing(thing)) = principal else {
            return Err(Refusal::AccessDenied);
        };
        // AWS demands the header only where a policy uses thing attributes; a wrong one is refused always.
        if headers.get(THING_HEADER).is_some_and(|named| named.as_bytes() != thing.as_bytes()) {
            return Err(Refusal::InvalidThingName);
        }
        if !lock(&self.role_aliases).iter().any(|known| known == alias) {
            return Err(Refusal::AccessDenied);
        }
        Ok(())
    }

    fn grant(&self) -> Response {
        let lifetime = *lock(&self.lifetime);
        match self.issued.issue(self.faults.now(), lifetime) {
            Ok(credential) => Json(document(&credential)).into_response(),
            Err(_) => message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }
}

async fn answer(
    State(provider): State<CredentialsProvider>,
    Path(alias): Path<String>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let response = match provider.faults.take_credentials() {
        Some(fault) => misbehave(fault).await,
        None => match provider.decide(&alias, &peer, &headers) {
            Ok(()) => {
                provider.counters.add(|served| served.credentials += 1);
                return provider.grant();
            }
            Err(Refusal::AccessDenied) => message(StatusCode::FORBIDDEN, "Access Denied"),
            Err(Refusal::InvalidThingName) => message(StatusCode::FORBIDDEN, "Invalid thing name passed"),
        },
    };
    provider.counters.add(|served| served.credentials_refused += 1);
    response
}

async fn misbehave(fault: CredentialsFault) -> Response {
    match fault {
        CredentialsFault::Status(code) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            message(status, status.canonical_reason().unwrap_or("Error"))
        }
        CredentialsFault::Hang => std::future::pending().await,
        CredentialsFault::Garbage => "<html>not what was asked for".into_response(),
    }
}

fn document(credential: &IssuedCredential) -> serde_json::Value {
    let expiration = credential.expires.format(&Rfc3339).expect("a year of four digits has an RFC 3339 form");
    json!({ "credentials": {
        "accessKeyId": credential.access_key_id,
        "secretAccessKey": credential.secret_access_key,
        "sessionToken": credential.session_token,
        "expiration": expiration,
    }})
}

fn message(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "message": text }))).into_response()
}
