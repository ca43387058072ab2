"""Says hello on hello/world every five seconds, from its start on: it is long-lived, and nobody has to invoke it."""

import platform
import threading
import time

import greengrasssdk

client = greengrasssdk.client("iot-data")
GREETING = "Hello world! Sent from Greengrass Core running on platform: " + platform.platform()


def greet():
    while True:
        client.publish(topic="hello/world", payload=GREETING)
        time.sleep(5)


# Outside the handler, so that it runs from the start on; in a thread, so that the handler gets ready as well.
threading.Thread(target=greet, daemon=True).start()


def function_handler(event, context):
    """Nobody sends this function anything."""
