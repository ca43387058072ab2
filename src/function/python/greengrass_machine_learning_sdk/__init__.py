"""Pictures to the group's ML Image Classification connector, samples to its ML Feedback connector (docs/ml-sdk.md).

Written for Margay after AWS's guide; the module of that name that AWS handed out speaks to V1's own connectors.
"""

from .exceptions import GreengrassDependencyException, GreengrassInferenceException
from .feedback import FeedbackClient
from .inference import InferenceClient

__all__ = ["client", "GreengrassDependencyException", "GreengrassInferenceException"]

_CLIENTS = {"inference": InferenceClient, "feedback": FeedbackClient}


def client(client_type):
    """A client: ``inference`` or ``feedback``."""
    try:
        return _CLIENTS[client_type]()
    except (KeyError, TypeError):
        raise ValueError("client_type is one of {}, not {!r}".format(", ".join(sorted(_CLIENTS)), client_type)) from None
