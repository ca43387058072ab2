//! What a server on loopback must check before anything else: that it is asked under its own name. A page of another
//! site may point its own host name at 127.0.0.1 (DNS rebinding), and would be let in by a browser.

use http::HeaderMap;
use http::header::HOST;

/// Whether the request names `127.0.0.1:port` or `localhost:port` as its `Host`, once.
pub fn is_asked_for(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Some((name, given)) = host.to_str().ok().and_then(|host| host.rsplit_once(':')) else { return false };
    let is_loopback = name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost");
    is_loopback && given.parse() == Ok(port)
}
