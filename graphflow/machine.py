"""What this machine attains at most, on one thread and on all: `python -m graphflow.machine`."""

from __future__ import annotations

from graphflow.explain import limits_text
from graphflow.runtime.machine import measured_anew
from graphflow.runtime.threads import usable_cores

if __name__ == "__main__":
    for threads in sorted({1, usable_cores()}):
        print(limits_text(measured_anew(threads)))
