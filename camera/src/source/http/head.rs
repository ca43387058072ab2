//! A request for a stream of pictures, and the beginning of the answer (RFC 9112, sections 3 to 6), within bounds.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::chunked::Length;
use super::error::HttpError;
use super::url::HttpUrl;
use crate::clock::Clock;
use crate::source::incoming::Input;

/// No answer's head is longer, in bytes.
const MOST_HEAD: usize = 16 << 10;

/// Characters of a header that are shown.
const SHOWN: usize = 100;

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How the body ends.
    pub(super) length: Length,
}

/// An answer's status and the headers that matter, as they were written.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    status: u16,
    kind: Option<String>,
    location: Option<String>,
    length: Option<u64>,
    chunked: bool,
}

/// Sends the request.
pub(super) fn ask(connection: &OwnedFd, url: &HttpUrl) -> io::Result<()> {
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: margay/{}\r\nAccept: multipart/x-mixed-replace, image/jpeg\r\n\
         Connection: close\r\n\r\n",
        url.target(),
        url.authority(),
        env!("CARGO_PKG_VERSION"),
    );
    // It is shorter than any socket's buffer, and the connection is new: it is taken whole.
    let sent = rustix::io::retry_on_intr(|| rustix::io::write(connection, request.as_bytes()))?;
    if sent < request.len() { Err(io::ErrorKind::WriteZero.into()) } else { Ok(()) }
}

/// Receives the head, and leaves what follows in `input`.
pub(super) fn receive(
    input: &mut impl Input,
    url: &HttpUrl,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<Head, HttpError> {
    let deadline = clock.boottime().saturating_add(patience);
    let mut head = Vec::new();
    loop {
        let left = deadline.saturating_sub(clock.boottime());
        let came = input.wait(left).map_err(|source| HttpError::Reading { url: url.clone(), source })?;
        let held = if came { input.fill_buf().unwrap_or_default() } else { &[] };
        if came && held.is_empty() {
            let why = if head.is_empty() { "it hangs up" } else { "its answer ends early" };
            return Err(HttpError::NotHttp { url: url.clone(), why });
        }
        let (used, whole) = take(held, &mut head);
        input.consume(used);
        if whole {
            return judge(parse(&head).map_err(|why| HttpError::NotHttp { url: url.clone(), why })?, url);
        }
        if head.len() >= MOST_HEAD {
            return Err(HttpError::NotHttp { url: url.clone(), why: "the beginning of its answer has no end" });
        }
        if left.is_zero() {
            return Err(HttpError::Silent { url: url.clone(), seconds: patience.as_secs() });
        }
    }
}

/// Moves bytes into `head` up to the empty line; how many, and whether it came.
fn take(held: &[u8], head: &mut Vec<u8>) -> (usize, bool) {
    for (used, byte) in held.iter().enumerate().take(MOST_HEAD.saturating_sub(head.len())) {
        head.push(*byte);
        // Some cameras end lines by a line feed alone.
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return (used + 1, true);
        }
    }
    (held.len().min(MOST_HEAD), false)
}

fn parse(head: &[u8]) -> Result<Parsed, &'static str> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let (version, rest) = first.split_once(' ').unwrap_or((first, ""));
    if !version.starts_with("HTTP/") && version != "ICY" {
        return Err("its first line is another protocol's");
    }
    let status = rest.trim_start().get(..3).and_then(|status| status.parse().ok());
    let status = status.filter(|status| (100..600).contains(status)).ok_or("its first line has no status")?;
    let mut parsed = Parsed { status, ..Parsed::default() };
    for line in lines.filter_map(|line| line.split_once(':')) {
        let (name, value) = (line.0.trim().to_ascii_lowercase(), line.1.trim());
        let shown = || value.chars().filter(|c| !c.is_control()).take(SHOWN).collect::<String>();
        match name.as_str() {
            "content-type" => parsed.kind = Some(shown()),
            "location" => parsed.location = Some(shown()),
            "content-length" => {
                parsed.length = Some(value.parse().map_err(|_| "its Content-Length is no number")?);
            }
            "transfer-encoding" => {
                let encodings = value.to_ascii_lowercase();
                parsed.chunked = encodings.trim() == "chunked";
                if !parsed.chunked && encodings.trim() != "identity" {
                    return Err("its Transfer-Encoding is another than chunked");
                }
            }
            _ => {}
        }
    }
    Ok(parsed)
}

