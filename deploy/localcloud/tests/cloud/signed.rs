//! Signed requests for objects, each part of which a test can spoil.

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use serde_json::Value;
use time::OffsetDateTime;

use crate::Scene;
use crate::credentials;
use crate::https::{self, Answer};

/// Credentials as a device holds them.
#[derive(Clone)]
pub struct Keys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

/// A request before it is signed.
#[derive(Clone)]
pub struct Get {
    pub method: &'static str,
    pub host: String,
    /// Percent-encoded path and query.
    pub target: String,
    pub headers: Vec<(&'static str, String)>,
    pub region: &'static str,
    pub service: &'static str,
    pub at: OffsetDateTime,
    /// What is said of the body; there is none.
    pub body: &'static [u8],
}

impl Keys {
    pub async fn of_new_thing(scene: &Scene) -> Self {
        let device = scene.cloud.provision_thing("cat", &scene.path().join("device")).unwrap();
        let answer = credentials::ask(scene, Some(&device), "MargayRole", None).await.unwrap();
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        let field = |name: &str| document["credentials"][name].as_str().unwrap().to_owned();
        Self {
            access_key_id: field("accessKeyId"),
            secret_access_key: field("secretAccessKey"),
            session_token: Some(field("sessionToken")),
        }
    }
}

impl Get {
    pub fn path_style(scene: &Scene, target: &str) -> Self {
        Self::at_host(scene, format!("localhost:{}", scene.cloud.s3_port()), target)
    }

    pub fn at_host(scene: &Scene, host: String, target: &str) -> Self {
        let at = scene.cloud.faults().now();
        Self {
            method: "GET",
            host,
            target: target.to_owned(),
            headers: vec![],
            region: "eu-central-1",
            service: "s3",
            at,
            body: b"",
        }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The headers that signing adds, `authorization` among them.
    pub fn sign(&self, keys: &Keys) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let token = keys.session_token.clone();
        let identity = Credentials::new(&keys.access_key_id, &keys.secret_access_key, token, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(self.at.into())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("https://{}{}", self.host, self.target);
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let request = SignableRequest::new(self.method, url, headers, SignableBody::Bytes(self.body)).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub async fn send(&self, scene: &Scene, keys: &Keys) -> Answer {
        self.send_with(scene, &self.sign(keys)).await
    }

    pub async fn send_with(&self, scene: &Scene, signature: &[(String, String)]) -> Answer {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}", self.method, self.target, self.host);
        let own = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(signature.iter().map(|(name, value)| (name.as_str(), value.as_str()))) {
            head.push_str(&format!("\r\n{name}: {value}"));
        }
        let name = self.host.split(':').next().unwrap();
        https::request(https::config(scene.cloud.ca(), None), name, scene.cloud.s3_port(), &head).await.unwrap()
    }
}

/// The error code in S3's XML.
pub fn code(answer: &Answer) -> &str {
    answer.text().split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code)
}
