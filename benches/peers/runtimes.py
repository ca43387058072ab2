#!/usr/bin/env python3
"""One runtime with one model, for engines.py: answers lines from its input with numbers.

    runtimes.py RUNTIME MODEL THREADS SIDE

RUNTIME is `onnxruntime`, `openvino`, `litert`, `ncnn`, or `ncnn16`, which may compute with floats of 16 bits, or `exact`, which
is ONNX Runtime whose sums of bytes saturate on no processor. Printed at once: milliseconds to load the model and run it first,
imports excluded, and the MiB by which that let the process grow at most, the runtime's library included. Then for each
line with a number: that many runs, of which the least and the median wall time and the least time on the processor, in
milliseconds. For `scores`: what comes out.
"""

import sys
import time
from pathlib import Path

import numpy


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def onnxruntime_(model, threads, picture, is_exact=False):
    import onnxruntime

    yield
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    if is_exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: picture}
    yield lambda: session.run(None, feed)[0]


def exact_(model, threads, picture):
    return onnxruntime_(model, threads, picture, is_exact=True)


def openvino_(model, threads, picture):
    import openvino

    yield
    hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(model, "CPU", {**hints, "NUM_STREAMS": 1})
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(picture, shared_memory=True))

    def run():
        request.infer()
        return request.get_output_tensor().data

    yield run


def litert_(model, threads, picture):
    from ai_edge_litert.interpreter import Interpreter

    yield
    interpreter = Interpreter(model_path=model, num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    picture = numpy.ascontiguousarray(picture.transpose(0, 2, 3, 1))

    def run():
        interpreter.set_tensor(source["index"], picture)
        interpreter.invoke()
        return interpreter.get_tensor(target["index"])

    yield run


def ncnn_(model, threads, picture, halves=False):
    import ncnn

    yield
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = halves
    net.opt.use_bf16_storage = False
    net.load_param(model)
    net.load_model(model.removesuffix(".param") + ".bin")
    planes = numpy.ascontiguousarray(picture[0])

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(planes))
        return numpy.array(extractor.extract("out0")[1])

    yield run


def ncnn16_(model, threads, picture):
    yield from ncnn_(model, threads, picture, halves=True)


def main():
    runtime, model, threads, side = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    places = numpy.arange(3 * side * side, dtype=numpy.int64)
    picture = (places * 7919 % 1000 / 500 - 1).astype(numpy.float32).reshape(1, 3, side, side)
    before = status("VmRSS")
    steps = globals()[runtime + "_"](model, threads, picture)
    next(steps)
    start = time.perf_counter()
    run = next(steps)
    run()
    print(f"{(time.perf_counter() - start) * 1e3:.2f} {status('VmHWM') - before:.1f}", flush=True)
    for line in sys.stdin:
        if line.strip() == "scores":
            print(" ".join(f"{score:.9g}" for score in numpy.ravel(run())), flush=True)
            continue
        walls, processors = [], []
        run()
        for _ in range(int(line)):
            wall, processor = time.perf_counter(), time.process_time()
            run()
            processors.append(time.process_time() - processor)
            walls.append(time.perf_counter() - wall)
        walls.sort()
        print(f"{walls[0] * 1e3:.4f} {walls[len(walls) // 2] * 1e3:.4f} {min(processors) * 1e3:.4f}", flush=True)


if __name__ == "__main__":
    main()
