#!/usr/bin/env python3
"""From a frame to the message that the broker has acknowledged, by Margay and by what a user would write instead: Python
with OpenCV or Pillow, an engine, and paho. Same frames, same model, same threads, same rate, same broker (mosquitto,
QoS 1, mutual TLS on loopback).

    cargo build --release
    benches/peers/pipeline.py [--rounds 5] [--frames 150] [--only onnxruntime,compiled] [--models ../shared/models]

The script makes a virtual environment of its own (target/peers-venv) and installs what the peers need from PyPI; it needs
mosquitto and openssl. Every subject is a process, started anew in every round; within a round the subjects take turns.
Networks: mobilenet_v2 and squeezenet with real weights where --models has them, and mobilenet_v3_small with random weights
(networks/export.py), which costs the same time and recognises nothing.

What is measured: a frame's time begins when its bytes have been read from the file, which stands in for a camera; both
sides write that moment into their message. It ends when a subscriber of the same broker has the message, which mosquitto
passes on as it acknowledges it. p50 and p99 are over the frames of a round, the median of the rounds is printed. RSS is
the sum of all processes of a subject (Margay: the core, both workers, and the first process of each worker's sandbox; a
page that five share counts five times), PSS counts a shared page once; both at the end of a round. A ratio is Margay's by
the peer's of the same round; its 95 % interval is by a bootstrap over the rounds. The build that users install is
profile dist (--margay target/dist/margay).
"""

import argparse
import http.server
import io
import json
import os
import random
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = ["numpy", "onnx", "onnxruntime", "opencv-python-headless", "pillow", "paho-mqtt", "openvino", "ncnn", "pnnx",
            "ai-edge-litert"]
REAL = {"mobilenet_v2": "mobilenetv2_fp32.onnx", "squeezenet": "squeezenet1.1_fp32.onnx"}
NETWORKS = ["mobilenet_v2", "squeezenet", "mobilenet_v3_small"]
MARGAY = ["tract", "compiled", "onnxruntime"]
# Decoder and engine of each peer; the first is what the others and Margay are held against.
PEERS = {
    "OpenCV + ONNX Runtime": ("opencv", "onnxruntime"),
    "Pillow + ONNX Runtime": ("pillow", "onnxruntime"),
    "OpenCV + OpenVINO": ("opencv", "openvino"),
    "OpenCV + ncnn": ("opencv", "ncnn"),
    "OpenCV + LiteRT": ("opencv", "litert"),
}
BASE = "OpenCV + ONNX Runtime"
THING, CONNECTOR = "bench-core", "arn:aws:greengrass:eu-central-1::/connectors/MargayImageClassifier/versions/1"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE, SHORTER = 224, 256


# --- the environment ---------------------------------------------------------------------------------------------------


def enter_environment(folder):
    """Goes on in the virtual environment, which is made at the first time."""
    python = folder / "bin/python"
    stamp = folder / "installed"
    if not stamp.is_file() or stamp.read_text() != " ".join(PACKAGES):
        print(f"making {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        stamp.write_text(" ".join(PACKAGES))
    if Path(sys.prefix) != folder:
        os.execv(python, [python, __file__, *sys.argv[1:]])


# --- a peer: what a user would write -------------------------------------------------------------------------------------


def prepare_with_opencv(numpy):
    import cv2

    cv2.setNumThreads(1)
    mean, deviation = numpy.float32(MEAN) * 255, numpy.float32(DEVIATION) * 255

    def prepare(jpeg):
        image = cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)
        height, width = image.shape[:2]
        scale = SHORTER / min(height, width)
        image = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_LINEAR)
        top, left = (image.shape[0] - SIDE) // 2, (image.shape[1] - SIDE) // 2
        image = cv2.cvtColor(image[top : top + SIDE, left : left + SIDE], cv2.COLOR_BGR2RGB)
        return numpy.ascontiguousarray(((image - mean) / deviation).transpose(2, 0, 1)[None])

    return prepare


