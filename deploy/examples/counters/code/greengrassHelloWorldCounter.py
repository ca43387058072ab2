"""Counts the messages that this process has seen, and takes its time with each: long-lived, there is one process and one
count; on-demand, messages that come together find a process each."""

import json
import os
import platform
import time

import greengrasssdk

client = greengrasssdk.client("iot-data")
SECONDS = float(os.environ.get("SECONDS", "20"))
count = 0


def function_handler(event, context):
    global count
    count += 1
    topic = context.client_context.custom["subject"].replace("/trigger", "")
    message = "Hello world! Sent from Greengrass Core running on platform: {}. Invocation Count: {}"
    client.publish(topic=topic, payload=json.dumps({"message": message.format(platform.platform(), count)}))
    time.sleep(SECONDS)
