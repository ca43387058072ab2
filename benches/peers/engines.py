#!/usr/bin/env python3
"""The compiled engine and tract beside ONNX Runtime, OpenVINO, LiteRT and ncnn, on classifiers of floats.

    pip install onnx onnxruntime openvino ai-edge-litert ncnn pnnx
    cargo build --release --workspace --example engines
    benches/peers/engines.py [--rounds 30] [--threads 1,2] [--clock wall|processor] [--networks resnet18,…] [--hide avx512|amx]

Every runtime is a process of its own that holds the model; in each round each of them runs for some 40 ms, one after the
other in an order that is drawn anew, when the threads of the one before have come to rest. Compared are the medians of a
round, pairwise within the round: the ratio of the
compiled engine's time to the fastest peer's, with the interval that holds 95 % of the medians of resampled rounds. With
`--clock processor`, for a busy machine, the least time that one run spent on the processor stands for the round: only for
one thread, since threads that wait spin. A third table has the time from an empty process to the first scores, imports
excluded, and by how much the process grew for it; `--starts 9` makes only that one, of so many starts each, in an order that
is drawn anew in each round. "kept" is the compiled engine from the artefact that an earlier start wrote. Whoever differs from ONNX Runtime's scores by more than a thousandth of
the greatest is named and left out; quantised, by more than a tenth: OpenVINO rounds in its own way. Peers without VNNI stay,
named: their bytes saturate.

With `--int8` the networks are quantised by ONNX Runtime (networks/quantise.py), and only those take part that read such files:
ONNX Runtime and OpenVINO.

Networks have random weights (networks/export.py); `--real FOLDER` takes the weights of mobilenet v2 and squeezenet 1.1 from
`mobilenetv2_fp32.onnx` and `squeezenet1.1_fp32.onnx` there. `--hide avx512` holds every runtime to AVX2: ours by name,
the peers by a library that hides from them what the processor has beyond it (hide.c, built here by `cc`), since only OpenVINO has
a setting. `--hide amx` leaves them AVX-512 and takes only the matrix units of servers.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE), str(HERE / "networks")]

GOALS = {
    "mobilenet_v2": 0.90, "mobilenet_v3_small": 0.90, "efficientnet_b0": 0.90,
    "squeezenet1_1": 0.85, "resnet18": 0.85, "resnet50": 0.85,
}  # fmt: skip
AVX2_GOAL = 1.00
INT8_GOALS = {"mobilenet_v2": 0.75, "resnet18": 0.95, "squeezenet1_1": 1.00, "mobilenet_v3_small": 1.00}
REAL = {"mobilenet_v2": "mobilenetv2_fp32.onnx", "squeezenet1_1": "squeezenet1.1_fp32.onnx"}
SIDE = 224
PEERS = {"ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "LiteRT": "litert", "ncnn": "ncnn"}
ENDINGS = {"onnxruntime": ".onnx", "openvino": ".onnx", "litert": ".tflite", "ncnn": ".ncnn.param"}
SLICE_MS = 40
OURS, KEPT = "compiled", "compiled, kept"


class Runtime:
    """A process that answers with numbers; `None` where it does not start."""

    def __init__(self, command, environment=None):
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        first = self.process.stdout.readline().split()
        if len(first) != 2:
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1:] or "it said nothing")
        self.start, self.memory = map(float, first)
        self.runs, self.rounds = 1, []

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]

    def settle(self):
        """Finds out how many runs fill a slice."""
        self.runs = max(3, min(100, round(SLICE_MS / max(self.ask(3)[0], 0.05))))

    def round(self, clock):
        least, median, processor = self.ask(self.runs)
        self.rounds.append(median if clock == "wall" else processor)

    def on_processor(self):
        """How long its threads were on a processor, in nanoseconds."""
        threads = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def prepare(names, real, folder, is_plain=False):
    """Writes every network in every runtime's format, or as ONNX alone. Returns the ONNX files by network."""
    import export

    files = export.write(names, folder)
    for name, file in files.items():
        if real and name in REAL and (real / REAL[name]).is_file():
            file.write_bytes((real / REAL[name]).read_bytes())
    if is_plain:
        return files
    import tflite

    for file in files.values():
        try:
            tflite.convert(file, file.with_suffix(".tflite"))
        except ValueError as error:
            print(f"{file.stem}: LiteRT is left out: {error}", file=sys.stderr)
        try:
            import pnnx

            command = [pnnx.EXEC_PATH, file.name, f"inputshape=[1,3,{SIDE},{SIDE}]", "fp16=0"]
            subprocess.run(command, cwd=folder, capture_output=True, check=False)
        except ImportError:
            print("ncnn is left out: pip install pnnx", file=sys.stderr)
    return files


