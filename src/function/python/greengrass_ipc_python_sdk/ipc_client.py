"""The core's interface for functions, over HTTP on the function's own loopback (docs/functions.md)."""

import http.client
import os
import threading
from urllib.parse import quote

from greengrass_common.env_vars import AUTH_TOKEN

_PATH = "/2016-11-01/functions/"


class IPCException(Exception):
    """The core refused, or could not be reached."""


class WorkResultOutput:
    """What a function answered; ``func_err`` is empty if it did not fail."""

    def __init__(self, payload, func_err):
        self.payload = payload
        self.func_err = func_err


def _bytes(text):
    return text.encode("utf-8") if isinstance(text, str) else text


class IPCClient:
    """Posts work to functions and fetches their answers. One connection a thread, kept."""

    def __init__(self, endpoint="localhost", port=None):
        self._host = "127.0.0.1" if endpoint == "localhost" else endpoint
        self._port = int(port or os.environ.get("GG_DAEMON_PORT", "8000"))
        self._local = threading.local()

    def post_work(self, function_arn, input_bytes, client_context, invocation_type="RequestResponse"):
        """Gives work to a function; returns the number of the invocation."""
        headers = {
            "Authorization": AUTH_TOKEN,
            "X-Amz-Invocation-Type": invocation_type,
            "Content-Type": "application/octet-stream",
        }
        if client_context:
            context = client_context.decode("ascii") if isinstance(client_context, bytes) else client_context
            headers["X-Amz-Client-Context"] = context
        if hasattr(input_bytes, "read"):
            input_bytes = input_bytes.read()
        response, _ = self._ask("POST", function_arn, headers, _bytes(input_bytes))
        return response.getheader("X-Amz-InvocationId")

    def get_work_result(self, function_arn, invocation_id):
        """Waits for what came of an invocation."""
        headers = {"Authorization": AUTH_TOKEN, "X-Amz-InvocationId": invocation_id}
        response, payload = self._ask("GET", function_arn, headers, None)
        return WorkResultOutput(payload, response.getheader("X-Amz-Function-Error") or "")

    def _ask(self, method, function_arn, headers, body):
        path = _PATH + quote(function_arn, safe=":$")
        fresh = getattr(self._local, "connection", None) is None
        if fresh:
            self._local.connection = http.client.HTTPConnection(self._host, self._port)
        connection = self._local.connection
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            payload = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._local.connection = None
            raise IPCException("the core cannot be reached: {}".format(error)) from error
        if response.status != 200:
            said = payload.decode("utf-8", "replace")
            raise IPCException("the core refused: {} {}".format(response.status, said))
        return response, payload
