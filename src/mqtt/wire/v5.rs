//! MQTT 5 as the library speaks it.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, LastWill, PubAckReason, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};

use super::error::{from_io, from_proxy, from_tls};
use super::{
    Ended, Failed, LARGEST_PACKET, LEAST_KEEP_ALIVE, Manner, PACKET_IDS, Quality, Refusal, SESSION_EXPIRY, WireError,
    WireEvent, proxy,
};
use crate::mqtt::connection::ConnectionSettings;
use crate::mqtt::message::Received;
use crate::topic::{Topic, TopicFilter};

pub(super) type Client = AsyncClient;
pub(super) type Events = EventLoop;

pub(super) fn open(settings: &ConnectionSettings, requests: usize) -> (Client, Box<Events>) {
    let broker = &settings.broker;
    let mut options = MqttOptions::new(&settings.client_id, broker.host.as_str(), broker.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(settings.tls.clone())))
        .set_network_options(network)
        .set_connection_timeout(settings.connect_timeout.as_secs().max(1))
        .set_clean_start(!settings.persistent)
        .set_session_expiry_interval(settings.persistent.then_some(SESSION_EXPIRY.as_secs() as u32))
        .set_keep_alive(settings.keep_alive.max(LEAST_KEEP_ALIVE))
        .set_max_packet_size(u32::try_from(LARGEST_PACKET).ok())
        .set_outgoing_inflight_upper_limit(PACKET_IDS);
    if let Some(will) = &settings.last_will {
        let payload = will.payload.to_vec();
        options.set_last_will(LastWill::new(will.topic.as_str(), payload, QoS::AtLeastOnce, will.retain, None));
    }
    if let Some(tunnel) = &settings.tunnel {
        options.set_proxy(proxy::of(tunnel, &settings.tls));
    }
    let (client, events) = AsyncClient::new(options, requests);
    (client, Box::new(events))
}

pub(super) async fn publish(client: &Client, topic: &Topic, payload: Bytes, manner: Manner) -> Result<(), Ended> {
    let quality = match manner.quality {
        Quality::AtMostOnce => QoS::AtMostOnce,
        Quality::AtLeastOnce => QoS::AtLeastOnce,
    };
    client.publish(topic.as_str(), quality, manner.retain, payload).await.map_err(|_| Ended)
}

pub(super) async fn subscribe(client: &Client, filter: &TopicFilter, at_least_once: bool) -> Result<(), Ended> {
    let quality = if at_least_once { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    client.subscribe(filter.as_str(), quality).await.map_err(|_| Ended)
}

pub(super) async fn poll(events: &mut Events) -> Result<WireEvent, Failed> {
    match events.poll().await {
        Ok(event) => Ok(translate(event)),
        Err(error) => Err((explain(error), events.state.events.drain(..).map(translate).collect())),
    }
}

fn translate(event: Event) -> WireEvent {
    match event {
        Event::Incoming(Incoming::ConnAck(answer)) => {
            WireEvent::Admitted { receive_maximum: answer.properties.and_then(|properties| properties.receive_max) }
        }
        Event::Outgoing(Outgoing::Publish(id)) => WireEvent::Sent(id),
        Event::Incoming(Incoming::PubAck(ack)) => acknowledgement(ack.pkid, ack.reason),
        Event::Outgoing(Outgoing::Subscribe(id) | Outgoing::Unsubscribe(id)) => WireEvent::Asking(id),
        Event::Outgoing(Outgoing::Disconnect) => WireEvent::Farewell,
        Event::Incoming(Incoming::Publish(message)) => WireEvent::Received(Received {
            // No text is no topic: the router refuses it.
            topic: String::from_utf8(message.topic.to_vec()).unwrap_or_default(),
            payload: message.payload,
            duplicate: message.dup,
            retained: message.retain,
        }),
        Event::Incoming(Incoming::SubAck(answer)) => {
            let granted = answer.return_codes.iter().map(|code| matches!(code, SubscribeReasonCode::Success(_)));
            WireEvent::Subscribed(answer.pkid, granted.collect())
        }
        Event::Incoming(Incoming::UnsubAck(answer)) => WireEvent::Unsubscribed(answer.pkid),
        _ => WireEvent::Other,
    }
}

/// What may pass is neither taken nor refused: the message stays on its way until it is sent again.
fn acknowledgement(id: u16, reason: PubAckReason) -> WireEvent {
    match reason {
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => WireEvent::Acknowledged(id),
        PubAckReason::NotAuthorized => WireEvent::Refused(id, "not authorised"),
        PubAckReason::TopicNameInvalid => WireEvent::Refused(id, "topic name invalid"),
        PubAckReason::PayloadFormatInvalid => WireEvent::Refused(id, "payload format invalid"),
        PubAckReason::UnspecifiedError
        | PubAckReason::ImplementationSpecificError
        | PubAckReason::PacketIdentifierInUse
        | PubAckReason::QuotaExceeded => WireEvent::Other,
    }
}

fn explain(error: ConnectionError) -> WireError {
    match error {
        ConnectionError::Timeout(_) => WireError::TimedOut,
        ConnectionError::Io(cause) | ConnectionError::MqttState(StateError::Io(cause)) => from_io(cause),
        ConnectionError::Tls(cause) => from_tls(cause),
        ConnectionError::Proxy(cause) => from_proxy(cause),
        ConnectionError::ConnectionRefused(code) => WireError::Refused(refusal(code)),
        ConnectionError::MqttState(StateError::ConnectionAborted) => WireError::Closed,
        ConnectionError::MqttState(StateError::OutgoingPacketTooLarge { max, .. }) => {
            WireError::TooLarge { limit: max }
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, .. }) => WireError::Dismissed {
            taken_over: reason_code == DisconnectReasonCode::SessionTakenOver,
            reason: format!("{reason_code:?}"),
        },
        ConnectionError::MqttState(cause) => WireError::Broken(Box::new(cause)),
        other => WireError::Broken(Box::new(other)),
    }
}

fn refusal(code: ConnectReturnCode) -> Refusal {
    use ConnectReturnCode as Code;
    match code {
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => Refusal::ProtocolVersion,
        Code::BadClientId | Code::ClientIdentifierNotValid => Refusal::ClientId,
        Code::ServiceUnavailable
        | Code::ServerUnavailable
        | Code::ServerBusy
        | Code::QuotaExceeded
        | Code::ConnectionRateExceeded => Refusal::Unavailable,
        Code::BadUserNamePassword | Code::BadAuthenticationMethod => Refusal::UserName,
        Code::NotAuthorized | Code::Banned => Refusal::NotAuthorised,
        other => Refusal::Other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_was_taken_over_is_told_from_other_farewells() {
        for (reason_code, expected) in
            [(DisconnectReasonCode::SessionTakenOver, true), (DisconnectReasonCode::ServerShuttingDown, false)]
        {
            let said = StateError::ServerDisconnect { reason_code, reason_string: None };
            let error = explain(ConnectionError::MqttState(said));
            assert!(matches!(error, WireError::Dismissed { taken_over, .. } if taken_over == expected), "{error:?}");
            assert!(error.is_close());
        }
    }

    #[test]
    fn only_what_will_never_be_taken_counts_as_refused() {
        assert!(matches!(acknowledgement(1, PubAckReason::NoMatchingSubscribers), WireEvent::Acknowledged(1)));
        assert!(matches!(acknowledgement(1, PubAckReason::NotAuthorized), WireEvent::Refused(1, "not authorised")));
        assert!(matches!(acknowledgement(1, PubAckReason::QuotaExceeded), WireEvent::Other));
    }
}
