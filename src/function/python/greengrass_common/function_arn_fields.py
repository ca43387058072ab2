"""The parts of a function's ARN."""

import re

_ARN = re.compile(
    r"(?P<unqualified>arn:(?P<partition>aws[a-z-]*):lambda:(?P<region>[a-z0-9-]*):(?P<account_id>[0-9]*|aws)"
    r":function:(?P<name>[A-Za-z0-9_-]+))(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]+))?"
)


class FunctionArnFields:
    """An ARN in its parts; ``qualifier`` is the version or alias, empty where there is none."""

    def __init__(self, function_arn_string):
        match = _ARN.fullmatch(function_arn_string)
        if match is None:
            raise ValueError("Could not parse ARN {}".format(function_arn_string))
        self.arn_string = function_arn_string
        self.unqualified_arn = match.group("unqualified")
        self.region = match.group("region")
        self.account_id = match.group("account_id")
        self.name = match.group("name")
        self.qualifier = match.group("qualifier") or ""

    @staticmethod
    def build_function_arn(unqualified_arn, qualifier):
        """The ARN of a version or alias; the one without, if ``qualifier`` is empty."""
        return "{}:{}".format(unqualified_arn, qualifier) if qualifier else unqualified_arn