def quantised(files):
    """The networks quantised, beside them."""
    import quantise

    found = {}
    for name, file in files.items():
        found[name] = file.with_suffix(".int8.onnx")
        if not found[name].is_file():
            quantise.quantise(file, found[name], SIDE)
    return found


def commands(arguments, file, threads):
    """Name, command and environment of all that is measured on a network."""
    ours = {"avx512": "compiled:avx2", "amx": "compiled:avx512-vbmi"}.get(arguments.hide, "compiled")
    yield OURS, [arguments.program, ours, file, SIDE, threads], None
    if not arguments.hide:
        artefact = arguments.artefacts / f"{file.stem}.compiled"
        if not artefact.is_file():
            Runtime([arguments.program, f"keep:{artefact}", file, SIDE]).close()
        yield KEPT, [arguments.program, f"kept:{artefact}", file, SIDE, threads], None
    hidden = {"LD_PRELOAD": str(arguments.library), "HIDE": arguments.hide} if arguments.hide else None
    if threads == 1:
        yield "tract", [arguments.program, "tract", file, SIDE], hidden
    script = [sys.executable, HERE / "runtimes.py"]
    for name, runtime in PEERS.items():
        if arguments.int8 and ENDINGS[runtime] != ".onnx":
            continue
        yield name, [*script, runtime, file.with_suffix(ENDINGS[runtime]), threads, SIDE], hidden


def start(arguments, file, threads):
    """All runtimes that start and agree with ONNX Runtime."""
    runtimes = {}
    for name, command, environment in commands(arguments, file, threads):
        try:
            runtimes[name] = Runtime(command, environment)
        except (RuntimeError, OSError) as error:
            print(f"{file.stem}: {name} is left out: {error}", file=sys.stderr)
    if "ONNX Runtime" in runtimes:
        is_exact = not arguments.hide and not arguments.int8
        expected = runtimes["ONNX Runtime"].ask("scores") if is_exact else reference(file, threads)
        greatest = max(map(abs, expected))
        for name in list(runtimes):
            found = runtimes[name].ask("scores")
            error = max(map(lambda pair: abs(pair[0] - pair[1]), zip(found, expected, strict=True))) / greatest
            if error > (1 / 10 if arguments.int8 else 1e-3) and not (arguments.int8 and name == "tract"):
                # Without VNNI, peers multiply bytes by an instruction that saturates; what they take is measured all the same.
                stays = arguments.int8 and name in PEERS
                print(f"{file.stem}: the scores of {name} differ by {error:.1e}", file=sys.stderr)
                if not stays:
                    print(f"{file.stem}: {name} is left out", file=sys.stderr)
                    runtimes.pop(name).close()
    return runtimes


def reference(file, threads):
    """ONNX Runtime's scores on the whole processor, without sums that saturate."""
    runtime = Runtime([sys.executable, HERE / "runtimes.py", "exact", file.with_suffix(".onnx"), threads, SIDE])
    scores = runtime.ask("scores")
    runtime.close()
    return scores


def wait_for_rest(runtimes):
    """Until no runtime is at work: some let their threads spin after a run (ONNX Runtime 40 ms), on the next one's processor."""
    before = None
    for _ in range(100):
        now = [runtime.on_processor() for runtime in runtimes]
        if now == before:
            return
        before = now
        time.sleep(0.02)


def measure(arguments, file, threads):
    runtimes = start(arguments, file, threads)
    for runtime in runtimes.values():
        runtime.settle()
    order = list(runtimes.values())
    for _ in range(arguments.rounds):
        random.shuffle(order)
        for runtime in order:
            wait_for_rest(order)
            runtime.round(arguments.clock)
    for runtime in order:
        runtime.close()
    return runtimes


def compare(ours, peer):
    """Median of the paired ratios, and the interval of 95 % of the resampled medians."""
    ratios = [a / b for a, b in zip(ours.rounds, peer.rounds)]
    resampled = sorted(statistics.median(random.choices(ratios, k=len(ratios))) for _ in range(2000))
    return statistics.median(ratios), resampled[50], resampled[-51]


def fastest(runtimes, names):
    present = [name for name in names if name in runtimes]
    return min(present, key=lambda name: statistics.median(runtimes[name].rounds), default=None)


def cells(runtimes, ours, peers, goal):
    peer = fastest(runtimes, peers)
    if ours not in runtimes or peer is None:
        return ["–", "–"]
    ratio, low, high = compare(runtimes[ours], runtimes[peer])
    verdict = f"{'yes' if ratio <= goal else 'no'}: {goal:.2f}" if goal else "–"
    return [f"{ratio:.2f} ({low:.2f}–{high:.2f}) of {peer}", verdict]


