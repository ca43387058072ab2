//! Who may ask, and what: checked for every request before anything else.
//!
//! A page of another site may point its own host name at 127.0.0.1 (DNS rebinding), so the `Host` must be ours. The
//! token comes with the address on the first visit, and afterwards in a cookie that scripts cannot read and other sites
//! cannot send.

use http::header::COOKIE;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::http::loopback;
use crate::page::token;

/// Whom the page is for.
#[derive(Debug)]
pub(super) struct Gate {
    /// The port that browsers name.
    pub(super) port: u16,
    /// SHA-256 of the token, in hexadecimal digits.
    pub(super) token_digest: String,
}

/// A request that gets no answer but this.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

/// A request that may be answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Admitted {
    /// By its cookie.
    Known,
    /// By the token in its address: it is to get this cookie.
    Welcome {
        /// The value of `Set-Cookie`.
        cookie: String,
    },
}

impl Gate {
    /// Whether a request may be answered.
    pub(super) fn admit(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Admitted, Refusal> {
        if !loopback::is_asked_for(headers, self.port) {
            let why = "this page is served as 127.0.0.1 and localhost only";
            return Err(Refusal { status: StatusCode::MISDIRECTED_REQUEST, why });
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why: "only GET and HEAD are served" });
        }
        if cookies(headers, &self.cookie_name()).any(|token| token::opens(token, &self.token_digest)) {
            return Ok(Admitted::Known);
        }
        match parameter(uri, "token") {
            Some(token) if token::opens(token, &self.token_digest) => {
                let name = self.cookie_name();
                Ok(Admitted::Welcome { cookie: format!("{name}={token}; HttpOnly; SameSite=Strict; Path=/") })
            }
            _ => {
                let why = "this page opens with its token: `margay status --page` prints the whole address";
                Err(Refusal { status: StatusCode::FORBIDDEN, why })
            }
        }
    }

    /// Browsers send a host's cookies to all its ports, so the name tells two cores on one machine apart.
    fn cookie_name(&self) -> String {
        format!("margay-page-{}", self.port)
    }
}

/// The values of the cookies called `name`.
fn cookies<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
    pairs.filter_map(move |pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// The first value of a parameter in the address. Ours are digits and letters: nothing is decoded.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use http::header::HOST;

    use super::*;

    fn gate() -> Gate {
        Gate { port: 8080, token_digest: token::digest("secret") }
    }

    fn asked(method: &Method, address: &str, host: &str, cookie: &str) -> Result<Admitted, u16> {
        let mut headers = HeaderMap::new();
        if !host.is_empty() {
            headers.insert(HOST, host.parse().unwrap());
        }
        if !cookie.is_empty() {
            headers.insert(COOKIE, cookie.parse().unwrap());
        }
        gate().admit(method, &address.parse().unwrap(), &headers).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn the_token_opens_and_gives_a_cookie_that_opens() {
        let Ok(Admitted::Welcome { cookie }) = asked(&Method::GET, "/?token=secret", "127.0.0.1:8080", "") else {
            panic!("not admitted");
        };
        assert_eq!(cookie, "margay-page-8080=secret; HttpOnly; SameSite=Strict; Path=/");
        let sent = "other=1; margay-page-8080=secret";
        assert_eq!(asked(&Method::GET, "/state", "localhost:8080", sent), Ok(Admitted::Known));
    }

    #[test]
    fn without_the_token_nothing_opens() {
        for address in ["/", "/?token=", "/?token=wrong", "/?tokens=secret", "/?token=secret2"] {
            for cookie in ["", "margay-page-8080=wrong", "margay-page-8081=secret", "xmargay-page-8080=secret"] {
                assert_eq!(asked(&Method::GET, address, "127.0.0.1:8080", cookie), Err(403), "{address} {cookie}");
            }
        }
    }

    #[test]
    fn another_host_is_refused_even_with_the_token() {
        let hosts = ["", "evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:8081", "127.0.0.2:8080", ":8080"];
        for host in hosts {
            assert_eq!(asked(&Method::GET, "/?token=secret", host, "margay-page-8080=secret"), Err(421), "{host}");
        }
        let mut two = HeaderMap::new();
        two.append(HOST, "127.0.0.1:8080".parse().unwrap());
        two.append(HOST, "evil.example".parse().unwrap());
        assert!(gate().admit(&Method::GET, &"/?token=secret".parse().unwrap(), &two).is_err());
    }

    #[test]
    fn nothing_can_be_changed_through_the_page() {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT] {
            assert_eq!(asked(&method, "/?token=secret", "127.0.0.1:8080", ""), Err(405), "{method}");
        }
        assert!(asked(&Method::HEAD, "/?token=secret", "127.0.0.1:8080", "").is_ok());
    }
}
