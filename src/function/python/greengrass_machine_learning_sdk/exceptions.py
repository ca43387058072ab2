"""What can go wrong beside a wrong argument, which is a ValueError."""


class GreengrassInferenceException(Exception):
    """The local inference service has no answer: it refused the picture, took too long or ended."""


class GreengrassDependencyException(Exception):
    """There is no such service or connector in the group, it does not run now, or the core cannot be reached."""
