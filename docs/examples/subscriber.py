#!/usr/bin/env python3
"""Print predictions as they arrive: a line each, with the label, its probability and the way it took.

    pip install "paho-mqtt>=2"
    ./subscriber.py --host localhost --port 8883 --cafile root.ca.pem --cert viewer.cert.pem --key viewer.private.key
"""

import argparse
import json
import sys

import paho.mqtt.client as mqtt

SCHEMA = "margay.prediction/1"


def on_connect(client, options, _flags, reason, _properties):
    if reason.is_failure:
        sys.exit(f"the broker refused the connection: {reason}")
    client.subscribe(options.topic, qos=1)


def on_subscribe(_client, options, _mid, reasons, _properties):
    if any(reason.is_failure for reason in reasons):
        sys.exit(f"the broker refused the subscription to {options.topic}")


def on_message(client, options, message):
    prediction = json.loads(message.payload)
    if prediction.get("schema") != SCHEMA:
        print(f"passed over: schema {prediction.get('schema')!r} is not {SCHEMA}", file=sys.stderr)
        return
    best = prediction["predictions"][0]
    milliseconds = prediction["latency_us"]["total"] / 1000
    print(
        f"{prediction['captured_at']}  {prediction['thing']}/{prediction['camera']} frame {prediction['frame']}: "
        f"{best['label']} {best['probability']:.2f} ({milliseconds:.1f} ms)",
        flush=True,
    )
    options.seen += 1
    if options.count and options.seen >= options.count:
        client.disconnect()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=8883)
    parser.add_argument("--cafile", required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--topic", default="margay/+/+/predictions")
    parser.add_argument("--client-id", default="", help="AWS IoT policies may ask for a certain one")
    parser.add_argument("--count", type=int, default=0, help="stop after this many predictions")
    options = parser.parse_args()
    options.seen = 0

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=options.client_id, userdata=options)
    client.tls_set(ca_certs=options.cafile, certfile=options.cert, keyfile=options.key)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect(options.host, options.port)
    client.loop_forever()


if __name__ == "__main__":
    main()