def print_times(results, threads, arguments, goals):
    columns = [OURS, *([] if arguments.hide else [KEPT]), "tract", *PEERS]
    what = "median of a round" if arguments.clock == "wall" else "least time on the processor"
    limit = f", {arguments.hide} hidden from all" if arguments.hide else ""
    print(f"\n{threads} thread{'s' * (threads > 1)}, {what}, ms (median over rounds){limit}\n")
    print("| network | " + " | ".join(columns) + " | to the fastest peer | goal |")
    print("|---|" + "---|" * (len(columns) + 2))
    for name, runtimes in results.items():
        times = [f"{statistics.median(runtimes[c].rounds):.2f}" if c in runtimes else "–" for c in columns]
        goal = AVX2_GOAL if arguments.hide == "avx512" else goals.get(name)
        print(f"| {name} | " + " | ".join(times + cells(runtimes, OURS, PEERS, goal)) + " |")


def measure_starts(arguments, file):
    """The median time to the first scores and the median growth of every runtime."""
    starts, order = {}, list(commands(arguments, file, 1))
    for _ in range(arguments.starts):
        random.shuffle(order)
        for name, command, environment in order:
            try:
                runtime = Runtime(command, environment)
            except (RuntimeError, OSError) as error:
                print(f"{file.stem}: {name} is left out: {error}", file=sys.stderr)
                continue
            starts.setdefault(name, []).append((runtime.start, runtime.memory))
            runtime.close()
    return {name: Start(*(statistics.median(each) for each in zip(*found))) for name, found in starts.items()}


class Start:
    """What a runtime's start took."""

    def __init__(self, start, memory):
        self.start, self.memory = start, memory


def print_starts(results):
    columns = [OURS, KEPT, "tract", *PEERS]
    print("\nTo the first scores, ms / growth of the process, MiB (one thread)\n")
    print("| network | " + " | ".join(columns) + " | kept to the fastest and the smallest peer |")
    print("|---|" + "---|" * (len(columns) + 1))
    for name, runtimes in results.items():
        found = [f"{runtimes[c].start:.0f} / {runtimes[c].memory:.0f}" if c in runtimes else "–" for c in columns]
        peers = [runtimes[peer] for peer in PEERS if peer in runtimes]
        if KEPT in runtimes and peers:
            time = runtimes[KEPT].start / min(peer.start for peer in peers)
            memory = runtimes[KEPT].memory / min(peer.memory for peer in peers)
            found.append(f"{time:.2f} / {memory:.2f}")
        print(f"| {name} | " + " | ".join(found) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "target/release/examples/engines"))
    parser.add_argument("--real", type=Path, help="folder with the files of the real networks")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--int8", action="store_true", help="quantised networks")
    parser.add_argument("--hide", choices=["avx512", "amx"], help="what no runtime may use")
    parser.add_argument("--networks", help="by default all that have a goal")
    parser.add_argument("--starts", type=int, default=0, help="only starts, so many of each")
    parser.add_argument("--folder", type=Path, help="keeps the converted networks here for the next time")
    arguments = parser.parse_args()
    goals = INT8_GOALS if arguments.int8 else GOALS
    counts = [int(count) for count in arguments.threads.split(",")]
    if arguments.clock == "processor" and counts != [1]:
        parser.error("--clock processor needs --threads 1")
    with tempfile.TemporaryDirectory() as temporary:
        folder, arguments.artefacts = arguments.folder or Path(temporary), Path(temporary)
        arguments.library = Path(temporary) / "hide.so"
        if arguments.hide:
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", arguments.library, HERE / "hide.c"], check=True)
        names = arguments.networks.split(",") if arguments.networks else list(goals)
        kept = {name: folder / f"{name}.onnx" for name in names}
        ending = ".onnx" if arguments.int8 else ".ncnn.param"
        is_kept = all(file.with_suffix(ending).is_file() for file in kept.values())
        if not is_kept:
            prepare(names, arguments.real, folder, arguments.int8)
        files = kept
        files = quantised(files) if arguments.int8 else files
        if arguments.starts:
            return print_starts({name: measure_starts(arguments, file) for name, file in files.items()})
        for threads in counts:
            results = {}
            for name, file in files.items():
                print(f"{threads} threads: {name}", file=sys.stderr)
                results[name] = measure(arguments, file, threads)
            print_times(results, threads, arguments, goals)
            if threads == 1 and not arguments.hide:
                print_starts(results)


if __name__ == "__main__":
    main()
