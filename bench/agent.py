"""Runs and times commands for bench.py, inside one engine's namespaces.

Reads one JSON request a line and answers each with one JSON line:

    {"run": [argv]}              runs to the end: {"code", "wall", "out"}; wall is in seconds
    {"together": [[argv], ...], "width": N}   runs all, at most N at a time: {"codes", "wall"}
    {"spawn": [argv], "log": PATH}            starts and leaves: {"pid"}
    {"signal": NUMBER, "pid": PID}            signals and waits for the end: {"wall"}
    {"ready": [argv], "pid": PID}             runs again and again until it succeeds: {"wall"}

Every engine is measured by the same few lines, so what this costs is the same for all.
"""

import json
import os
import signal
import subprocess
import sys
import time

NULL = os.open("/dev/null", os.O_RDWR)


def program(argv):
    if "/" in argv[0]:
        return argv[0]
    for directory in os.environ["PATH"].split(":"):
        path = os.path.join(directory, argv[0])
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError(argv[0])


def spawn(argv, out=NULL, err=NULL):
    moves = [(os.POSIX_SPAWN_DUP2, NULL, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
    return os.posix_spawn(program(argv), argv, os.environ, file_actions=moves)


def run(argv, keep=True):
    out = os.memfd_create("output") if keep else NULL
    begin = time.perf_counter()
    pid = spawn(argv, out, out)
    _, status = os.waitpid(pid, 0)
    wall = time.perf_counter() - begin
    text = ""
    if keep:
        text = os.pread(out, 1 << 20, 0).decode(errors="replace")
        os.close(out)
    return {"code": os.waitstatus_to_exitcode(status), "wall": wall, "out": text}


def together(commands, width):
    begin = time.perf_counter()
    waiting, running, codes = list(reversed(commands)), set(), []
    while waiting or running:
        while waiting and len(running) < width:
            running.add(spawn(waiting.pop()))
        pid, status = os.wait()
        if pid in running:
            running.remove(pid)
            codes.append(os.waitstatus_to_exitcode(status))
    return {"codes": codes, "wall": time.perf_counter() - begin}


def stop(pid, number):
    begin = time.perf_counter()
    os.kill(pid, number)
    while os.waitpid(pid, os.WNOHANG)[0] != pid:
        if time.perf_counter() - begin > 20:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)
    return {"wall": time.perf_counter() - begin}


def ready(argv, pid):
    """From now until the first success; the caller asks right after spawn."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < 60:
        if subprocess.run(argv, stdin=NULL, stdout=NULL, stderr=NULL).returncode == 0:
            return {"wall": time.perf_counter() - begin}
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return {"wall": None}
        time.sleep(0.001)
    return {"wall": None}


def answer(request):
    if "run" in request:
        return run(request["run"], request.get("keep", True))
    if "together" in request:
        return together(request["together"], request["width"])
    if "spawn" in request:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        pid = spawn(request["spawn"], log, log)
        os.close(log)
        return {"pid": pid}
    if "signal" in request:
        return stop(request["pid"], request["signal"])
    return ready(request["ready"], request["pid"])


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    root = sys.argv[1]
    if root != "/":
        os.chroot(root)
        os.chdir("/")
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


main()