def prepare_with_pillow(numpy):
    from PIL import Image

    mean, deviation = numpy.float32(MEAN) * 255, numpy.float32(DEVIATION) * 255

    def prepare(jpeg):
        image = Image.open(io.BytesIO(jpeg)).convert("RGB")
        scale = SHORTER / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.BILINEAR)
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        image = numpy.asarray(image.crop((left, top, left + SIDE, top + SIDE)), numpy.float32)
        return numpy.ascontiguousarray(((image - mean) / deviation).transpose(2, 0, 1)[None])

    return prepare


def engine_onnxruntime(model, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda tensor: session.run(None, {name: tensor})[0].ravel()


def engine_openvino(model, threads):
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda tensor: request.infer({0: tensor}, share_inputs=True)[0].ravel()


def engine_ncnn(model, threads):
    import ncnn
    import numpy

    net = ncnn.Net()
    net.opt.num_threads = threads
    stem = model.removesuffix(".onnx")
    net.load_param(stem + ".ncnn.param")
    net.load_model(stem + ".ncnn.bin")

    def run(tensor):
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(tensor[0]).clone())
        return numpy.array(extractor.extract("out0")[1]).ravel()

    return run


def engine_litert(model, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model.removesuffix(".onnx") + ".tflite", num_threads=threads)
    interpreter.allocate_tensors()
    place, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(tensor):
        interpreter.set_tensor(place, tensor.transpose(0, 2, 3, 1))
        interpreter.invoke()
        return interpreter.get_tensor(result).ravel()

    return run


def peer(arguments):
    """The peer's whole program: frames at a rate from a folder, a prediction each, published with QoS 1."""
    import numpy

    decoder, engine = PEERS[arguments.name]
    prepare = {"opencv": prepare_with_opencv, "pillow": prepare_with_pillow}[decoder](numpy)
    run = globals()[f"engine_{engine}"](arguments.model, arguments.threads)
    client = connected(arguments.broker, "peer", Path(arguments.certificates), THING)
    client.loop_start()
    while not client.is_connected():
        time.sleep(0.01)
    files = sorted(Path(arguments.pictures).iterdir())
    due = time.monotonic()
    for number in range(1 << 62):
        due += 1 / arguments.rate
        time.sleep(max(0.0, due - time.monotonic()))
        jpeg = files[number % len(files)].read_bytes()
        captured = time.time()
        scores = run(prepare(jpeg)).astype(numpy.float64)
        if arguments.logits:
            scores = numpy.exp(scores - scores.max())
            scores /= scores.sum()
        best = numpy.argsort(scores)[::-1][:5]
        predictions = [{"class": int(at), "probability": float(scores[at])} for at in best]
        message = {"frame": number, "captured": captured, "predictions": predictions}
        client.publish(arguments.topic, json.dumps(message), qos=1)


def connected(port, name, certificates, identity):
    import paho.mqtt.client as mqtt

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{name}-{os.getpid()}")
    pem = [str(certificates / f"{identity}{ending}") for ending in (".pem", ".key")]
    client.tls_set(str(certificates / "ca.pem"), *pem)
    client.connect("localhost", port)
    return client


# --- the cloud that both sides talk to ------------------------------------------------------------------------------------


def openssl(*arguments, folder):
    subprocess.run(["openssl", *map(str, arguments)], cwd=folder, check=True, capture_output=True)


def make_certificates(folder):
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *curve, "-days", 2, "-subj", "/CN=bench-ca", "-keyout", "ca.key", "-out", "ca.pem", folder=folder)
    for name, extension in [("localhost", "subjectAltName=DNS:localhost"), (THING, "extendedKeyUsage=clientAuth"),
                            ("subscriber", "extendedKeyUsage=clientAuth")]:
        openssl("req", *curve, "-subj", f"/CN={name}", "-addext", extension, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                folder=folder)
        openssl("x509", "-req", "-in", f"{name}.csr", "-copy_extensions", "copy", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", 2, "-out", f"{name}.pem", folder=folder)
    # The broker drops its privileges.
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)


