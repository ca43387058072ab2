"""Looks at a folder of the host that is mounted into its container, writes to a file in it and reads it back."""

import logging
import os

import greengrasssdk

client = greengrasssdk.client("iot-data")
VOLUME = "/dest/LRAtest"


def function_handler(event, context):
    try:
        client.publish(topic="LRA/test", payload="Sent from AWS IoT Greengrass Core.")
        client.publish(topic="LRA/test", payload=str(os.stat(VOLUME)))
        with open(VOLUME + "/test", "a") as output:
            output.write("Successfully write to a file.\n")
        with open(VOLUME + "/test") as written:
            client.publish(topic="LRA/test", payload=written.read())
    except Exception as error:
        logging.error("Failed to publish message: %r", error)
