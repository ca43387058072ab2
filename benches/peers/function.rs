//! A native function that measures its way through the core: built by `functions.py` with `rustc -O`, std only.
//!
//! `serve PORT` answers any HTTP request with nothing: what a round trip over loopback costs by itself. As a function it
//! publishes to itself, by one subscription, and takes its own messages: one after the other for the way of each, then many
//! at once for how many go through in a second. It says on one line what it found, or what did not arrive, and then has
//! the next function begin.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

const SINGLE: usize = 1000;
const ROUNDS: usize = 5;
/// Fewer than the 1024 messages that may wait.
const AT_ONCE: usize = 800;
/// A message that takes longer is lost.
const LONGEST: Duration = Duration::from_secs(10);

/// One kept connection.
struct Http(BufReader<TcpStream>);

impl Http {
    fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the interface listens");
        stream.set_nodelay(true).expect("a socket takes its options");
        Self(BufReader::new(stream))
    }

    /// The value of `wanted` among the headers. Panics where the core refuses, or has closed the connection.
    fn ask(&mut self, head: &str, body: &[u8], wanted: &str) -> String {
        let mut request = format!("{head}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request).expect("the core reads");
        let (mut length, mut value, mut line) = (0, String::new(), String::new());
        self.0.read_line(&mut line).expect("the core answers");
        let status = line.trim_end().to_owned();
        loop {
            line.clear();
            let read = self.0.read_line(&mut line).expect("the core answers");
            assert!(read > 0, "the core closed the connection after {status:?}");
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, text)) = line.split_once(": ") {
                match name.to_ascii_lowercase() {
                    name if name == "content-length" => length = text.parse().expect("a length"),
                    name if name == wanted => value = text.to_owned(),
                    _ => {}
                }
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body");
        assert!(status.starts_with("HTTP/1.1 20"), "{status}: {}", String::from_utf8_lossy(&body));
        value
    }
}

fn serve(port: &str) {
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port is free");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            stream.set_nodelay(true).expect("a socket takes its options");
            let mut stream = BufReader::new(stream);
            let (mut line, mut length) = (String::new(), 0);
            loop {
                line.clear();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = text.trim().parse().unwrap_or(0);
                }
                if line.trim_end().is_empty() {
                    let mut body = vec![0; length];
                    if stream.read_exact(&mut body).is_err() {
                        return;
                    }
                    let _ = stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                    length = 0;
                }
            }
        });
    }
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// What publishes on a topic, and hears what arrives there.
struct Bench {
    core: Http,
    token: String,
    arrivals: Receiver<Instant>,
}

impl Bench {
    /// `context` is the client context, in Base64, which has the topic.
    fn publish(&mut self, context: &str, number: usize) {
        let head = format!(
            "POST /2016-11-01/functions/arn:aws:lambda:::function:GGRouter HTTP/1.1\r\nAuthorization: {}\r\n\
             X-Amz-Client-Context: {context}\r\nX-Amz-Invocation-Type: Event",
            self.token
        );
        self.core.ask(&head, number.to_string().as_bytes(), "");
    }

    fn arrival(&self, what: &str, number: usize) -> Result<Instant, String> {
        self.arrivals.recv_timeout(LONGEST).map_err(|why| format!("{what}, message {number} did not arrive: {why}"))
    }

    /// From before a message is published until it is there again, in microseconds.
    fn way(&mut self, context: &str, number: usize) -> Result<f64, String> {
        let sent = Instant::now();
        self.publish(context, number);
        Ok((self.arrival("one after the other", number)? - sent).as_secs_f64() * 1e6)
    }

    /// Messages a second, of as many as may wait.
    fn rate(&mut self, context: &str) -> Result<f64, String> {
        let began = Instant::now();
        (0..AT_ONCE).for_each(|number| self.publish(context, number));
        let mut last = began;
        for number in 0..AT_ONCE {
            last = self.arrival("at once", number)?;
        }
        Ok(AT_ONCE as f64 / (last - began).as_secs_f64())
    }

    fn measure(&mut self, context: &str) -> Result<String, String> {
        self.way(context, 0)?;
        let mut ways = (0..SINGLE).map(|number| self.way(context, number)).collect::<Result<Vec<_>, _>>()?;
        let mut rates = (0..ROUNDS).map(|_| self.rate(context)).collect::<Result<Vec<_>, _>>()?;
        let [typical, slow] = [50, 99].map(|percent| percentile(&mut ways, percent));
        let [least, middle, most] = [0, 50, 100].map(|percent| percentile(&mut rates, percent));
        Ok(format!(
            "way of a message p50 {typical:.0} us, p99 {slow:.0} us ({SINGLE}); {middle:.0} messages/s \
             ({least:.0} to {most:.0} in {ROUNDS} rounds of {AT_ONCE})"
        ))
    }
}

/// Takes messages and answers them; when each arrived.
fn take(api: &str) -> Receiver<Instant> {
    let (arrived, arrivals) = mpsc::channel();
    let mut http = Http::to(api);
    thread::spawn(move || {
        loop {
            let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
            let id = http.ask(next, b"", "lambda-runtime-aws-request-id");
            let _ = arrived.send(Instant::now());
            http.ask(&format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1"), b"{}", "");
        }
    });
    arrivals
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "serve") {
        return serve(&arguments[2]);
    }
    let api = variable("AWS_LAMBDA_RUNTIME_API");
    let arrivals = take(&api);
    let mut bench = Bench { core: Http::to(&api), token: variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"), arrivals };
    match bench.measure(&variable("CONTEXT")) {
        Ok(found) => println!("result native: {found}"),
        Err(why) => println!("result native: FAILED: {why}"),
    }
    bench.publish(&variable("NEXT"), 0);
    loop {
        thread::park();
    }
}