def start_broker(folder, certificates, port):
    text = (f"listener {port} 127.0.0.1\ncafile {certificates}/ca.pem\ncertfile {certificates}/localhost.pem\n"
            f"keyfile {certificates}/localhost.key\nrequire_certificate true\nuse_identity_as_username true\n"
            f"persistence false\nlog_type error\nmax_queued_messages 0\n")
    (folder / "mosquitto.conf").write_text(text)
    return subprocess.Popen(["mosquitto", "-c", folder / "mosquitto.conf"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


class Cloud(http.server.BaseHTTPRequestHandler):
    """Temporary credentials for the certificate, and packages to whoever has them. Signatures are not checked: this is a
    benchmark's cloud, on loopback."""

    packages = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/role-aliases/"):
            until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            keys = {"accessKeyId": "BENCH", "secretAccessKey": "bench", "sessionToken": "bench", "expiration": until}
            return self.answer(200, json.dumps({"credentials": keys}).encode())
        body = self.packages.get(self.path.split("?")[0].rsplit("/", 1)[-1])
        return self.answer(404, b"") if body is None else self.answer(200, body)

    def answer(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"%08x"' % (hash(body) & 0xFFFFFFFF))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def start_cloud(certificates):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "localhost.pem", certificates / "localhost.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


# --- Margay --------------------------------------------------------------------------------------------------------------


def pack(margay, model, labels, folder, engine):
    """A package of the model for one engine."""
    plain = folder / "plain.tar.gz"
    command = [margay, "model", "pack", model, "--labels", labels, "--preset", "imagenet", "--output", plain]
    if not plain.exists():
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    place = folder / f"{engine}.tar.gz"
    with tarfile.open(plain) as source, tarfile.open(place, "w:gz", compresslevel=1) as target:
        for member in source.getmembers():
            content = source.extractfile(member) if member.isfile() else None
            if member.name.endswith("/model.toml"):
                text = content.read().decode()
                text = re.sub(r"(?m)^engine *=.*\n", "", text).replace("[model]\n", f'[model]\nengine = "{engine}"\n')
                content, member.size = io.BytesIO(text.encode()), len(text.encode())
            target.addfile(member, content)
    return place


def write_device(folder, certificates, ports, package, pictures, arguments, library):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "config").mkdir(parents=True)
    uri = lambda name: f"file://{certificates / name}"
    account = "eu-central-1:123456789012"
    (folder / "config/config.json").write_text(json.dumps({
        "coreThing": {"thingArn": f"arn:aws:iot:{account}:thing/{THING}", "iotHost": "localhost", "ggHost": "localhost"},
        "crypto": {"caPath": uri("ca.pem"), "principals": {"IoTCertificate": {
            "certificatePath": uri(f"{THING}.pem"), "privateKeyPath": uri(f"{THING}.key")}}},
        "margay": {
            "credentials": {"endpoint": f"localhost:{ports['cloud']}", "roleAlias": "bench"},
            "s3": {"endpoint": f"https://localhost:{ports['cloud']}", "addressing": "path", "caPath": uri("ca.pem")},
            "mqtt": {"port": ports["broker"]}, "deployments": {"healthWindowSeconds": 1}, "onnxRuntime": str(library),
            "statusSocket": str(folder / "status.sock"),
        },
    }))
    Cloud.packages[package.name] = package.read_bytes()
    group = folder / "ggc/deployment/group/group.json"
    group.parent.mkdir(parents=True)
    group.write_text(json.dumps({
        "Group": {"Id": "bench", "Name": "bench"},
        "CoreDefinitionVersion": {"Cores": [{"Id": "core", "ThingArn": f"arn:aws:iot:{account}:thing/{THING}",
                                             "SyncShadow": False,
                                             "CertificateArn": f"arn:aws:iot:{account}:cert/bench"}]},
        "ResourceDefinitionVersion": {"Resources": [
            {"Id": "model", "Name": "model", "ResourceDataContainer": {"S3MachineLearningModelResourceData": {
                "S3Uri": f"s3://bench/{package.name}", "DestinationPath": "/models/bench"}}},
            {"Id": "camera", "Name": "camera", "ResourceDataContainer": {"LocalVolumeResourceData": {
                "SourcePath": str(pictures), "DestinationPath": "/camera",
                "GroupOwnerSetting": {"AutoAddGroupOwner": True}}}},
        ]},
        "ConnectorDefinitionVersion": {"Connectors": [{"Id": "classifier", "ConnectorArn": CONNECTOR, "Parameters": {
            "MLModelResourceId": "model", "MLModelDestinationPath": "/models/bench", "CameraResourceId": "camera",
            "CameraName": "bench", "FramesPerSecond": str(arguments.rate), "Repeat": "true", "TopK": "5",
            "Threads": str(arguments.threads)}}]},
        "SubscriptionDefinitionVersion": {"Subscriptions": [
            {"Id": "out", "Source": CONNECTOR, "Target": "cloud", "Subject": f"margay/{THING}/#"}]},
    }))
    return folder / "config/config.json"


# --- measuring -----------------------------------------------------------------------------------------------------------


class Subscriber:
    """Notes how old each message is when it comes."""

    def __init__(self, port, certificates):
        self.ages, self.came = [], threading.Condition()
        self.client = connected(port, "subscriber", certificates, "subscriber")
        self.client.on_message = self.note
        self.client.subscribe(f"margay/{THING}/#", qos=0)
        self.client.loop_start()

    def note(self, _client, _data, message):
        now = time.time()
        document = json.loads(message.payload)
        if "predictions" not in document:
            return
        age = now - (document["captured"] if "captured" in document else seconds(document["captured_at"]))
        with self.came:
            self.ages.append(age * 1e3)
            self.came.notify()

    def next(self, count, patience):
        """The ages of the next `count` messages, in milliseconds."""
        with self.came:
            self.ages.clear()
            if not self.came.wait_for(lambda: len(self.ages) >= count, patience):
                raise TimeoutError(f"{len(self.ages)} of {count} messages came within {patience} s")
            return self.ages[:count]


def seconds(timestamp):
    import datetime

    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def processes(pid):
    """The process and all below it."""
    found = [pid]
    for at in found:
        for children in Path(f"/proc/{at}/task").glob("*/children"):
            found.extend(int(child) for child in children.read_text().split())
    return found


def memory(pid):
    """RSS and PSS of a process and those below it, in MiB; PID 1 of a sandbox, which only waits, is among them."""
    sums = {"Rss": 0, "Pss": 0}
    for each in processes(pid):
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        for key in sums:
            found = re.search(rf"(?m)^{key}: +(\d+) kB", text)
            sums[key] += int(found[1]) if found else 0
    return {key: value / 1024 for key, value in sums.items()}


def measure(command, subscriber, arguments, log):
    """Starts a subject, waits until its messages flow, and measures."""
    with open(log, "wb") as output:
        subject = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output)
    try:
        started = time.monotonic()
        subscriber.next(1, 120)
        first = time.monotonic() - started
        subscriber.next(arguments.warm_up, 120)
        ages = sorted(subscriber.next(arguments.frames, 60 + 3 * arguments.frames / arguments.rate))
        rank = lambda part: ages[max(0, -(-len(ages) * part // 1000) - 1)]
        return {"p50": rank(500), "p99": rank(990), "first": first, **memory(subject.pid)}
    except TimeoutError as error:
        words = Path(log).read_text(errors="replace")[-600:]
        print(f"  left out: {error}\n{words}", file=sys.stderr)
        return None
    finally:
        subject.send_signal(signal.SIGTERM)
        try:
            subject.wait(20)
        except subprocess.TimeoutExpired:
            subject.kill()
            subject.wait()


def ratio(ours, theirs):
    """The median ratio over rounds with its 95 % interval, by a bootstrap over the rounds."""
    pairs = [mine / other for mine, other in zip(ours, theirs)]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(pairs, k=len(pairs))) for _ in range(2000))
    return statistics.median(pairs), medians[50], medians[1949]


# --- the whole -----------------------------------------------------------------------------------------------------------


def network_files(arguments, folder):
    """The ONNX file of each network, and whether it gives logits."""
    sys.path.insert(0, str(HERE / "networks"))
    import export

    files = {}
    for name in arguments.networks.split(","):
        real = arguments.models / "onnx" / REAL.get(name, "")
        target = folder / f"{name}.onnx"
        if name in REAL and real.is_file():
            shutil.copy(real, target)
        else:
            network = "squeezenet1_1" if name == "squeezenet" else name
            export.write([network], folder)[network].rename(target)
        files[name] = target
    return files


def gives_logits(model):
    import onnx

    graph = onnx.load(model).graph
    return graph.node[-1].op_type != "Softmax"


def convert(files, venv):
    """The models as ncnn and LiteRT take them; a peer whose model cannot be had is left out, with a word."""
    missing = set()
    for name, file in files.items():
        # pnnx needs fixed shapes, and writes a dozen files beside the model.
        run = subprocess.run([venv / "bin/pnnx", file, f"inputshape=[1,3,{SIDE},{SIDE}]", "fp16=0"], cwd=file.parent,
                             capture_output=True, text=True)
        if not file.with_suffix(".ncnn.bin").is_file():
            print(f"left out: {name} on ncnn: pnnx: {run.stdout[-200:]}{run.stderr[-200:]}", file=sys.stderr)
            missing.add((name, "ncnn"))
        try:
            import tflite

            tflite.convert(file, file.with_suffix(".tflite"))
        except (ImportError, ValueError) as error:
            print(f"left out: {name} on LiteRT: {error}", file=sys.stderr)
            missing.add((name, "litert"))
    return missing


def subjects(arguments, missing):
    wanted = set(arguments.only.split(",")) if arguments.only else None
    for name in MARGAY:
        if wanted is None or name in wanted:
            yield ("margay", name)
    for name, (_, engine) in PEERS.items():
        if name == BASE or wanted is None or engine in wanted:
            yield ("peer", name)


def run(arguments, folder):
    certificates = folder / "certificates"
    certificates.mkdir()
    make_certificates(certificates)
    ports = {"broker": 20000 + os.getpid() % 20000, "cloud": start_cloud(certificates)}
    broker = start_broker(folder, certificates, ports["broker"])
    try:
        time.sleep(1)
        return rounds(arguments, folder, certificates, ports)
    finally:
        broker.terminate()
        broker.wait()


def rounds(arguments, folder, certificates, ports):
    import onnxruntime

    library = Path(onnxruntime.__file__).parent / "capi"
    files = network_files(arguments, folder)
    missing = convert(files, arguments.venv)
    labels = folder / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(1000)))
    subscriber = Subscriber(ports["broker"], certificates)
    results = {}
    for number in range(arguments.rounds):
        for network, model in files.items():
            for kind, name in subjects(arguments, missing):
                if kind == "peer" and (network, PEERS[name][1]) in missing:
                    continue
                print(f"round {number + 1} of {arguments.rounds}: {network}, {name}", file=sys.stderr)
                if kind == "margay":
                    home = folder / network
                    home.mkdir(exist_ok=True)
                    package = pack(arguments.margay, model, labels, home, name)
                    device = folder / "device"
                    config = write_device(device, certificates, ports, package, arguments.pictures, arguments, library)
                    command = [arguments.margay, "run", "--config", config]
                else:
                    command = [sys.executable, __file__, "peer", "--name", name, "--model", model, "--threads",
                               arguments.threads, "--rate", arguments.rate, "--pictures", arguments.pictures, "--broker",
                               ports["broker"], "--certificates", certificates, "--topic", f"margay/{THING}/peer"]
                    command += ["--logits"] if gives_logits(model) else []
                found = measure(command, subscriber, arguments, folder / "subject.log")
                results.setdefault((network, name), []).append(found)
    return results