fn judge(parsed: Parsed, url: &HttpUrl) -> Result<Head, HttpError> {
    let Parsed { status, kind, location, length, chunked } = parsed;
    if status != 200 {
        let advice = match status {
            401 | 403 => {
                "it wants a password, which is not supported: allow reading the stream without one on this network"
                    .to_owned()
            }
            404 => "check the path, which differs from camera to camera".to_owned(),
            300..=399 => format!("it has moved to {}: write that address", location.unwrap_or_default()),
            503 => "it has too many viewers, or is starting: it is tried again".to_owned(),
            _ => "check the camera".to_owned(),
        };
        return Err(HttpError::Status { url: url.clone(), status, advice });
    }
    let kind = kind.unwrap_or_default();
    let lower = kind.to_ascii_lowercase();
    let advice = if lower.starts_with("image/") {
        "it is the address of one picture: write that of the stream"
    } else {
        "write the address of its MJPEG stream, not of its page or of another kind of stream"
    };
    if !lower.starts_with("multipart/") && !lower.starts_with("video/x-motion-jpeg") {
        return Err(HttpError::NotAStream { url: url.clone(), kind, advice });
    }
    let length = if chunked { Length::Chunked } else { length.map_or(Length::UntilTheEnd, Length::Bytes) };
    Ok(Head { length })
}

/// Parses `bytes` as the head of an answer, and judges it.
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut head = Vec::new();
    let (used, whole) = take(bytes, &mut head);
    assert!(used <= bytes.len() && head.len() <= MOST_HEAD, "the bound holds");
    assert!(!whole || head == bytes[..used], "what is taken is what was there");
    if let Ok(parsed) = parse(&head) {
        let url: HttpUrl = "http://camera/".parse().expect("an address");
        if let Err(error) = judge(parsed, &url) {
            assert!(error.to_string().len() < 1000, "an answer is not repeated at length");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(head: &str) -> Result<Head, String> {
        let url: HttpUrl = "http://camera/video".parse().unwrap();
        parse(head.as_bytes()).map_err(str::to_owned).and_then(|parsed| judge(parsed, &url).map_err(|e| e.to_string()))
    }

    #[test]
    fn streams_of_real_cameras_are_accepted() {
        for (head, length) in [
            (
                "HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=boundarydonotcross\r\n\r\n",
                Length::UntilTheEnd,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-type: multipart/x-mixed-replace; boundary=123\r\nTransfer-Encoding: chunked\r\n\r\n",
                Length::Chunked,
            ),
            ("HTTP/1.1 200\nContent-Type:Multipart/X-Mixed-Replace\nContent-Length: 7\n\n", Length::Bytes(7)),
        ] {
            assert_eq!(answer(head), Ok(Head { length }), "{head}");
        }
    }

    #[test]
    fn other_answers_say_what_to_do() {
        for (head, expected) in [
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", "password"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "check the path"),
            ("HTTP/1.1 302 Found\r\nLocation: http://other/\r\n\r\n", "moved to http://other/"),
            ("HTTP/1.1 503 Busy\r\n\r\n", "too many viewers"),
            ("HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n", "one picture"),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", "not of its page"),
            ("HTTP/1.1 200 OK\r\n\r\n", "no stream of JPEG pictures"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "another protocol"),
            ("HTTP/1.1 abc\r\n\r\n", "no status"),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "another than chunked"),
        ] {
            let error = answer(head).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_judged_or_refused(head in "(HTTP/1.1 200 OK\r\n)?([A-Za-z-]{0,20}: ?[ -~]{0,20}\r\n){0,4}(\r\n)?", more in any::<Vec<u8>>()) {
            fuzz(&[head.as_bytes(), &more].concat());
        }
    }
}
