//! `margay credentials`: how the device's temporary credentials stand, and why there are none. Never a secret.

use std::path::PathBuf;
use std::time::Duration;

use super::exit::{Code, Failed, OrFail};
use super::output;
use crate::app::credentials::{CredentialsStatus, FailureStatus, RoleStatus, try_all};
use crate::app::{Services, status};
use crate::config;

/// How long one exchange may take with `--try`: the provider's own limit, and a little.
const PATIENCE: Duration = Duration::from_secs(35);

/// Explain the temporary credentials: last fetch, expiry, what went wrong, the next try and the likely cause.
///
/// Asks the running core. Ends with 0 when every role's credentials are valid, and with 5 when not.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:  margay credentials\n          margay credentials --try     # exchange the certificate now, without a running core"
)]
pub(super) struct Arguments {
    /// The core's config.json
    #[arg(long, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    /// Exchange the certificate now instead of asking the running core
    #[arg(long = "try")]
    now: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failed> {
    let config = super::check::load(&arguments.config)?;
    let credentials = if arguments.now {
        exchange(&config)?
    } else {
        status::ask(&config.directories.status_socket).or_fail(Code::NoCore)?.credentials
    };
    if arguments.json {
        output::json(&credentials).or_fail(Code::Failure)?;
    } else {
        for line in lines(&credentials) {
            output::line(&line).or_fail(Code::Failure)?;
        }
    }
    if credentials.all_valid() { Ok(()) } else { Err(Failed::said(Code::Credentials)) }
}

fn exchange(config: &config::Config) -> Result<CredentialsStatus, Failed> {
    let services = Services::build(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_fail(Code::Failure)?;
    Ok(runtime.block_on(try_all(&services.roles, PATIENCE)))
}

fn lines(credentials: &CredentialsStatus) -> Vec<String> {
    let mut lines = role_lines(&credentials.core);
    for function in credentials.functions.values() {
        lines.push(String::new());
        lines.push(format!("functions    {}", function.functions.join(", ")));
        lines.extend(role_lines(&function.role));
    }
    lines
}

fn role_lines(role: &RoleStatus) -> Vec<String> {
    let mut lines = vec![format!("role alias   {} at {}, thing {}", role.role_alias, role.endpoint, role.thing)];
    lines.push(match (&role.valid_until, role.expires_in_s, &role.access_key_id) {
        (Some(until), Some(left), Some(key)) => format!("credentials  {key}, until {until}, {} left", span(left)),
        _ => "credentials  none".to_owned(),
    });
    lines.push(match &role.last_fetch {
        Some(at) => format!("last fetch   {at}, {} requests, {} of them failed", role.fetches, role.failures),
        None => format!("last fetch   never granted, {} requests, {} of them failed", role.fetches, role.failures),
    });
    if let Some(error) = &role.error {
        lines.extend(failure_lines(role, error));
    }
    lines.push(match role.next_try_in_s {
        _ if role.fetching => "next try     under way".to_owned(),
        Some(wait) => format!("next try     in {}", span(wait)),
        None => "next try     at once".to_owned(),
    });
    lines
}

fn failure_lines(role: &RoleStatus, error: &FailureStatus) -> Vec<String> {
    let mut lines =
        vec![format!("error        {}, at {}", error.class, error.at.as_deref().unwrap_or("an unknown time"))];
    if let Some(status) = error.status {
        let body = error.body.as_deref().map_or_else(String::new, |body| format!(" {body:?}"));
        lines.push(format!("answer       {status}{body}"));
    } else if let Some(failure) = &role.failure {
        lines.push(format!("             {failure}"));
    }
    for (position, cause) in error.likely_causes.iter().enumerate() {
        let label = if position == 0 { "likely cause" } else { "or" };
        lines.push(format!("{label:<12} {}: {}", cause.cause, cause.advice));
    }
    lines
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
