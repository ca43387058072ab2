"""``publish`` of samples."""

import json

from . import core
from .exceptions import GreengrassDependencyException


def _plain(value):
    """Numbers and arrays of NumPy, which JSON does not know."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError("{} is neither a number, a text, a list nor a dict".format(type(value).__name__))


class FeedbackClient:
    """Hands samples to the ML Feedback connector."""

    def publish(self, **arguments):
        """Hands in a sample. Returns when the connector has taken it; what becomes of it is said on the topic
        ``feedback/message/status``.

        :param ConfigId: a feedback configuration of the connector
        :param ModelInput: what the model was given: bytes, or a stream of them
        :param ModelPrediction: what the model made of it: a list of numbers, or a dict
        :param Metadata: optional; a dict that goes along
        :raises GreengrassDependencyException: the group has no such connector
        :raises ValueError: an argument is missing, of the wrong type, or makes no sense to the connector
        """
        config_id = core.text(arguments, "ConfigId")
        sample = core.content(arguments, "ModelInput")
        prediction = core.required(arguments, "ModelPrediction")
        prediction = prediction.tolist() if hasattr(prediction, "tolist") else prediction
        if not isinstance(prediction, (list, tuple, dict)):
            raise ValueError("ModelPrediction is a list or a dict, not {}".format(type(prediction).__name__))
        metadata = arguments.pop("Metadata", None)
        metadata = {} if metadata is None else metadata
        if not isinstance(metadata, dict):
            raise ValueError("Metadata is a dict, not {}".format(type(metadata).__name__))
        core.finish(arguments)
        try:
            said = {"prediction": prediction, "metadata": metadata}
            head = json.dumps(said, allow_nan=False, default=_plain).encode("utf-8")
        except TypeError as error:
            raise ValueError("ModelPrediction or Metadata cannot be written as JSON: {}".format(error)) from None
        headers = {"X-Margay-Head": str(len(head)), "Content-Type": "application/octet-stream"}
        try:
            core.post("feedback", config_id, head + sample, headers, limit=core.MAX_INPUT + len(head))
        except core.Refused as refused:
            kind = GreengrassDependencyException if refused.kind == "Dependency" else ValueError
            raise kind(str(refused)) from None
