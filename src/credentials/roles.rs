//! Whose credentials are whose: the core's role alias, which every function shares as V1's group role did, and the
//! role aliases that some functions have for themselves.
//!
//! A function never gets another role's credentials because its own cannot be had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{CredentialsProvider, ProviderSettings};
use crate::http::HttpClient;
use crate::name::RoleAlias;

/// The providers of one core, a provider a role alias. Cheap to clone; clones share everything.
#[derive(Debug, Clone)]
pub struct Roles {
    core: CredentialsProvider,
    http: HttpClient,
    functions: Arc<Mutex<Functions>>,
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Functions {
    /// By the function's ARN.
    aliases: BTreeMap<String, RoleAlias>,
    providers: BTreeMap<RoleAlias, CredentialsProvider>,
}

impl Roles {
    /// The core's provider, and one for each other role alias that `functions` (by ARN) name. `http` shows the device's
    /// identity.
    pub fn new(settings: ProviderSettings, functions: BTreeMap<String, RoleAlias>, http: HttpClient) -> Self {
        let core = CredentialsProvider::new(settings.clone(), http.clone());
        let roles = Self { core, http, functions: Arc::default(), changed: Arc::default() };
        roles.assign(&settings, functions);
        roles
    }

    /// The core's own credentials.
    pub fn core(&self) -> &CredentialsProvider {
        &self.core
    }

    /// The credentials of `function`, an ARN as the group writes it.
    pub fn of(&self, function: &str) -> CredentialsProvider {
        let functions = self.functions();
        let own = functions.aliases.get(function).and_then(|alias| functions.providers.get(alias));
        own.unwrap_or(&self.core).clone()
    }

    /// Every provider, the core's first.
    pub fn all(&self) -> Vec<CredentialsProvider> {
        std::iter::once(self.core.clone()).chain(self.functions().providers.values().cloned()).collect()
    }

    /// The functions, by ARN, that have a role alias of their own.
    pub fn functions_with_their_own(&self) -> BTreeMap<String, RoleAlias> {
        self.functions().aliases.clone()
    }

    /// Asks by `settings` from now on, for these `functions`. See [`CredentialsProvider::change`].
    pub fn change(&self, settings: ProviderSettings, functions: BTreeMap<String, RoleAlias>) {
        self.assign(&settings, functions);
        for provider in self.functions().providers.values() {
            provider.change(ProviderSettings { role_alias: provider.settings().role_alias, ..settings.clone() });
        }
        self.core.change(settings);
        self.changed.notify_one();
    }

    /// Forgets the pauses after connection failures: see [`CredentialsProvider::retry_now`].
    pub fn retry_now(&self) {
        for provider in self.all() {
            provider.retry_now();
        }
    }

    /// Keeps all credentials fresh until dropped. Run it as a task of its own, once.
    pub async fn run(&self) {
        loop {
            let mut tasks = JoinSet::new();
            for provider in self.all() {
                tasks.spawn(async move { provider.run().await });
            }
            self.changed.notified().await;
        }
    }

    fn assign(&self, settings: &ProviderSettings, aliases: BTreeMap<String, RoleAlias>) {
        let mut functions = self.functions();
        let provider = |alias: &RoleAlias| {
            let known = functions.providers.get(alias).cloned();
            known.unwrap_or_else(|| {
                let settings = ProviderSettings { role_alias: alias.clone(), ..settings.clone() };
                CredentialsProvider::new(settings, self.http.clone())
            })
        };
        let own = aliases.values().filter(|alias| **alias != settings.role_alias);
        let providers = own.map(|alias| (alias.clone(), provider(alias))).collect();
        *functions = Functions { aliases, providers };
    }

    fn functions(&self) -> MutexGuard<'_, Functions> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::credentials::fixture::{Fixture, settings};

    fn own(function: &str, alias: &str) -> BTreeMap<String, RoleAlias> {
        BTreeMap::from([(function.to_owned(), alias.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_function_with_a_role_alias_of_its_own_gets_that_roles_credentials_or_none() {
        let fixture = Fixture::start().await;
        fixture.cloud.add_role_alias("CounterRole");
        let http = fixture.mutual_tls(Arc::new(SystemClock::new()));
        let roles = Roles::new(settings(&fixture), own("counter", "CounterRole"), http);
        let core = roles.core().get().await.unwrap();
        let counter = roles.of("counter").get().await.unwrap();
        let other = roles.of("another").get().await.unwrap();
        assert_ne!(core.access_key_id, counter.access_key_id);
        assert_eq!(core.access_key_id, other.access_key_id);

        roles.change(settings(&fixture), own("counter", "Unknown"));
        let refused = roles.of("counter").get().await.unwrap_err();
        assert!(refused.to_string().contains("role alias Unknown"), "{refused}");
        assert_eq!(roles.of("another").get().await.unwrap().access_key_id, core.access_key_id);
    }

    #[tokio::test]
    async fn all_roles_are_fetched_before_anybody_asks_and_a_new_one_as_soon_as_it_is_configured() {
        let fixture = Fixture::start().await;
        fixture.cloud.add_role_alias("CounterRole");
        fixture.cloud.add_role_alias("GaugeRole");
        let http = fixture.mutual_tls(Arc::new(SystemClock::new()));
        let roles = Roles::new(settings(&fixture), own("counter", "CounterRole"), http);
        let background = tokio::spawn({
            let roles = roles.clone();
            async move { roles.run().await }
        });
        fixture.cloud.counters().wait_until(|served| served.credentials == 2).await;
        roles.change(settings(&fixture), own("gauge", "GaugeRole"));
        while roles.of("gauge").state().access_key_id.is_none() {
            fixture.cloud.counters().wait_until(|served| served.credentials >= 3).await;
            tokio::task::yield_now().await;
        }
        background.abort();
    }
}
