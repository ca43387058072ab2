//! The temporary credentials as `margay credentials` and `margay status` explain them: since when, until when, what went
//! wrong, when the provider is asked again, and what most likely has to be done. Never a secret.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::causes::explain;
use crate::credentials::diagnosis::likely_causes;
use crate::credentials::{CredentialsProvider, Roles};
use crate::payload;

/// The credentials of the core's role alias, and of the functions that have one of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsStatus {
    /// The core's.
    #[serde(flatten)]
    pub core: RoleStatus,
    /// By role alias, those that only some functions have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, FunctionRoleStatus>,
}

/// The credentials of one role alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleStatus {
    /// The credentials provider, `host` or `host:port`.
    pub endpoint: String,
    /// The role alias.
    pub role_alias: String,
    /// The thing that is named in requests.
    pub thing: String,
    /// The id of the key held, which stands in every signed request.
    pub access_key_id: Option<String>,
    /// Until when the credentials hold, RFC 3339; `None` while there are none.
    pub valid_until: Option<String>,
    /// The same from now, in seconds.
    pub expires_in_s: Option<u64>,
    /// When credentials were last granted, RFC 3339.
    pub last_fetch: Option<String>,
    /// Whether the provider is being asked now.
    pub fetching: bool,
    /// Seconds until the provider is asked again by itself: a renewal, or another try.
    pub next_try_in_s: Option<u64>,
    /// Requests made.
    pub fetches: u64,
    /// Requests that did not bring credentials.
    pub failures: u64,
    /// Why the last request failed, with its causes; `None` after a success.
    pub failure: Option<String>,
    /// The same, taken apart.
    pub error: Option<FailureStatus>,
}

/// The last failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// When, RFC 3339.
    pub at: Option<String>,
    /// The class, as the token exchange endpoint's `code` names it.
    pub class: String,
    /// The HTTP status, if the provider answered.
    pub status: Option<u16>,
    /// The provider's words, shortened.
    pub body: Option<String>,
    /// What it most likely is, likeliest first.
    pub likely_causes: Vec<LikelyCause>,
}

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LikelyCause {
    /// Its name.
    pub cause: String,
    /// What it means and what to do.
    pub advice: String,
}

/// The credentials of some functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionRoleStatus {
    /// Whose, by ARN.
    pub functions: Vec<String>,
    /// How they stand.
    #[serde(flatten)]
    pub role: RoleStatus,
}

impl CredentialsStatus {
    /// How the credentials of `roles` stand now.
    pub fn of(roles: &Roles) -> Self {
        let mut functions: BTreeMap<String, FunctionRoleStatus> = BTreeMap::new();
        let core = RoleStatus::of(roles.core());
        for (function, alias) in roles.functions_with_their_own() {
            if alias.as_str() == core.role_alias {
                continue;
            }
            let entry = functions.entry(alias.to_string()).or_insert_with(|| FunctionRoleStatus {
                functions: Vec::new(),
                role: RoleStatus::of(&roles.of(&function)),
            });
            entry.functions.push(function);
        }
        Self { core, functions }
    }

    /// Whether every role's credentials are valid now.
    pub fn all_valid(&self) -> bool {
        let functions = self.functions.values().map(|function| &function.role);
        std::iter::once(&self.core).chain(functions).all(|role| role.valid_until.is_some())
    }
}

impl RoleStatus {
    fn of(provider: &CredentialsProvider) -> Self {
        let settings = provider.settings();
        let state = provider.state();
        let error = state.error.as_ref().map(|error| FailureStatus {
            at: state.failed.map(payload::timestamp),
            class: error.class().to_owned(),
            status: error.refusal().map(|refusal| refusal.status),
            body: error.refusal().and_then(|refusal| refusal.message.clone()),
            likely_causes: likely_causes(error, provider.clock().as_ref())
                .into_iter()
                .map(|cause| LikelyCause { cause: cause.name().to_owned(), advice: cause.advice().to_owned() })
                .collect(),
        });
        Self {
            endpoint: settings.endpoint.to_string(),
            role_alias: settings.role_alias.to_string(),
            thing: settings.thing.to_string(),
            access_key_id: state.access_key_id,
            valid_until: state.expiration.map(payload::timestamp),
            expires_in_s: state.expires_in.map(|left| left.as_secs()),
            last_fetch: state.last_fetch.map(payload::timestamp),
            fetching: state.fetching,
            next_try_in_s: state.next_try_in.map(|wait| wait.as_secs()),
            fetches: state.fetches,
            failures: state.failures,
            failure: state.error.as_ref().map(|error| explain(error)),
            error,
        }
    }
}

/// Asks the provider for the credentials of every role of `roles`, one after the other, at most `patience` each, and
/// tells how they stand then.
pub async fn try_all(roles: &Roles, patience: Duration) -> CredentialsStatus {
    for provider in roles.all() {
        // What came of it stands in the provider's state.
        let _ = tokio::time::timeout(patience, provider.get()).await;
    }
    CredentialsStatus::of(roles)
}
