//! Print predictions as they arrive.
//!
//!     cargo run -- localhost 8883 root.ca.pem viewer.cert.pem viewer.private.key

use std::error::Error;
use std::time::Duration;

use rumqttc::{Client, Event, MqttOptions, Packet, QoS, SubscribeReasonCode, TlsConfiguration, Transport};
use serde_json::Value;

const TOPIC: &str = "margay/+/+/predictions";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, port, ca, certificate, key] = arguments.as_slice() else {
        return Err("usage: subscriber HOST PORT CA CERTIFICATE KEY".into());
    };
    let mut options = MqttOptions::new(format!("subscriber-{}", std::process::id()), host, port.parse()?);
    options.set_keep_alive(Duration::from_secs(60));
    options.set_transport(Transport::Tls(TlsConfiguration::Simple {
        ca: std::fs::read(ca)?,
        alpn: None,
        client_auth: Some((std::fs::read(certificate)?, std::fs::read(key)?)),
    }));
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe(TOPIC, QoS::AtLeastOnce)?;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Packet::SubAck(answer)) if answer.return_codes.contains(&SubscribeReasonCode::Failure) => {
                return Err(format!("the broker refused the subscription to {TOPIC}").into());
            }
            Event::Incoming(Packet::Publish(message)) => print(&serde_json::from_slice(&message.payload)?),
            _ => {}
        }
    }
    Ok(())
}

fn print(prediction: &Value) {
    if prediction["schema"] != "margay.prediction/1" {
        eprintln!("passed over: schema {}", prediction["schema"]);
        return;
    }
    let best = &prediction["predictions"][0];
    println!(
        "{}  {}/{} frame {}: {} {:.2}",
        prediction["captured_at"].as_str().unwrap_or("?"),
        prediction["thing"].as_str().unwrap_or("?"),
        prediction["camera"].as_str().unwrap_or("?"),
        prediction["frame"],
        best["label"].as_str().unwrap_or("?"),
        best["probability"].as_f64().unwrap_or(0.0),
    );
}
