//! Cameras of the network, played by a thread with a real socket.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use super::*;
use crate::clock::SteppedClock;
use crate::picture::files::jpeg;
use crate::source::{SourceConfig, open};

const SECOND: Duration = Duration::from_secs(1);

/// A camera that reads a request, answers as `play` does, and hangs up.
fn camera(play: impl FnOnce(&mut TcpStream) + Send + 'static) -> SourceConfig {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/video?x=1", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let request: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        assert_eq!(request[0], "GET /video?x=1 HTTP/1.1");
        play(&mut stream);
    });
    SourceConfig::HttpMjpeg(HttpSource { url: url.parse().unwrap(), frames_per_second: 1000.0 })
}

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n";

/// A part as cameras send it.
fn part(picture: &[u8]) -> Vec<u8> {
    let head = format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", picture.len());
    [head.as_bytes(), picture, b"\r\n"].concat()
}

fn error_of(config: &SourceConfig) -> SourceError {
    match open(config) {
        Err(error) => error,
        Ok(mut source) => loop {
            if let Err(error) = source.next(SECOND, &mut Vec::new()) {
                return error;
            }
        },
    }
}

#[test]
fn the_pictures_of_a_stream_are_frames() {
    for chunked in [false, true] {
        let config = camera(move |stream| {
            let more = if chunked { "Transfer-Encoding: chunked\r\n\r\n" } else { "\r\n" };
            stream.write_all(format!("{HEAD}{more}").as_bytes()).unwrap();
            for width in [16, 24, 32] {
                let part = part(&jpeg(width, 8));
                for piece in part.chunks(100) {
                    if chunked {
                        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).unwrap();
                    }
                    stream.write_all(piece).unwrap();
                    stream.write_all(if chunked { b"\r\n" } else { b"" }).unwrap();
                }
            }
            if chunked {
                stream.write_all(b"0\r\n\r\n").unwrap();
            }
        });
        let mut source = open(&config).unwrap();
        let (mut widths, mut bytes) = (Vec::new(), Vec::new());
        let ended = loop {
            match source.next(SECOND, &mut bytes) {
                Ok(Next::Frame(capture)) => {
                    assert_eq!(bytes, jpeg(capture.width.try_into().unwrap(), 8));
                    widths.push(capture.width);
                }
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(widths.first() == Some(&16) && widths.is_sorted(), "{widths:?}");
        assert!(ended.is_retryable() && ended.to_string().ends_with("ended its stream"), "{ended}");
    }
}

#[test]
fn refusals_are_told_with_what_to_do() {
    for (answer, expected) in [
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "password"),
        ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "not of its page"),
        ("", "hangs up"),
        ("HTTP/1.1 200 OK\r\nContent-", "ends early"),
        ("garbage without a line end ", "ends early"),
    ] {
        let config = camera(move |stream| stream.write_all(answer.as_bytes()).unwrap());
        let error = error_of(&config).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_head_without_end_and_a_body_without_pictures_are_refused_within_bounds() {
    let config = camera(|stream| while stream.write_all(b"HTTP/1.1 200 OK, and no end of it").is_ok() {});
    assert!(error_of(&config).to_string().contains("has no end"));
    let config = camera(|stream| {
        let _ = stream.write_all(format!("{HEAD}\r\n").as_bytes());
        while stream.write_all(&[b'x'; 4096]).is_ok() {}
    });
    let error = error_of(&config).to_string();
    assert!(error.contains("without a JPEG picture") && error.contains("begins with \"HTTP/1.1 200"), "{error}");
}

#[test]
fn a_part_that_lies_about_its_length_costs_nothing() {
    let config = camera(|stream| {
        stream.write_all(format!("{HEAD}\r\n").as_bytes()).unwrap();
        let lie = "--other\r\nContent-Length: 99999999999999999999\r\n\r\n";
        stream.write_all(&[lie.as_bytes(), &jpeg(16, 8), lie.as_bytes(), &jpeg(24, 8)].concat()).unwrap();
    });
    let mut source = open(&config).unwrap();
    assert!(matches!(source.next(SECOND, &mut Vec::new()), Ok(Next::Frame(capture)) if capture.width == 16));
}

#[test]
fn a_stream_that_stalls_is_given_up() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let SourceConfig::HttpMjpeg(config) = camera(move |stream| {
        stream.write_all(format!("{HEAD}\r\n").as_bytes()).unwrap();
        stream.write_all(&part(&jpeg(16, 8))).unwrap();
        let _ = held.recv();
    }) else {
        panic!("a camera of the network")
    };
    let clock = Arc::new(SteppedClock::default());
    let connection = connect(&config.url).unwrap().into();
    let mut source = Http::open(&config, connection, clock.clone()).unwrap();
    assert!(matches!(source.next(Duration::ZERO, &mut Vec::new()), Ok(Next::Frame(_))));
    assert!(matches!(source.next(Duration::ZERO, &mut Vec::new()), Ok(Next::Idle)));
    clock.advance(5 * SECOND);
    let error = source.next(Duration::ZERO, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("brought no frame for 5.0 s"), "{error}");
    drop(hold);
}

#[test]
fn nobody_at_the_address_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let source = HttpSource { url: url.parse().unwrap(), frames_per_second: 5.0 };
    let error = open(&SourceConfig::HttpMjpeg(source)).unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("connecting to"), "{error}");
}
