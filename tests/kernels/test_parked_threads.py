"""Threads that jobs share: parked between calls, taken by several at once, and gone in a forked process."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np

SCRIPT = """
import os
import threading
import time
import numpy as np
from falcon_mnist import kernels

net = kernels.Network([("linear", 50, 70), ("relu", 70, 70), ("linear", 70, 10)])
random = np.random.default_rng(1)
images = random.integers(0, 256, (300, 50)).astype(np.uint8)
labels = (np.arange(300) % 10).astype(np.uint8)
start = random.uniform(-0.3, 0.3, net.parameter_count).astype(np.float32)


def trained(threads):
    parameters, workspace = start.copy(), kernels.Workspace(net, 64, training=True)
    rates = np.full(5, 0.1, np.float32)
    order = np.arange(300)
    batches = kernels.Batches(images, labels, order, 64)
    net.train(parameters, {}, batches, kernels.Steps(kernels.Optimizer("sgd"), rates), workspace, threads=threads)
    return parameters.tobytes()


one = trained(1)
assert [trained(threads) for threads in (3, 2, 16, 3)] == [one] * 4
found = []
callers = [threading.Thread(target=lambda: found.extend(trained(3) for _ in range(20))) for _ in range(3)]
for caller in callers:
    caller.start()
for caller in callers:
    caller.join()
assert found == [one] * 60
time.sleep(0.01)  # until they sleep: they are woken on CPUs of their own, and may move from then on
assert trained(3) == one
assert all(os.sched_getaffinity(int(task)) == os.sched_getaffinity(0) for task in os.listdir("/proc/self/task"))
child = os.fork()
if child == 0:
    os._exit(0 if trained(3) == one else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert trained(3) == one
"""


def test_parked_threads_serve_callers_at_once_and_a_forked_process_starts_its_own(tmp_path: Path) -> None:
    script = tmp_path / "calls.py"
    script.write_text(SCRIPT)
    subprocess.run([sys.executable, "-W", "ignore", script], check=True, timeout=60)


def test_a_workspace_grows_with_the_threads_that_use_it(kernels: ModuleType) -> None:
    net = kernels.Network([("linear", 50, 10)])
    parameters, images = np.zeros(net.parameter_count, np.float32), np.ones((40, 50), np.uint8)
    labels, workspace = np.zeros(40, np.uint8), kernels.Workspace(net, 40)
    sizes = []
    for threads in (1, 3, 2, 16):
        net.evaluate(parameters, images, labels, None, workspace, threads=threads)
        sizes.append(workspace.nbytes)
    assert sizes[0] == kernels.Workspace(net, 40).nbytes
    assert sizes[0] < sizes[1] == sizes[2] < sizes[3]
