#!/usr/bin/env python3
"""How fast functions speak with the core: a native one and, after it, a Python one, in sandboxes of a demo's core, beside a
bare HTTP server over loopback. As root: functions.py PATH-OF-MARGAY. Takes a minute and a half, most of which is the demo's
own deployment, which has to be confirmed first. What the functions found is printed from their logs; where one says nothing,
the end of its log is, with what the core knows.
"""

import base64
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:%s:1"
NAMES = ["native", "python"]

# Seconds for the demo's start, for the confirmation of its deployment, and for the functions.
START, DEPLOY, MEASURE = 20, 80, 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(seconds, attempt):
    """What `attempt` gives once it is true, or the last thing that it gave."""
    deadline = time.monotonic() + seconds
    while not (given := attempt()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return given


def context(topic):
    return base64.b64encode(json.dumps({"custom": {"subject": topic}}).encode()).decode()


def function(name, executable, variables):
    return {"Id": name, "FunctionArn": ARN % name, "FunctionConfiguration": {
        "Executable": executable, "MemorySize": 65536, "Timeout": 60, "Pinned": True,
        "Environment": {"Variables": variables}}}


def subscription(target):
    return {"Id": target, "Source": ARN % "native", "Target": ARN % target, "Subject": "bench/" + target}


class Device:
    """The demo's device, below `folder`."""

    def __init__(self, margay, folder):
        self.margay, self.folder = margay, folder
        self.root = folder / "demo/greengrass"
        self.logs = self.root / "ggc/var/log/user/eu-central-1/123456789012"

    def run(self, *arguments):
        command = [self.margay, *arguments, "--config", self.root / "config/config.json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def add_functions(self, native, bare_port):
        """The group with the functions; their code at its place."""
        code = self.root / "ggc/deployment/lambda"
        for name, source, target in [("native", native, "run"), ("python", HERE / "function.py", "app.py")]:
            (code / (ARN % name)).mkdir(parents=True)
            shutil.copy(source, code / (ARN % name) / target)
        group = json.loads((self.root / "ggc/deployment/group/group.json").read_text())
        group.setdefault("FunctionDefinitionVersion", {}).setdefault("Functions", []).extend([
            function("native", "run", {"CONTEXT": context("bench/native"), "NEXT": context("bench/python")}),
            function("python", "app.handler", {"BARE_PORT": str(bare_port), "TOPIC": "bench/nobody"})])
        group["SubscriptionDefinitionVersion"]["Subscriptions"].extend(map(subscription, NAMES))
        wanted = self.folder / "group.json"
        wanted.write_text(json.dumps(group))
        return wanted

    def deploy(self, group):
        """Whether the core has taken the deployment: it refuses while the one before is not confirmed."""
        self.said = self.run("deploy", group)
        return self.said.returncode == 0

    def log(self, name):
        log = self.logs / (name + ".log")
        return log.read_text().splitlines() if log.exists() else []

    def results(self):
        lines = {name: [line.split("result ", 1)[1] for line in self.log(name) if "result " in line] for name in NAMES}
        return {name: said[-1] for name, said in lines.items() if said}

    def explain(self, silent):
        for name in silent:
            print(f"{name} printed nothing; the end of its log:", *self.log(name)[-20:], sep="\n  ")
        for arguments in [["status"], ["functions"], ["deployments"]]:
            said = self.run(*arguments)
            print(f"margay {arguments[0]}:", said.stdout + said.stderr, sep="\n")


def measure(device, group):
    if not until(DEPLOY, lambda: device.deploy(group)):
        device.explain([])
        sys.exit("the deployment was refused: " + device.said.stdout + device.said.stderr)
    until(MEASURE, lambda: len(device.results()) == len(NAMES))
    found = device.results()
    print(*found.values(), sep="\n")
    silent = [name for name in NAMES if name not in found]
    if silent:
        device.explain(silent)
    if silent or any("FAILED" in line for line in found.values()):
        sys.exit("not everything was measured")


def main():
    margay = str(pathlib.Path(sys.argv[1]).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="margay-functions-"))
    native = folder / "native"
    device = Device(margay, folder)
    children = []
    try:
        subprocess.run(["rustc", "-O", "--edition", "2024", "-o", native, HERE / "function.rs"], check=True)
        port = free_port()
        children.append(subprocess.Popen([native, "serve", str(port)]))
        said = folder / "said"
        with said.open("w") as output:
            demo = [margay, "demo", "--dir", folder / "demo", "--fps", "1", "--no-page"]
            children.append(subprocess.Popen(demo, stdout=output, stderr=output))
        if not until(START, lambda: any(line.startswith("core") for line in said.read_text().splitlines())):
            sys.exit("the demo did not start:\n" + said.read_text())
        measure(device, device.add_functions(native, port))
    finally:
        for child in reversed(children):
            child.send_signal(signal.SIGTERM)
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("functions take root")
    main()
