//! `GET /metrics` on 127.0.0.1. There is no token: the numbers are for whoever may run programs on this machine, and
//! hold no secret. Only a request under our own name is answered, so that no web page reads them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::super::report::Report;
use crate::causes::explain;
use crate::config::Config;
use crate::http::listener::BoundedListener;
use crate::http::loopback;
use crate::metrics::CONTENT_TYPE as TEXT_FORMAT;

/// Numbers are gathered at most this often, however many ask.
const FRESH_FOR: Duration = Duration::from_millis(200);

/// The only path.
const PATH: &str = "/metrics";

/// The endpoint, where the configuration asks for one.
#[derive(Debug, Default)]
pub(in crate::app) struct Endpoint {
    listener: Option<(TcpListener, u16)>,
    failure: Option<String>,
}

struct Served {
    report: Arc<Report>,
    port: u16,
    /// The last text, and when it was gathered on CLOCK_BOOTTIME.
    last: Mutex<Option<(Duration, String)>>,
}

impl Endpoint {
    /// Binds the port. Where that fails the core runs without: any user of this machine could take the port first.
    pub(in crate::app) async fn bind(config: &Config) -> Self {
        let Some(metrics) = config.metrics else { return Self::default() };
        let bound = async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, metrics.port)).await?;
            let port = listener.local_addr()?.port();
            Ok::<_, std::io::Error>((listener, port))
        };
        match bound.await {
            Ok(bound) => Self { listener: Some(bound), failure: None },
            Err(error) => {
                let why = format!(
                    "listening for metrics on 127.0.0.1:{}: {}; choose another margay.metrics.port, or 0 for any",
                    metrics.port,
                    explain(&error)
                );
                tracing::error!(why, "no metrics are served before the next start");
                Self { listener: None, failure: Some(format!("no metrics are served before the next start: {why}")) }
            }
        }
    }

    /// Why there are no metrics although there should be.
    pub(in crate::app) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    /// Where they are.
    pub(in crate::app) fn url(&self) -> Option<String> {
        self.listener.as_ref().map(|(_, port)| format!("http://127.0.0.1:{port}{PATH}"))
    }

    /// Serves them.
    pub(in crate::app) fn start(self, tasks: &mut JoinSet<()>, report: Arc<Report>) {
        let Some((listener, port)) = self.listener else { return };
        tracing::info!(port, "metrics are served on 127.0.0.1");
        let served = Arc::new(Served { report, port, last: Mutex::new(None) });
        let router = axum::Router::new().fallback(answer).with_state(served);
        tasks.spawn(async move {
            if let Err(error) = axum::serve(BoundedListener::new(listener), router).await {
                tracing::error!(%error, "metrics are not served any more");
            }
        });
    }
}

async fn answer(State(served): State<Arc<Served>>, request: Request) -> Response {
    if let Err((status, why)) = check(request.method(), request.uri().path(), request.headers(), served.port) {
        return plain(status, why.to_owned());
    }
    let text = served.text().await;
    plain(StatusCode::OK, if request.method() == Method::HEAD { String::new() } else { text })
}

fn check(method: &Method, path: &str, headers: &HeaderMap, port: u16) -> Result<(), (StatusCode, &'static str)> {
    if !loopback::is_asked_for(headers, port) {
        return Err((StatusCode::MISDIRECTED_REQUEST, "metrics are served as 127.0.0.1 and localhost only\n"));
    }
    if method != Method::GET && method != Method::HEAD {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served\n"));
    }
    if path != PATH {
        return Err((StatusCode::NOT_FOUND, "only /metrics is served\n"));
    }
    Ok(())
}

fn plain(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(TEXT_FORMAT));
    headers.insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, http::HeaderValue::from_static("GET, HEAD"));
    }
    response
}

impl Served {
    async fn text(&self) -> String {
        // Whoever comes while the numbers are gathered waits for them.
        let mut last = self.last.lock().await;
        let now = self.report.services.clock.boottime();
        match &*last {
            Some((gathered, text)) if now.saturating_sub(*gathered) < FRESH_FOR => text.clone(),
            _ => {
                let text = super::gather(self.report.clone()).await;
                *last = Some((now, text.clone()));
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    #[test]
    fn only_a_get_of_metrics_under_our_own_name_is_answered() {
        let asked = |method: Method, path: &str, host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            check(&method, path, &headers, 9810).map_err(|(status, _)| status.as_u16())
        };
        assert_eq!(asked(Method::GET, "/metrics", "127.0.0.1:9810"), Ok(()));
        assert_eq!(asked(Method::HEAD, "/metrics", "localhost:9810"), Ok(()));
        assert_eq!(asked(Method::GET, "/", "localhost:9810"), Err(404));
        assert_eq!(asked(Method::POST, "/metrics", "localhost:9810"), Err(405));
        for host in ["evil.example", "evil.example:9810", "127.0.0.1", "localhost:9811"] {
            assert_eq!(asked(Method::GET, "/metrics", host), Err(421), "{host}");
        }
    }
}
