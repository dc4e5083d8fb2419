"""The Python side's end of harness/child.mjs: one JSON request a line, one answer a line."""

import json
import os
import sys
import time
import traceback

import torch

DEVICE = os.environ.get("EYAS_BENCH_DEVICE", "cpu")


class Clock:
    """Seconds from its making on: by CUDA events on a GPU."""

    def __init__(self):
        if DEVICE == "cpu":
            self.start = time.perf_counter()
        else:
            self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            self.events[0].record()

    def seconds(self):
        if DEVICE == "cpu":
            return time.perf_counter() - self.start
        self.events[1].record()
        self.events[1].synchronize()
        return self.events[0].elapsed_time(self.events[1]) / 1000


def reset_peak():
    if DEVICE != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return {}
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    return {}


def peak():
    if DEVICE != "cpu":
        return {"mb": torch.cuda.max_memory_allocated() / 2 ** 20}
    try:
        with open("/proc/self/status") as file:
            return {"mb": next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024}
    except OSError:
        import resource
        unit = 1024 * 1024 if sys.platform == "darwin" else 1024
        return {"mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit}


def serve(**actions):
    actions.update(reset_peak=reset_peak, peak=peak)
    answers = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = actions[request.pop("do")](**request) or {}
        except Exception:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
