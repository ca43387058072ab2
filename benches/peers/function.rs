//! A native function that measures its way through the core: built by `functions.py` with `rustc -O`, std only.
//!
//! `serve PORT` answers any HTTP request with nothing: what a round trip over loopback costs by itself. As a function it
//! publishes to itself, by one subscription, and takes its own messages: 500 one after the other for the way of each, then
//! 800 at once for how many go through in a second; then it asks the core and the bare server in turns.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

const SINGLE: usize = 500;
const AT_ONCE: usize = 800;

/// One kept connection.
struct Http(BufReader<TcpStream>);

impl Http {
    fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the interface listens");
        stream.set_nodelay(true).expect("a socket takes its options");
        Self(BufReader::new(stream))
    }

    /// The value of `wanted` among the headers, and the body.
    fn ask(&mut self, head: &str, body: &[u8], wanted: &str) -> (String, Vec<u8>) {
        let mut request = format!("{head}\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(body);
        self.0.get_mut().write_all(&request).expect("the core reads");
        let (mut length, mut value, mut line) = (0, String::new(), String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("the core answers");
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
        (value, body)
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

fn publish(http: &mut Http, head: &str, number: usize) {
    http.ask(head, number.to_string().as_bytes(), "");
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).is_some_and(|argument| argument == "serve") {
        return serve(&arguments[2]);
    }
    let api = variable("AWS_LAMBDA_RUNTIME_API");
    let (arrived, arrivals) = mpsc::channel();
    let taking = api.clone();
    thread::spawn(move || {
        let mut http = Http::to(&taking);
        loop {
            let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
            let (id, _) = http.ask(next, b"", "lambda-runtime-aws-request-id");
            let _ = arrived.send(Instant::now());
            http.ask(&format!("POST /2018-06-01/runtime/invocation/{id}/response HTTP/1.1"), b"{}", "");
        }
    });
    let (token, context) = (variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"), variable("CONTEXT"));
    let head = format!(
        "POST /2016-11-01/functions/arn:aws:lambda:::function:GGRouter HTTP/1.1\r\nAuthorization: {token}\r\n\
         X-Amz-Client-Context: {context}\r\nX-Amz-Invocation-Type: Event"
    );
    let mut core = Http::to(&api);
    let mut ways: Vec<f64> = (0..SINGLE)
        .map(|number| {
            let sent = Instant::now();
            publish(&mut core, &head, number);
            (arrivals.recv().expect("it arrives") - sent).as_secs_f64() * 1e6
        })
        .collect();
    let began = Instant::now();
    (0..AT_ONCE).for_each(|number| publish(&mut core, &head, number));
    let last = (0..AT_ONCE).map(|_| arrivals.recv().expect("it arrives")).last().expect("some");
    let rate = AT_ONCE as f64 / (last - began).as_secs_f64();
    println!(
        "result native: message path p50 {:.0} us, p99 {:.0} us; {rate:.0} messages/s",
        percentile(&mut ways, 50),
        percentile(&mut ways, 99)
    );
    loop {
        thread::park();
    }
}
