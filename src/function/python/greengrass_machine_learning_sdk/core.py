"""The core's interface for functions, as far as the machine learning connectors use it."""

import http.client
import json
import os
from urllib.parse import quote

from .exceptions import GreengrassDependencyException


# The largest picture or sample, in bytes.
MAX_INPUT = 6 << 20


class Refused(Exception):
    """The core refused; ``kind`` says what it blames."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def post(path, name, body, headers, query="", limit=MAX_INPUT):
    """The answer to ``body``, given to the service or configuration ``name``."""
    if len(body) > limit:
        # The core would close the connection in the middle of it.
        raise Refused("Argument", "the input is over {} bytes".format(MAX_INPUT))
    address = os.environ.get("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:8000")
    host, _, port = address.rpartition(":")
    headers = dict(headers, Authorization=os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""))
    connection = http.client.HTTPConnection(host, int(port))
    try:
        connection.request("POST", "/margay/1/{}/{}{}".format(path, quote(name, safe=""), query), body, headers)
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise GreengrassDependencyException("the core cannot be reached: {}".format(error)) from error
    finally:
        connection.close()
    if response.status in (200, 202):
        return answer
    try:
        message = json.loads(answer.decode("utf-8"))["errorMessage"]
    except (ValueError, KeyError, TypeError):
        message = "{} {}".format(response.status, answer.decode("utf-8", "replace"))
    raise Refused(response.getheader("X-Margay-Error") or "Dependency", message)


def text(arguments, name):
    """A required argument that is a string."""
    value = required(arguments, name)
    if not isinstance(value, str):
        raise ValueError("{} is a string, not {}".format(name, type(value).__name__))
    return value


def content(arguments, name):
    """A required argument that is bytes, or a stream of them."""
    value = required(arguments, name)
    if hasattr(value, "read"):
        value = value.read()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError("{} is bytes, not {}".format(name, type(value).__name__))
    return bytes(value)


def required(arguments, name):
    """An argument that has to be there."""
    value = arguments.pop(name, None)
    if value is None:
        raise ValueError("{} is required".format(name))
    return value


def finish(arguments):
    """Nothing else may be there."""
    if arguments:
        raise ValueError("unknown argument {}".format(", ".join(sorted(arguments))))
