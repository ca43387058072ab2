"""A Python function that measures itself when it is told to: a publish to the core and a request to a bare server over
loopback, in turns, each over a connection that is kept."""

import base64
import http.client
import json
import os
import time

from greengrass_common.env_vars import MY_FUNCTION_ARN, ROUTER_FUNCTION_ARN
from greengrass_ipc_python_sdk.ipc_client import IPCClient

ROUNDS = 2000

client = IPCClient()
bare = http.client.HTTPConnection("127.0.0.1", int(os.environ["BARE_PORT"]))
context = base64.b64encode(json.dumps({"custom": {"source": MY_FUNCTION_ARN, "subject": os.environ["TOPIC"]}}).encode())


def timed(action):
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1e6


def to_bare():
    bare.request("POST", "/", body=b"1", headers={"X-Amz-Client-Context": context.decode()})
    bare.getresponse().read()


def to_core():
    client.post_work(ROUTER_FUNCTION_ARN, b"1", context, "Event")


def percentile(values, percent):
    return sorted(values)[(len(values) - 1) * percent // 100]


def handler(event, client_context):
    for action in [to_bare, to_core] * 20:
        timed(action)
    pairs = [(timed(to_core), timed(to_bare)) for _ in range(ROUNDS)]
    core, alone = zip(*pairs)
    ratios = [one / other for one, other in pairs]
    print(
        "result python: publish p50 %.0f us, p99 %.0f us; bare loopback p50 %.0f us, p99 %.0f us; ratio of pairs %.2f "
        "(quartiles %.2f to %.2f, %d pairs)"
        % (percentile(core, 50), percentile(core, 99), percentile(alone, 50), percentile(alone, 99),
           percentile(ratios, 50), percentile(ratios, 25), percentile(ratios, 75), ROUNDS),
        flush=True,
    )
    return {}
