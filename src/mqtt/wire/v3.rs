//! MQTT 3.1.1 as the library speaks it.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, Incoming, LastWill, MqttOptions, NetworkOptions,
    Outgoing, QoS, StateError, SubscribeReasonCode, TlsConfiguration, Transport,
};

use super::error::{from_io, from_proxy, from_tls};
use super::{
    Ended, Failed, LARGEST_PACKET, LARGEST_READ, Manner, PACKET_IDS, Quality, Refusal, WireError, WireEvent, proxy,
};
use crate::mqtt::connection::ConnectionSettings;
use crate::mqtt::message::Received;
use crate::topic::{Topic, TopicFilter};

pub(super) type Client = AsyncClient;
pub(super) type Events = EventLoop;

pub(super) fn open(settings: &ConnectionSettings, requests: usize) -> (Client, Box<Events>) {
    let broker = &settings.broker;
    let mut options = MqttOptions::new(&settings.client_id, broker.host.as_str(), broker.port);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(settings.tls.clone())))
        .set_clean_session(!settings.persistent)
        .set_keep_alive(settings.keep_alive.max(Duration::from_secs(1)))
        .set_max_packet_size(LARGEST_READ, LARGEST_PACKET)
        .set_inflight(PACKET_IDS);
    if let Some(will) = &settings.last_will {
        let payload = will.payload.to_vec();
        options.set_last_will(LastWill::new(will.topic.as_str(), payload, QoS::AtLeastOnce, will.retain));
    }
    if let Some(tunnel) = &settings.tunnel {
        options.set_proxy(proxy::of(tunnel, &settings.tls));
    }
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(settings.connect_timeout.as_secs().max(1));
    let (client, mut events) = AsyncClient::new(options, requests);
    events.set_network_options(network);
    (client, Box::new(events))
}

pub(super) async fn publish(client: &Client, topic: &Topic, payload: Bytes, manner: Manner) -> Result<(), Ended> {
    let quality = match manner.quality {
        Quality::AtMostOnce => QoS::AtMostOnce,
        Quality::AtLeastOnce => QoS::AtLeastOnce,
    };
    client.publish_bytes(topic.as_str(), quality, manner.retain, payload).await.map_err(|_| Ended)
}

pub(super) async fn subscribe(client: &Client, filter: &TopicFilter, at_least_once: bool) -> Result<(), Ended> {
    let quality = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    client.subscribe(filter.as_str(), quality).await.map_err(|_| Ended)
}

pub(super) async fn poll(events: &mut Events) -> Result<WireEvent, Failed> {
    match events.poll().await {
        Ok(event) => Ok(translate(event)),
        Err(error) => {
            // Some brokers say DISCONNECT, which MQTT 3.1.1 keeps for clients; they mean a close.
            let dismissed = events.state.events.contains(&Event::Incoming(Incoming::Disconnect));
            let error = if dismissed { WireError::Closed } else { explain(error) };
            Err((error, events.state.events.drain(..).map(translate).collect()))
        }
    }
}

fn translate(event: Event) -> WireEvent {
    match event {
        Event::Incoming(Incoming::ConnAck(_)) => WireEvent::Admitted { receive_maximum: None },
        Event::Outgoing(Outgoing::Publish(id)) => WireEvent::Sent(id),
        Event::Incoming(Incoming::PubAck(ack)) => WireEvent::Acknowledged(ack.pkid),
        Event::Outgoing(Outgoing::Subscribe(id) | Outgoing::Unsubscribe(id)) => WireEvent::Asking(id),
        Event::Outgoing(Outgoing::Disconnect) => WireEvent::Farewell,
        Event::Incoming(Incoming::Publish(message)) => WireEvent::Received(Received {
            topic: message.topic,
            payload: message.payload,
            duplicate: message.dup,
            retained: message.retain,
        }),
        Event::Incoming(Incoming::SubAck(answer)) => {
            let granted = answer.return_codes.iter().map(|code| *code != SubscribeReasonCode::Failure);
            WireEvent::Subscribed(answer.pkid, granted.collect())
        }
        Event::Incoming(Incoming::UnsubAck(answer)) => WireEvent::Unsubscribed(answer.pkid),
        _ => WireEvent::Other,
    }
}

fn explain(error: ConnectionError) -> WireError {
    match error {
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => WireError::TimedOut,
        ConnectionError::Io(cause)
        | ConnectionError::MqttState(StateError::Io(cause) | StateError::Deserialization(rumqttc::Error::Io(cause))) => {
            from_io(cause)
        }
        ConnectionError::Tls(cause) => from_tls(cause),
        ConnectionError::Proxy(cause) => from_proxy(cause),
        ConnectionError::ConnectionRefused(code) => WireError::Refused(refusal(code)),
        ConnectionError::MqttState(StateError::ConnectionAborted) => WireError::Closed,
        ConnectionError::MqttState(StateError::Deserialization(rumqttc::Error::PayloadSizeLimitExceeded(size))) => {
            WireError::Oversized { limit: LARGEST_READ, actual: size }
        }
        ConnectionError::MqttState(cause) => WireError::Broken(Box::new(cause)),
        other => WireError::Broken(Box::new(other)),
    }
}

fn refusal(code: ConnectReturnCode) -> Refusal {
    match code {
        ConnectReturnCode::Success => Refusal::Other("accepted".to_owned()),
        ConnectReturnCode::RefusedProtocolVersion => Refusal::ProtocolVersion,
        ConnectReturnCode::BadClientId => Refusal::ClientId,
        ConnectReturnCode::ServiceUnavailable => Refusal::Unavailable,
        ConnectReturnCode::BadUserNamePassword => Refusal::UserName,
        ConnectReturnCode::NotAuthorized => Refusal::NotAuthorised,
    }
}
