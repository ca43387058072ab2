//! `margay.s3`: where models are fetched from, AWS or a server that speaks S3.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::document::{Field, Object, Unknown};
use crate::name::{Endpoint, Region};

use super::{CoreThing, path};

const ENDPOINT_HINT: &str = "write https://host or https://host:port";

/// Below 1 KiB a second a connection looks dead; above a GiB there is nothing to limit.
const BANDWIDTH_RANGE: std::ops::RangeInclusive<u64> = 1024..=1 << 30;

/// How a bucket stands in the address of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// `https://bucket.host/key`, S3's own.
    Virtual,
    /// `https://host/bucket/key`, which most other servers prefer.
    Path,
}

impl Addressing {
    const NAMES: [(&'static str, Self); 2] = [("virtual", Self::Virtual), ("path", Self::Path)];

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Virtual => "virtual",
            Self::Path => "path",
        }
    }
}

/// A server that speaks S3 and is not AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Endpoint {
    /// Whether it is reached over TLS; without TLS only on loopback.
    pub tls: bool,
    /// Where it is.
    pub endpoint: Endpoint,
}

impl fmt::Display for S3Endpoint {
    /// Its URL, without a path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.endpoint)
    }
}

/// Where models are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// Another server than AWS (`endpoint`).
    pub endpoint: Option<S3Endpoint>,
    /// The region that requests are signed for (`region`; by default the one of `thingArn`).
    pub region: Region,
    /// How the bucket is addressed (`addressing`; by default `virtual` at AWS and `path` elsewhere).
    pub addressing: Addressing,
    /// An authority that the server's certificate may also be signed by, PEM (`caPath`).
    pub ca_path: Option<PathBuf>,
    /// The most bytes a second that all transfers together may take (`maxBytesPerSecond`); without it, no limit.
    pub max_bytes_per_second: Option<u64>,
}

impl S3 {
    /// Whether the bucket's name is part of a host that a certificate has to cover.
    pub fn is_virtual_hosted_over_tls(&self) -> bool {
        self.addressing == Addressing::Virtual && self.endpoint.as_ref().is_none_or(|endpoint| endpoint.tls)
    }

    pub(super) fn read(mut section: Object<'_>, root: &Path, core_thing: Option<&CoreThing>) -> Option<Self> {
        let endpoint = read_endpoint(&section.field("endpoint"));
        let region = section.field("region").parsed::<Region>();
        let addressing = section.field("addressing").choice(&Addressing::NAMES);
        let ca_path = path::read(&section.field("caPath"), root);
        let max_bytes_per_second = section.field("maxBytesPerSecond").integer(BANDWIDTH_RANGE, "bytes a second");
        section.finish(Unknown::Refuse);
        let default_addressing = if endpoint.is_some() { Addressing::Path } else { Addressing::Virtual };
        Some(Self {
            region: region.or_else(|| core_thing.map(|core| core.thing_arn.region().clone()))?,
            addressing: addressing.unwrap_or(default_addressing),
            endpoint,
            ca_path,
            max_bytes_per_second,
        })
    }
}

fn read_endpoint(field: &Field<'_>) -> Option<S3Endpoint> {
    let text = field.text()?;
    let (tls, authority) = match text.split_once("://") {
        Some(("https", authority)) => (true, authority),
        Some(("http", authority)) => (false, authority),
        _ => {
            field.refuse("is the URL of a server", ENDPOINT_HINT);
            return None;
        }
    };
    let endpoint = authority.strip_suffix('/').unwrap_or(authority).parse::<Endpoint>();
    let endpoint = endpoint.map_err(|error| field.refuse(error.to_string(), ENDPOINT_HINT)).ok()?;
    if !tls && !endpoint.host.is_loopback() {
        let rule = "would send a session token in the clear, which is allowed to this machine's own loopback only";
        field.refuse(rule, ENDPOINT_HINT);
        return None;
    }
    Some(S3Endpoint { tls, endpoint })
}