def table(results, arguments):
    busy = os.getloadavg()[0]
    print(f"{arguments.rounds} rounds of {arguments.frames} frames at {arguments.rate:g} a second, {arguments.threads} "
          f"thread(s), {os.cpu_count()} cores, load {busy:.1f} at the end; {time.strftime('%Y-%m-%d')}\n")
    print("| network | subject | p50, ms | p99, ms | RSS, MiB | PSS, MiB | first message, s | p50 ratio | p99 ratio | RSS ratio | "
          "PSS ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for (network, name), found in results.items():
        label = f"Margay, {name}" if name in MARGAY else name
        if None in found:
            print(f"| {network} | {label} | did not run in {found.count(None)} of {len(found)} rounds |" + " |" * 8)
            continue
        cells = [f"{statistics.median(one[key] for one in found):.2f}" for key in ("p50", "p99")]
        cells += [f"{statistics.median(one[key] for one in found):.0f}" for key in ("Rss", "Pss")]
        cells.append(f"{statistics.median(one['first'] for one in found):.1f}")
        base = results.get((network, BASE))
        for key in ("p50", "p99", "Rss", "Pss"):
            if name == BASE or not base or None in base:
                cells.append("1" if name == BASE else "–")
                continue
            middle, low, high = ratio([one[key] for one in found], [one[key] for one in base])
            cells.append(f"{middle:.2f} ({low:.2f}–{high:.2f})")
        print(f"| {network} | {label} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--margay", type=Path, default=ROOT / "target/release/margay")
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared/models", help="folder with real models in onnx/")
    parser.add_argument("--pictures", type=Path, default=None, help="folder of JPEG files that plays the camera")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--only", help="engines to measure, of tract, compiled, onnxruntime, openvino, ncnn, litert")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=150, help="frames of a round")
    parser.add_argument("--warm-up", type=int, default=25, help="frames before them")
    parser.add_argument("--rate", type=float, default=25, help="frames a second")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--venv", type=Path, default=ROOT / "target/peers-venv")
    parser.add_argument("--json", type=Path, help="write every round's figures to this file, too")
    arguments = parser.parse_args()
    arguments.venv = arguments.venv.resolve()
    enter_environment(arguments.venv)
    arguments.margay = arguments.margay.resolve()
    for program in (arguments.margay, "mosquitto", "openssl"):
        if shutil.which(program) is None:
            sys.exit(f"{program} is not there" + (": cargo build --release" if program == arguments.margay else ""))
    with tempfile.TemporaryDirectory(prefix="margay-peers-", dir="/tmp") as folder:
        if arguments.pictures is None:
            arguments.pictures = default_pictures(arguments.models, Path(folder))
        arguments.pictures = arguments.pictures.resolve()
        Path(folder).chmod(0o755)
        results = run(arguments, Path(folder))
    if arguments.json:
        arguments.json.write_text(json.dumps([[*key, found] for key, found in results.items()], indent=1))
    table(results, arguments)


def default_pictures(models, folder):
    """A camera's picture of 1280x720 where there is one, otherwise the repository's frames."""
    photo = models / "photos/coral_cat_720p.jpg"
    if not photo.is_file():
        return ROOT / "models/signs/frames"
    target = folder / "pictures"
    target.mkdir()
    shutil.copy(photo, target / "frame-000.jpg")
    return target


def peer_arguments(words):
    parser = argparse.ArgumentParser()
    for name in ("name", "model", "pictures", "certificates", "topic"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--broker", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--logits", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        peer(peer_arguments(sys.argv[2:]))
    else:
        main()
