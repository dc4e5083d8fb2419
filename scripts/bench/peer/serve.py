"""The Python side's end of harness/child.mjs: one JSON request a line, one answer a line."""

import json
import sys
import traceback


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass
    return {}


def peak():
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
