"""Classifies one picture for each message, and publishes the likeliest class, its probability and the memory it took."""

import glob
import os
import resource

import greengrasssdk
from load_model import Model

client = greengrasssdk.client("iot-data")
# Loaded before the first message: the function is long-lived.
model = Model(os.environ["AWS_GG_RESOURCE_PREFIX"] + os.environ.get("MODEL_PATH", "/ml_model"))


def handler(event, context):
    newest = max(glob.glob("/camera/*.jpg"), key=os.path.getmtime)
    [(probability, _, name)] = model.classify(newest, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    client.publish(topic="/resnet-50/predictions",
                   payload="{}, probability {}, peak memory {} KB".format(name, probability, peak))
