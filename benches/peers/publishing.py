#!/usr/bin/env python3
"""The publishing path against paho-mqtt and mosquitto_pub: messages of a prediction's size at QoS 1, twenty on their way
at a time, over mutual TLS to one mosquitto on loopback, until the last is acknowledged.

Needs mosquitto, mosquitto-clients and openssl, and paho-mqtt for the Python that runs it:

    cargo build --release --manifest-path benches/Cargo.toml --example publishing
    benches/peers/publishing.py --margay benches/target/release/examples/publishing

Rounds are interleaved: each client once, in an order that turns, then the next round. Time and processor time are those of
the whole process, start and handshake included; ratios are taken within a round, with a bootstrap interval of 95 %.
"""

import argparse
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WINDOW = 20
TOPIC = "margay/bench/predictions"

PAHO = """
import sys, paho.mqtt.client as mqtt
port, ca, cert, key, count, size = sys.argv[1:]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho")
client.tls_set(ca, cert, key)
client.max_inflight_messages_set(%d)
client.max_queued_messages_set(0)
client.connect("localhost", int(port))
client.loop_start()
payload = b"x" * int(size)
sent = [client.publish("%s", payload, qos=1) for _ in range(int(count))]
for message in sent:
    message.wait_for_publish(300)
    assert message.is_published()
client.disconnect()
client.loop_stop()
""" % (WINDOW, TOPIC)


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificates(folder):
    """An authority, a broker `localhost` and a client, by elliptic curves as devices have them."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    openssl("req", "-x509", *curve, "-subj", "/CN=bench authority", "-keyout", "ca.key", "-out", "ca.pem", folder=folder)
    for name, extension in (("broker", "subjectAltName=DNS:localhost"), ("client", "extendedKeyUsage=clientAuth")):
        subject = "/CN=localhost" if name == "broker" else "/CN=bench client"
        openssl("req", *curve[:-2], "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr", folder=folder)
        (folder / "extension").write_text(extension + "\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "extension", "-out", f"{name}.pem", folder=folder)


def start_broker(folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\ncafile {folder}/ca.pem\ncertfile {folder}/broker.pem\n"
        f"keyfile {folder}/broker.key\nrequire_certificate true\nmax_inflight_messages {WINDOW}\nlog_type error\nuser root\n")
    broker = subprocess.Popen([shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", str(configuration)])
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return broker, port
        except OSError:
            time.sleep(0.01)
    sys.exit("mosquitto does not listen")


def run(command, lines=None):
    """Wall seconds and processor seconds of one process."""
    begin = time.monotonic()
    with open(lines or os.devnull, "rb") as given:
        process = subprocess.Popen(command, stdin=given)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} failed: {status}")
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime


def interval(ratios, draws=4000):
    """The median of `ratios` and a bootstrap interval of 95 % of it."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(draws))
    return statistics.median(ratios), medians[int(draws * 0.025)], medians[int(draws * 0.975)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--margay", required=True, help="the built example `publishing`")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        certificates(folder)
        broker, port = start_broker(folder)
        try:
            compare(given, folder, port)
        finally:
            broker.terminate()
            broker.wait()


def compare(given, folder, port):
    lines = folder / "lines"
    lines.write_text(("x" * given.bytes + "\n") * given.count)
    identity = [str(folder / "ca.pem"), str(folder / "client.pem"), str(folder / "client.key")]
    margay = [given.margay, str(port), *identity, str(given.count), str(given.bytes)]
    mosquitto = ["mosquitto_pub", "-h", "localhost", "-p", str(port), "--cafile", identity[0], "--cert", identity[1],
                 "--key", identity[2], "-q", "1", "-t", TOPIC, "-l"]
    clients = {
        "margay, spool in memory": (margay, None),
        "margay, spool on disk": ([*margay, str(folder / "spool")], None),
        "mosquitto_pub -l": (mosquitto, lines),
        "paho-mqtt": ([sys.executable, "-c", PAHO, str(port), *identity, str(given.count), str(given.bytes)], None),
    }
    names, measured = list(clients), {name: [] for name in clients}
    for round_ in range(given.rounds + 1):
        for name in names[round_ % len(names):] + names[:round_ % len(names)]:
            figures = run(*clients[name])
            if round_ > 0:
                measured[name].append(figures)
    print(f"{given.count} messages of {given.bytes} bytes, QoS 1, window {WINDOW}, {given.rounds} rounds\n")
    print("| client | messages/s | processor time a message | time to mosquitto_pub's | processor time to mosquitto_pub's |")
    print("|---|---|---|---|---|")
    for name in names:
        wall, cpu = (statistics.median(column) for column in zip(*measured[name]))
        shown = []
        for column in (0, 1):
            pairs = zip(measured[name], measured["mosquitto_pub -l"])
            median, low, high = interval([ours[column] / theirs[column] for ours, theirs in pairs])
            shown.append(f"{median:.2f} ({low:.2f}–{high:.2f})")
        print(f"| {name} | {given.count / wall:,.0f} | {cpu / given.count * 1e6:.1f} µs "
              f"| {shown[0]} | {shown[1]} |")


if __name__ == "__main__":
    main()
