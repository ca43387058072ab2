"""Runs a Python handler over the Lambda Runtime API: python3 margay_function.py module.function

For functions that bring no awslambdaric of their own. Messages arrive as V1 gave them to handlers: JSON decoded unless
the function's encoding is binary, the topic in ``context.client_context.custom["subject"]``.
"""

import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback

_API = "/2018-06-01/runtime/"


class ClientContext:
    """What whoever invokes says beside the payload."""

    def __init__(self, fields):
        self.custom = fields.get("custom") or {}
        self.env = fields.get("env") or {}
        self.client = fields.get("client")


class Context:
    """The second argument of a handler."""

    def __init__(self, headers):
        environment = os.environ.get
        self.aws_request_id = headers.get("Lambda-Runtime-Aws-Request-Id", "")
        self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn", "")
        self.function_name = environment("AWS_LAMBDA_FUNCTION_NAME", "")
        self.function_version = environment("AWS_LAMBDA_FUNCTION_VERSION", "")
        self.memory_limit_in_mb = environment("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        self.log_group_name = environment("AWS_LAMBDA_LOG_GROUP_NAME", "")
        self.log_stream_name = environment("AWS_LAMBDA_LOG_STREAM_NAME", "")
        self.identity = None
        self.client_context = ClientContext(json.loads(headers.get("Lambda-Runtime-Client-Context") or "{}"))
        self._deadline_ms = int(headers.get("Lambda-Runtime-Deadline-Ms", "0"))

    def get_remaining_time_in_millis(self):
        """How long the handler may still take."""
        return max(self._deadline_ms - int(time.time() * 1000), 0)


class Api:
    """One kept connection to the core."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self._connection = http.client.HTTPConnection(host, int(port))

    def ask(self, method, path, body=None, headers=None):
        self._connection.request(method, _API + path, body=body, headers=headers or {})
        response = self._connection.getresponse()
        return response, response.read()


def decoded(payload):
    """The event of a message, which is JSON unless the group says otherwise."""
    try:
        return json.loads(payload or b"null")
    except ValueError as error:
        raise ValueError(
            "the message is not JSON; a function whose EncodingType is binary gets the bytes: %s" % error
        ) from error


def described(error):
    """An exception as the Runtime API tells it."""
    frames = traceback.format_exception(type(error), error, error.__traceback__)
    return json.dumps(
        {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": [frame.rstrip() for frame in frames]}
    )


def loaded(name):
    """The handler of ``module.function``."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module.replace("/", ".")), function)


def encoded(answer):
    """What a handler returned: bytes as they are, anything else as JSON."""
    if isinstance(answer, (bytes, bytearray)):
        return bytes(answer)
    return json.dumps(answer).encode("utf-8")


def main():
    # Before the function's own folder is on the path: packages of V1 have AWS's module of that name in them, which speaks to
    # connectors that are not there.
    importlib.import_module("greengrass_machine_learning_sdk")
    sys.path.insert(0, os.environ.get("LAMBDA_TASK_ROOT", "/lambda"))
    # Before the function's own module runs, which may ask for another level.
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="[%(levelname)s]-%(filename)s:%(lineno)d,%(message)s")
    api = Api(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = loaded(sys.argv[1])
    except BaseException as error:
        api.ask("POST", "init/error", described(error))
        raise
    binary = os.environ.get("ENCODING_TYPE") == "binary"
    while True:
        response, payload = api.ask("GET", "invocation/next")
        invocation = "invocation/" + response.getheader("Lambda-Runtime-Aws-Request-Id", "")
        try:
            event = payload if binary else decoded(payload)
            answer = encoded(handler(event, Context(response.headers)))
        except Exception as error:
            traceback.print_exc()
            api.ask("POST", invocation + "/error", described(error))
        else:
            api.ask("POST", invocation + "/response", answer)


if __name__ == "__main__":
    main()
