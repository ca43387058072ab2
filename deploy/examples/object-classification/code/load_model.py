"""The model that the core mounted: an ONNX file, and the names of its classes in synset.txt beside it."""

import glob
import os

import numpy
import onnxruntime
from PIL import Image, ImageOps

# ImageNet's, which SqueezeNet and its relatives were trained with; others say theirs in the function's variables.
MEAN = numpy.array(os.environ.get("MEAN", "0.485,0.456,0.406").split(","), dtype=numpy.float32)
STD = numpy.array(os.environ.get("STD", "0.229,0.224,0.225").split(","), dtype=numpy.float32)


class Model:
    """Classifies pictures."""

    def __init__(self, folder):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        network = glob.glob(os.path.join(folder, "**", "*.onnx"), recursive=True)[0]
        self.session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0]
        with open(os.path.join(os.path.dirname(network), "synset.txt")) as lines:
            self.classes = [line.strip().partition(" ") if line.startswith("n0") or line.startswith("n1")
                            else (str(number), " ", line.strip()) for number, line in enumerate(lines)]

    def classify(self, path, count=5):
        """The `count` likeliest classes of a picture: probability, class id, name."""
        height, width = self.input.shape[2:]
        picture = ImageOps.fit(Image.open(path).convert("RGB"), (width, height), Image.Resampling.BILINEAR)
        pixels = (numpy.asarray(picture, dtype=numpy.float32) / 255 - MEAN) / STD
        scores = self.session.run(None, {self.input.name: pixels.transpose(2, 0, 1)[numpy.newaxis]})[0].ravel()
        if scores.min() < 0 or abs(scores.sum() - 1) > 0.001:
            scores = numpy.exp(scores - scores.max())
            scores /= scores.sum()
        best = scores.argsort()[::-1][:count]
        return [(round(float(scores[place]), 4), self.classes[place][0], self.classes[place][2]) for place in best]
