"""Classifies what the camera sees, picture after picture, and publishes the five likeliest classes of each.

Long-lived: the loop stands outside the handler and runs from the start on.
"""

import glob
import os
import threading
import time

import greengrasssdk
from load_model import Model

client = greengrasssdk.client("iot-data")
model = Model(os.environ["AWS_GG_RESOURCE_PREFIX"] + "/greengrass-machine-learning/mxnet/squeezenet")
INTERVAL = float(os.environ.get("INTERVAL", "6"))


def pictures():
    """Pictures of the mounted folder, again and again. For a USB camera attach /dev/video0 and open it with OpenCV."""
    while True:
        for path in sorted(glob.glob("/camera/*.jpg")):
            yield path
        time.sleep(INTERVAL)


def classify():
    for path in pictures():
        client.publish(topic="hello/world", payload="New Prediction: {}".format(model.classify(path)))
        time.sleep(INTERVAL)


threading.Thread(target=classify, daemon=True).start()


def function_handler(event, context):
    """Nobody sends this function anything."""
