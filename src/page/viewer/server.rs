//! Connections of browsers: bounded in number, in the size of a request and in time.
//!
//! Whoever may open a socket on this machine may connect; only who shows the token is known. Where there are as many
//! connections as there may be, the oldest stranger makes room for the next comer, so that strangers who say nothing
//! keep nobody out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::gate::Gate;
use super::{Shown, answers};

/// The most connections at a time; a browser opens six.
const MAX_CONNECTIONS: usize = 32;

/// How long a connection lives at most; a browser opens another.
const LIFE: Duration = Duration::from_secs(600);

/// How long a browser may take to say what it wants.
const HEADERS_WITHIN: Duration = Duration::from_secs(5);

/// The largest head of a request, in bytes; hyper asks for at least 8 KiB.
const MAX_HEAD: usize = 16 * 1024;

/// Header fields of a request; browsers send some 20.
const MAX_FIELDS: usize = 64;

/// Rest after a connection could not be accepted: for want of descriptors, the next could not be either.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// An open connection.
struct Guest {
    /// Whether it has shown the token.
    known: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Serves until dropped.
pub(super) async fn serve(listener: TcpListener, gate: Arc<Gate>, shown: Arc<Shown>) {
    let mut guests = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_REST).await;
            continue;
        };
        make_room(&mut guests);
        let known = Arc::new(AtomicBool::new(false));
        let (gate, shown, flag) = (gate.clone(), shown.clone(), known.clone());
        let task = tokio::spawn(async move {
            // However it ends, it ends.
            let _ = tokio::time::timeout(LIFE, converse(stream, gate, shown, flag)).await;
        });
        guests.push_back(Guest { known, task: task.abort_handle() });
    }
}

/// Forgets connections that have ended, and ends one if there are still too many: the oldest of a stranger, or the
/// oldest of all.
fn make_room(guests: &mut VecDeque<Guest>) {
    guests.retain(|guest| !guest.task.is_finished());
    if guests.len() < MAX_CONNECTIONS {
        return;
    }
    let stranger = guests.iter().position(|guest| !guest.known.load(Ordering::Relaxed));
    if let Some(guest) = guests.remove(stranger.unwrap_or(0)) {
        guest.task.abort();
    }
}

async fn converse(stream: TcpStream, gate: Arc<Gate>, shown: Arc<Shown>, known: Arc<AtomicBool>) {
    // A browser that is gone is noticed by the next write.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let (gate, shown, known) = (gate.clone(), shown.clone(), known.clone());
        async move { Ok::<_, Infallible>(respond(&gate, &shown, &known, &request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks off is the browser's affair.
    let _ = connection.await;
}

async fn respond(gate: &Gate, shown: &Shown, known: &AtomicBool, request: &Request<Incoming>) -> Response<Body> {
    let response = match gate.admit(request.method(), request.uri(), request.headers()) {
        Ok(admitted) => {
            known.store(true, Ordering::Relaxed);
            answers::answer(shown, request.uri(), admitted).await
        }
        Err(refusal) => answers::refusal(&refusal),
    };
    answers::without_body(request.method(), response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(known: bool) -> (Guest, tokio::task::JoinHandle<()>) {
        let task = tokio::spawn(std::future::pending());
        (Guest { known: Arc::new(AtomicBool::new(known)), task: task.abort_handle() }, task)
    }

    #[test]
    fn the_oldest_stranger_makes_room_and_a_known_guest_only_where_all_are() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut tasks = Vec::new();
            let mut guests = VecDeque::new();
            for number in 0..MAX_CONNECTIONS {
                let (guest, task) = guest(number < 2);
                guests.push_back(guest);
                tasks.push(task);
            }
            make_room(&mut guests);
            assert_eq!(guests.len(), MAX_CONNECTIONS - 1);
            assert!((&mut tasks[2]).await.unwrap_err().is_cancelled());
            assert!(!tasks[0].is_finished() && !tasks[1].is_finished());

            guests.iter().for_each(|guest| guest.known.store(true, Ordering::Relaxed));
            guests.push_back(guest(true).0);
            make_room(&mut guests);
            assert!((&mut tasks[0]).await.unwrap_err().is_cancelled());
        });
    }
}
