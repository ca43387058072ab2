"""``invoke_inference_service``."""

import io
from urllib.parse import quote

from . import core
from .exceptions import GreengrassDependencyException, GreengrassInferenceException


class InferenceClient:
    """Asks a local inference service."""

    def invoke_inference_service(self, **arguments):
        """Classifies a picture, and waits for it.

        :param AlgoType: ``image-classification``
        :param ServiceName: the connector's ``LocalInferenceServiceName``
        :param ContentType: ``image/jpeg`` or ``image/png``
        :param Body: the file's content: bytes, or a stream of them
        :return: a dict; its ``Body`` is a stream of text such as ``[0.3,0.1,0.04]``, a probability for each class
        :raises GreengrassInferenceException: the service has no answer
        :raises GreengrassDependencyException: there is no such service, or it does not run now
        :raises ValueError: an argument is missing or of the wrong type
        """
        algorithm = core.text(arguments, "AlgoType")
        service = core.text(arguments, "ServiceName")
        content_type = core.text(arguments, "ContentType")
        body = core.content(arguments, "Body")
        core.finish(arguments)
        query = "?algorithm=" + quote(algorithm, safe="")
        try:
            answer = core.post("inference", service, body, {"Content-Type": content_type}, query)
        except core.Refused as refused:
            kind = GreengrassDependencyException if refused.kind == "Dependency" else GreengrassInferenceException
            raise kind(str(refused)) from None
        return {"Body": io.BytesIO(answer)}
