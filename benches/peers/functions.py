#!/usr/bin/env python3
"""How fast functions speak with the core: a native one and a Python one, in sandboxes of a demo's core, beside a bare HTTP
server over loopback. As root: functions.py PATH-OF-MARGAY. What the functions found is printed from their logs.
"""

import base64
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:%s:1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def function(name, executable, variables):
    return {"Id": name, "FunctionArn": ARN % name, "FunctionConfiguration": {
        "Executable": executable, "MemorySize": 65536, "Timeout": 30, "Pinned": True,
        "Environment": {"Variables": variables}}}


def main():
    margay = str(pathlib.Path(sys.argv[1]).resolve())
    folder = pathlib.Path(tempfile.mkdtemp(prefix="margay-functions-"))
    native = folder / "native"
    subprocess.run(["rustc", "-O", "--edition", "2024", "-o", native, HERE / "function.rs"], check=True)
    port = free_port()
    bare = subprocess.Popen([native, "serve", str(port)])
    demo = subprocess.Popen([margay, "demo", "--dir", folder / "demo", "--fps", "1"], stdout=subprocess.PIPE, text=True)
    try:
        for line in demo.stdout:
            if line.startswith("core"):
                break
        root = folder / "demo/greengrass"
        code = root / "ggc/deployment/lambda"
        for name, source, target in [("native", native, "run"), ("python", HERE / "function.py", "app.py")]:
            (code / (ARN % name)).mkdir(parents=True)
            shutil.copy(source, code / (ARN % name) / target)
        context = base64.b64encode(json.dumps({"custom": {"subject": "bench/native"}}).encode()).decode()
        document = root / "ggc/deployment/group/group.json"
        group = json.loads(document.read_text())
        group.setdefault("FunctionDefinitionVersion", {}).setdefault("Functions", []).extend([
            function("native", "run", {"CONTEXT": context}),
            function("python", "app.handler", {"BARE_PORT": str(port), "TOPIC": "bench/python"})])
        group["SubscriptionDefinitionVersion"]["Subscriptions"].append(
            {"Id": "bench", "Source": ARN % "native", "Target": ARN % "native", "Subject": "bench/#"})
        wanted = folder / "group.json"
        wanted.write_text(json.dumps(group))
        config = root / "config/config.json"
        deploy = [margay, "deploy", wanted, "--wait", "--config", config]
        # The demo's own deployment is confirmed first.
        while subprocess.run(deploy, capture_output=True).returncode:
            time.sleep(1)
        logs = root / "ggc/var/log/user/eu-central-1/123456789012"
        deadline = time.monotonic() + 300
        found = {}
        while len(found) < 2 and time.monotonic() < deadline:
            for log in logs.glob("*.log"):
                for line in log.read_text().splitlines():
                    if "result " in line:
                        found[log.stem] = line.split("result ", 1)[1]
            time.sleep(0.5)
        for line in found.values():
            print(line)
        if len(found) < 2:
            subprocess.run([margay, "functions", "--config", config])
            sys.exit("no result")
    finally:
        demo.terminate()
        demo.wait()
        bare.terminate()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    if os.geteuid():
        sys.exit("functions take root")
    main()
