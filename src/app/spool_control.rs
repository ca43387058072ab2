//! The socket on which `margay spool` asks a running core for what waits, or to give it up. Only the core's own user
//! may open it. One request a connection, one line of JSON; one answer.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::config::Config;
use crate::mqtt::link::Link;
use crate::mqtt::spool::SpoolListing;

/// How long either side waits for the other.
const TIMEOUT: Duration = Duration::from_secs(5);

/// No request is longer, in bytes.
const MAX_REQUEST: u64 = 64;

/// No answer is longer, in bytes: a thousand topics.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What waits.
    Show,
    /// To give up what is queued.
    Clear,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Show`].
    Listing(SpoolListing),
    /// To [`Request::Clear`]: how many messages went.
    Cleared(u64),
}

/// Where the socket is: beside the status socket.
pub fn path(config: &Config) -> PathBuf {
    config.directories.status_socket.with_file_name("spool.sock")
}

/// Answers on `path` without end; a socket that cannot be made costs only `margay spool`.
pub(super) async fn serve(path: PathBuf, link: Link) {
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "`margay spool` cannot ask this core");
            return std::future::pending().await;
        }
    };
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let _ = tokio::time::timeout(TIMEOUT, answer(connection, &link)).await;
    }
}

/// Whoever has the status socket is the only core here: a socket that lies there is left over.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer(connection: UnixStream, link: &Link) -> io::Result<()> {
    let mut request = String::new();
    let (reading, mut writing) = connection.into_split();
    BufReader::new(reading.take(MAX_REQUEST)).read_line(&mut request).await?;
    let request = serde_json::from_str(&request)?;
    let link = link.clone();
    let answer = tokio::task::spawn_blocking(move || match request {
        Request::Show => Answer::Listing(link.spool_listing()),
        Request::Clear => Answer::Cleared(link.clear_spool()),
    });
    let answer = answer.await.map_err(io::Error::other)?;
    writing.write_all(&serde_json::to_vec(&answer)?).await
}

/// Asks the core behind `path`. `None` where no core answers.
///
/// # Errors
/// What the system said: the socket is not this user's, or the core did not answer in time.
pub fn ask(path: &Path, request: Request) -> io::Result<Option<Answer>> {
    let mut connection = match BlockingUnixStream::connect(path) {
        Ok(connection) => connection,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    connection.write_all(&[&serde_json::to_vec(&request)?, b"\n".as_slice()].concat())?;
    let mut answer = Vec::new();
    connection.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(Some(serde_json::from_slice(&answer)?))
}
