"""Measures Hull beside docker.io, podman, crun and runc, interleaved, and prints ratios.

Each engine lives in a network and mount namespace of its own, with its own data; nothing of the machine is touched. Peers
come from the distribution's packages, in a root of their own (--peers); one that cannot be had is skipped,
saying so. The same static busybox image is used everywhere. Times are medians in milliseconds; CPU counts everything: the
client, the daemon, the supervisor and the container.
"""

import argparse
import glob
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# Set for the process that has a mount namespace of its own.
INSIDE = "HULL_BENCH_INSIDE"
FRESH_BYTES = 24 << 30
OBEDIENT = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]


def median(values):
    return statistics.median(values) if values else None


class Group:
    """A control group that counts the processor time of all below, and finds the processes."""

    def __init__(self, name):
        self.name = name
        tops = ["/sys/fs/cgroup"] if os.path.exists("/sys/fs/cgroup/cgroup.procs") else glob.glob("/sys/fs/cgroup/*")
        self.second = tops == ["/sys/fs/cgroup"]
        self.tops = [top for top in tops if not os.path.islink(top)]
        counting = "/sys/fs/cgroup" if self.second else "/sys/fs/cgroup/cpuacct"
        self.counting = os.path.join(counting, name)
        os.makedirs(os.path.join(self.counting, "agent"), exist_ok=True)

    def join(self):
        """For the agent, before it runs anything: its children inherit the group."""
        file = "cgroup.procs" if self.second else "tasks"
        with open(os.path.join(self.counting, "agent", file), "w") as tasks:
            tasks.write("0")

    def processor_ms(self):
        if self.second:
            with open(os.path.join(self.counting, "cpu.stat")) as stat:
                return int(stat.readline().split()[1]) / 1e3
        with open(os.path.join(self.counting, "cpuacct.usage")) as usage:
            return int(usage.read()) / 1e6

    def processes(self):
        pids = set()
        for top in self.tops:
            for directory, _, _ in os.walk(os.path.join(top, self.name)):
                try:
                    with open(os.path.join(directory, "cgroup.procs")) as procs:
                        pids.update(int(line) for line in procs)
                except OSError:
                    pass
        return pids

    def memory_mb(self):
        """Proportional memory of the engine's own processes: not the containers', not the agent's."""
        total = 0
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/comm") as comm:
                    if comm.read().strip() in ("sleep", "sh", "python3"):
                        continue
                with open(f"/proc/{pid}/smaps_rollup") as rollup:
                    total += next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
            except (OSError, StopIteration):
                pass
        return total / 1024

    def peak_mb(self, program):
        """The most memory that a program of the group has had."""
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/comm") as comm:
                    if comm.read().strip() != program:
                        continue
                with open(f"/proc/{pid}/status") as status:
                    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024
            except (OSError, StopIteration):
                pass
        return None

    def remove(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for top in self.tops:
            for directory, _, _ in os.walk(os.path.join(top, self.name), topdown=False):
                for _ in range(50):
                    try:
                        os.rmdir(directory)
                        break
                    except FileNotFoundError:
                        break
                    except OSError:
                        subprocess.run(["sleep", "0.02"])


class Agent:
    """A process inside an engine's namespaces, see agent.py."""

    def __init__(self, group, root, environment, hide_unified):
        # The hybrid version-2 hierarchy confuses crun; it is unmounted in the private mount namespace only.
        script = "ip link set lo up; mount --make-rprivate /; "
        if root != "/":
            script += (
                f'mount --rbind "$1" "$1"; mount -t proc proc "$1/proc"; mount --rbind /sys "$1/sys"; '
                f'mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/run"; cp /etc/resolv.conf "$1/etc/"; '
            )
        if hide_unified:
            script += 'umount -l "${1%/}/sys/fs/cgroup/unified" 2>/dev/null; '
        script += f'exec "$2" "{HERE}/agent.py" "$1"'
        command = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", root, sys.executable]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=group.join
        )
        self.process.stdout.readline()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the agent ended: {request}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Engine:
    """What all engines have: a client, a group and an agent."""

    daemon = None
    start_options = []
    removal = ["rm", "-f"]
    names_below = "docker.io/library"

    def __init__(self, root, environment, hide_unified):
        self.group = Group(f"hull-bench-{os.getpid()}-{self.name}")
        base = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        self.agent = Agent(self.group, root, {**base, **environment}, hide_unified)

    def client(self, *words, keep=True):
        return self.agent.ask(run=[*self.command, *words], keep=keep)

    def ok(self, *words):
        answer = self.client(*words)
        if answer["code"] != 0:
            raise RuntimeError(f"{self.name} {' '.join(words)}: {answer['out']}")
        return answer["out"]

    def run_words(self, *words):
        return ["run", *self.start_options, *words]

    def launch(self):
        """Starts the daemon; returns milliseconds to its first answer."""
        pid = self.agent.ask(spawn=self.daemon, log=self.log)["pid"]
        wall = self.agent.ask(ready=[*self.command, "version"], pid=pid)["wall"]
        if wall is None:
            raise RuntimeError(f"{self.name}: the daemon did not start, see {self.log}")
        self.pid = pid
        return wall * 1e3

    def halt(self):
        if self.daemon:
            self.agent.ask(signal=signal.SIGTERM, pid=self.pid)

    def clear(self):
        """Removes all containers; seconds. An engine that never ends with it (docker.io has been seen to) is given up."""
        ids = self.ok("ps", "-aq").split()
        if not ids:
            return 0
        answer = self.agent.ask(run=["timeout", "-s", "KILL", "60", *self.command, *self.removal, *ids], keep=True)
        if answer["code"] != 0:
            raise RuntimeError(f"{self.name} {' '.join(self.removal)} of {len(ids)}: {answer['out']}")
        return answer["wall"]

    def close(self):
        try:
            self.clear()
            self.halt()
        except RuntimeError as error:
            print(f"({error})", file=sys.stderr)
        self.agent.close()
        self.group.remove()


class Hull(Engine):
    name = "hull"

    def __init__(self, options, directory):
        programs = os.path.abspath(options.programs)
        self.programs = [f"{programs}/{name}" for name in ("hull", "hulld", "hull-shim", "hull-runtime", "hull-resolver")]
        host = f"unix://{directory}/docker.sock"
        super().__init__("/", {"DOCKER_HOST": host}, False)
        self.command = [f"{programs}/hull"]
        self.log = f"{directory}/hulld.log"
        config = f"{directory}/daemon.json"
        with open(config, "w") as file:
            file.write("{}")
        self.daemon = [
            f"{programs}/hulld", "--config-file", config, "--data-root", f"{directory}/data", "--exec-root",
            f"{directory}/run", "--pidfile", f"{directory}/hulld.pid", "--host", host, "--cgroup-parent", f"/{self.group.name}",
        ]
        self.data = f"{directory}/data"
        self.launch()
        self.ok("load", "-q", "-i", options.image)

    def sizes(self):
        return [os.path.getsize(path) for path in self.programs]


class Docker(Engine):
    name = "docker"

    def __init__(self, options, directory, root):
        self.options = options
        home = place_in(root, options, directory, "docker")
        self.home = root + home
        host = f"unix://{home}/docker.sock"
        super().__init__(root, {"DOCKER_HOST": host}, True)
        self.command = ["/usr/bin/docker"]
        self.log = f"{home}/dockerd.log"
        self.daemon = [
            "/usr/sbin/dockerd" if os.path.exists(f"{root}/usr/sbin/dockerd") else "/usr/bin/dockerd", "--data-root",
            f"{home}/data", "--exec-root", f"{home}/run", "--pidfile", f"{home}/dockerd.pid", "--host", host,
            "--cgroup-parent", f"/{self.group.name}",
        ]
        self.root = root
        try:
            self.launch()
            shutil.copy(options.image, f"{self.home}/image.tar")
            self.ok("load", "-q", "-i", f"{home}/image.tar")
        except RuntimeError:
            self.agent.close()
            self.group.remove()
            raise

    def sizes(self):
        names = ["docker", "dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker-proxy", "docker-init"]
        return sizes_of(self.root, names)

    def close(self):
        super().close()
        leave(self.home, self.options)


class Podman(Engine):
    name = "podman"
    # Docker's -f kills at once; podman's waits for the stop timeout first.
    removal = ["rm", "-f", "-t", "0"]
    # What it loads with a short name is not taken for Docker's.
    names_below = "localhost"

    def __init__(self, options, directory, root):
        self.options = options
        home = place_in(root, options, directory, "podman")
        self.home = root + home
        self.root = root
        super().__init__(root, {}, True)
        self.command = [
            "/usr/bin/podman", "--root", f"{home}/data", "--runroot", f"{home}/run", "--tmpdir", f"{home}/tmp",
            "--cgroup-manager", "cgroupfs", "--events-backend", "file", "--storage-driver", "overlay",
        ]
        # By itself, podman asks for more open files and processes than a machine may allow.
        self.start_options = [f"--cgroup-parent=/{self.group.name}", "--ulimit=nofile=4096:4096", "--ulimit=nproc=30000:30000"]
        shutil.copy(options.image, f"{self.home}/image.tar")
        try:
            self.ok("load", "-q", "-i", f"{home}/image.tar")
            self.ok(*self.run_words("--rm", "busybox", "true"))
        except RuntimeError:
            self.agent.close()
            self.group.remove()
            raise

    def sizes(self):
        return sizes_of(self.root, ["podman", "conmon", "crun", "netavark", "aardvark-dns", "rootlessport"])

    def close(self):
        super().close()
        leave(self.home, self.options)


def sizes_of(root, names):
    places = ["usr/bin", "usr/sbin", "usr/libexec", "usr/lib/podman", "usr/libexec/podman", "usr/libexec/docker"]
    paths = {os.path.realpath(f"{root}/{place}/{name}") for place in places for name in names}
    return [os.path.getsize(path) for path in paths if os.path.isfile(path)]


class Table:
    """Rows of measurements: {engine: value}."""

    def __init__(self, engines):
        self.engines = engines
        self.rows = []

    def add(self, name, values, aim="", unit="ms"):
        self.rows.append((name, values, aim, unit))
        print(f"  {name}: " + ", ".join(f"{key} {show(value)} {unit}" for key, value in values.items()), file=sys.stderr)

    def show(self):
        peers = [name for name in self.engines if name != "hull"]
        head = ["work", "unit", "hull", "aim", *[part for peer in peers for part in (peer, f"{peer} / hull")]]
        lines = [head, ["---"] * len(head)]
        for name, values, aim, unit in self.rows:
            cells = [name, unit, show(values.get("hull")), aim]
            for peer in peers:
                cells += [show(values.get(peer)), ratio(values.get(peer), values.get("hull"))]
            lines.append(cells)
        for cells in lines:
            print("| " + " | ".join(cells) + " |")


def show(value):
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def ratio(peer, ours):
    return f"{peer / ours:.1f}×" if peer is not None and ours else "–"


def interleaved(engines, rounds, measure):
    """Calls measure(engine) in turn, round by round: {name: [values]}."""
    results = {engine.name: [] for engine in engines}
    for number in range(rounds + 1):
        for engine in engines:
            value = measure(engine)
            if number:  # the first round warms up
                results[engine.name].append(value)
    return results


def timed(engine, *words):
    before = engine.group.processor_ms()
    answer = engine.client(*words, keep=False)
    if answer["code"] != 0:
        raise RuntimeError(f"{engine.name} {' '.join(words)} returned {answer['code']}: {engine.client(*words)['out']}")
    return answer["wall"] * 1e3, engine.group.processor_ms() - before


def shell(engine, line):
    """Milliseconds of a line with $ENGINE for the client, by the shell of the engine's own root."""
    client = " ".join(engine.command)
    answer = engine.agent.ask(run=["sh", "-c", line.replace("$ENGINE", client)], keep=False)
    if answer["code"] != 0:
        raise RuntimeError(f"{engine.name}: {line} returned {answer['code']}")
    return answer["wall"] * 1e3


def home_of(engine, directory):
    """A directory of this machine the engine's client sees, and its path as the client sees it."""
    visible = getattr(engine, "home", directory)
    root = getattr(engine, "root", "")
    return visible, visible[len(root):] if root and visible.startswith(root) else visible


def column(results, index):
    return {name: median([value[index] for value in values]) for name, values in results.items()}


def tiny_tar(number):
    """A tar of one small file, another for each number."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        content = str(number).encode()
        info = tarfile.TarInfo("file")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def arguments(description):
    """What every benchmark is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--programs", required=True, help="directory of hull, hulld, hull-shim and hull-runtime")
    parser.add_argument("--image", required=True, help="docker-archive of busybox")
    parser.add_argument("--peers", help="a root file system that has docker.io, podman, crun and runc")
    parser.add_argument("--here", action="store_true", help="measure on this machine's own file system")
    parser.add_argument("--skip", action="append", default=[], choices=["docker", "podman"], help="a peer to leave out")
    return parser


def root_of(options):
    """Where the peers are, or None."""
    return os.path.abspath(options.peers) if options.peers and os.path.isdir(options.peers) else None


def measured(options, measure):
    """Calls `measure` with the options and a directory that lives as long, on a file system of its own: file systems differ, and
    what a machine's own one costs is nobody's doing. All of it goes away with this process's mount namespace."""
    if not os.environ.pop(INSIDE, None):
        os.environ[INSIDE] = "yes"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as directory:
        if not options.here:
            mount_fresh(directory)
        try:
            measure(options, directory)
        finally:
            if not options.here:
                subprocess.run(["umount", "-l", directory], check=True)


def mount_fresh(directory):
    """A new ext4, large enough for anything measured here, in a sparse file that has no name."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(directory)) as file:
        file.truncate(FRESH_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard", file.name], check=True)
        subprocess.run(["mount", "-o", "loop", file.name, directory], check=True)


def place_in(root, options, directory, name):
    """A directory for a peer that lives in a root of its own: there, on the file system that is measured."""
    inside = f"/srv/{name}-{os.getpid()}"
    os.makedirs(root + inside)
    if not options.here:
        os.makedirs(f"{directory}/{name}")
        subprocess.run(["mount", "--bind", f"{directory}/{name}", root + inside], check=True)
    return inside


def leave(home, options):
    """Takes away what `place_in` made."""
    if not options.here:
        subprocess.run(["umount", "-l", home], check=False)
    shutil.rmtree(home, ignore_errors=True)


def measure_runs(table, engines, rounds):
    for network, aim in (("bridge", "≤ 12"), ("none", "≤ 9"), ("host", "≤ 9")):
        words = ["--rm", "--network", network, "busybox", "true"]
        results = interleaved(engines, rounds, lambda engine: timed(engine, *engine.run_words(*words)))
        table.add(f"run --rm, {network}", column(results, 0), aim)
        if network == "bridge":
            table.add("… CPU in all", column(results, 1), "≤ 12")


def measure_one(table, engines, rounds):
    for engine in engines:
        engine.ok(*engine.run_words("-d", "--name", "one", "busybox", *OBEDIENT))
    results = interleaved(engines, rounds, lambda engine: timed(engine, "exec", "one", "true"))
    table.add("exec true", column(results, 0), "≤ 5")

    def stop_and_start(engine):
        return timed(engine, "stop", "one")[0], timed(engine, "start", "one")[0]

    results = interleaved(engines, max(3, rounds // 2), stop_and_start)
    table.add("start", column(results, 1), "≤ 8")
    table.add("stop", column(results, 0), "≤ 8")
    for engine in engines:
        engine.clear()


def measure_client(table, engines, rounds):
    """The command line: by itself, and with ten containers to list and to complete the names of."""
    alone = {"hull": ("version", "--client"), "podman": ("--version",), "docker": ("--version",)}
    results = interleaved(engines, rounds * 2, lambda engine: timed(engine, *alone.get(engine.name, ("--version",))))
    table.add("version of the client alone", column(results, 0), "≤ 2")
    for engine in engines:
        for number in range(10):
            engine.ok(*engine.run_words("-d", "--name", f"ten{number}", "busybox", *OBEDIENT))
    results = interleaved(engines, rounds * 2, lambda engine: timed(engine, "ps"))
    table.add("ps, 10 containers", column(results, 0), "≤ 3")
    results = interleaved(engines, rounds * 2, lambda engine: timed(engine, "__complete", "stop", "te"))
    table.add("completion of their names", column(results, 0), "≤ 20")
    for engine in engines:
        engine.clear()


def batch(engine, commands, width):
    answer = engine.agent.ask(together=commands, width=width)
    failed = sum(map(bool, answer["codes"]))
    if failed:
        print(f"({engine.name}: {failed} of {len(commands)} failed)", file=sys.stderr)
    return answer["wall"]


def start_hundred(engine, columns):
    starts = [[*engine.command, *engine.run_words("-d", "busybox", "sleep", "100000")] for _ in range(100)]
    started = 0
    for count in (1, 10):
        engine.agent.ask(together=starts[started:count], width=1)
        columns[count][engine.name] = engine.group.memory_mb()
        started = count
    engine.clear()
    columns["eight"][engine.name] = batch(engine, starts, 8)
    columns["remove"][engine.name] = engine.clear()
    columns["one"][engine.name] = batch(engine, starts, 1)


def measure_hundred(table, engines, rounds):
    results = interleaved(engines, rounds, lambda engine: timed(engine, "ps"))
    table.add("ps, 0 containers", column(results, 0), "≤ 4")
    idle = {engine.name: engine.group.memory_mb() for engine in engines}
    columns = {"one": {}, "eight": {}, "remove": {}, "ps": {}, "full": {}, 1: {}, 10: {}}
    for engine in list(engines):
        try:
            start_hundred(engine, columns)
        except RuntimeError as error:
            print(f"({error}; going on without)", file=sys.stderr)
            engines.remove(engine)
    results = interleaved(engines, rounds, lambda engine: timed(engine, "ps"))
    columns["ps"] = column(results, 0)
    columns["full"] = {engine.name: engine.group.memory_mb() for engine in engines}
    table.add("ps, 100 containers", columns["ps"], "≤ 6")
    table.add("100 starts one by one", columns["one"], "≤ 1.2", "s")
    table.add("100 starts, 8 at a time", columns["eight"], "≤ 0.8", "s")
    table.add("rm -f of 100", columns["remove"], "≤ 0.4", "s")
    table.add("memory idle", idle, "≤ 15", "MB")
    table.add("memory, 1 container", columns[1], "", "MB")
    table.add("memory, 10 containers", columns[10], "", "MB")
    each = {name: (columns["full"][name] - idle[name]) / 100 for name in columns["full"]}
    table.add("memory, each container", each, "≤ 0.4", "MB")
    table.add("memory, 100 containers", columns["full"], "≤ 60", "MB")


DOCKERFILE = """FROM docker.io/library/busybox
WORKDIR /app
ENV A=1
COPY src /app/src
RUN ls -R /app | wc -l > /count
RUN echo one > /one
RUN echo two > /two
RUN mkdir -p /opt/x && cp -r /app/src/d1 /opt/x
RUN rm -rf /app/src/d2
RUN find /app -name 'f1*' | wc -l > /found
CMD ["cat", "/count"]
"""


# Twenty stages that have nothing to do with each other: two processors may work on two at once.
STAGES = 20
PARALLEL = "".join(
    f"FROM docker.io/library/busybox AS s{number}\nRUN i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; echo $i > /n\n"
    for number in range(STAGES)
) + "FROM docker.io/library/busybox\n" + "".join(f"COPY --from=s{number} /n /n{number}\n" for number in range(STAGES))


def lay_context(engine, directory):
    """5,000 small files and a Dockerfile of ten steps, where the engine's client sees them."""
    real, place = (f"{part}/context" for part in home_of(engine, directory))
    for number in range(5000):
        directory = f"{real}/src/d{number // 100}"
        os.makedirs(directory, exist_ok=True)
        with open(f"{directory}/f{number}", "w") as file:
            file.write(f"{number} " * (50 + number % 300))
    os.makedirs(f"{real}-stages")
    for where, text in ((real, DOCKERFILE), (f"{real}-stages", PARALLEL)):
        with open(f"{where}/Dockerfile", "w") as file:
            file.write(text.replace("docker.io/library", engine.names_below))
    return place, real


def measure_builds(table, engines, directory, rounds):
    places = {engine.name: lay_context(engine, directory) for engine in engines}

    def build(engine, *words, what=""):
        prefix = ["env", "DOCKER_BUILDKIT=0"] if engine.name == "docker" else []
        own, engine.command = engine.command, prefix + engine.command
        here = ["--pull-never"] if engine.name == "podman" else []
        try:
            return timed(engine, "build", "-q", "-t", "bench", *here, *words, places[engine.name][0] + what)[0]
        finally:
            engine.command = own

    def all_kinds(engine):
        cold = build(engine, "--no-cache")
        cached = build(engine)
        with open(f"{places[engine.name][1]}/src/d7/f707", "a") as file:
            file.write("changed")
        return cold, cached, build(engine)

    try:
        results = interleaved(engines, max(3, rounds // 3), all_kinds)
        for index, (what, aim) in enumerate(
            (("build, cold", "3× quicker"), ("… cached", "≤ 60"), ("… one file changed", "4× quicker"))
        ):
            table.add(what, column(results, index), aim)
        stages = interleaved(engines, 1, lambda engine: (build(engine, "--no-cache", what="-stages"),))
        table.add(f"{STAGES} independent stages", column(stages, 0))
        programs = {"hull": "hulld", "docker": "dockerd"}
        peaks = {name: group_of(engines, name).peak_mb(program) for name, program in programs.items() if group_of(engines, name)}
        table.add("memory of the daemon, at most", peaks, "≤ 64", "MB")
    finally:
        for _, real in places.values():
            shutil.rmtree(real, ignore_errors=True)
            shutil.rmtree(f"{real}-stages", ignore_errors=True)


def group_of(engines, name):
    return next((engine.group for engine in engines if engine.name == name), None)


def measure_daemon(table, engines, name, aim, rounds):
    def restart(engine):
        engine.halt()
        return engine.launch()

    engines = [engine for engine in engines if engine.daemon]
    results = interleaved(engines, rounds, restart)
    table.add(name, {key: median(values) for key, values in results.items()}, aim)


def measure_runtimes(options, directory, hull, root):
    """The same bundle under each runtime; ours with the seccomp profile of a default container, the others without."""
    bundle = f"{directory}/bundle"
    os.makedirs(f"{bundle}/rootfs")
    unpack = f"tar -xOf '{options.image}' layer.tar | tar -xC '{bundle}/rootfs'"
    subprocess.run(["sh", "-c", unpack], check=True)
    crun = f"{root}/usr/bin/crun" if root else shutil.which("crun")
    runc = f"{root}/usr/sbin/runc" if root else shutil.which("runc")
    runtimes = {"crun": crun, "runc": runc}
    runtimes = {name: path for name, path in runtimes.items() if path and os.path.exists(path)}
    if not runtimes:
        print("bare runtimes: skipped, neither crun nor runc is here", file=sys.stderr)
        return None
    subprocess.run([next(iter(runtimes.values())), "spec"], cwd=bundle, check=True)
    with open(f"{bundle}/config.json") as file:
        config = json.load(file)
    config["process"]["terminal"] = False
    config["process"]["args"] = ["true"]
    config["linux"].pop("seccomp", None)
    with open(f"{bundle}/config.json", "w") as file:
        json.dump(config, file)
    ours = shutil.copytree(bundle, f"{directory}/bundle-hull", symlinks=True)
    hull.ok("create", "--name", "profile", "busybox", "true")
    hull.ok("start", "profile")
    identity = hull.ok("inspect", "--format", "{{.Id}}", "profile").strip()
    with open(f"{hull.data}/containers/{identity}/config.json") as file:
        config["linux"]["seccomp"] = json.load(file)["linux"]["seccomp"]
    with open(f"{ours}/config.json", "w") as file:
        json.dump(config, file)
    hull.clear()
    group = Group(f"hull-bench-{os.getpid()}-runtime")
    agent = Agent(group, "/", {"PATH": os.environ["PATH"]}, True)
    table = Table(["hull", *runtimes])
    results = {}
    runtimes = {"hull": hull.programs[3], **runtimes}
    for number in range(options.rounds * 2 + 1):
        for name, path in runtimes.items():
            where = ours if name == "hull" else bundle
            command = [path, "--root", f"{directory}/state-{name}", "run", "--bundle", where, f"hull-bench-{name}-{number}"]
            answer = agent.ask(run=command)
            if answer["code"] != 0:
                print(f"({name}: {answer['out'].strip()})", file=sys.stderr)
                results.setdefault(name, [])
            elif number:
                results.setdefault(name, []).append(answer["wall"] * 1e3)
    agent.close()
    group.remove()
    table.add("bare runtime, run of a bundle (ours with seccomp)", {key: median(values) for key, values in results.items()}, "3× crun")
    return table


def engines_of(options, directory, root):
    engines = [Hull(options, directory)]
    for kind in (Docker, Podman):
        if kind.name in options.skip or not root:
            print(f"{kind.name}: skipped", file=sys.stderr)
            continue
        try:
            engines.append(kind(options, directory, root))
        except (RuntimeError, OSError) as error:
            print(f"{kind.name}: skipped, {error}", file=sys.stderr)
    return engines


def measure(options, directory):
    root = root_of(options)
    engines = engines_of(options, directory, root)
    everybody = list(engines)
    try:
        table = Table([engine.name for engine in engines])
        if options.only_client:
            measure_client(table, engines, options.rounds)
            table.show()
            return
        if options.only_builds:
            measure_builds(table, engines, directory, options.rounds)
            table.show()
            return
        measure_runs(table, engines, options.rounds)
        measure_one(table, engines, options.rounds)
        measure_client(table, engines, options.rounds)
        measure_daemon(table, engines, "daemon start, 0 containers", "≤ 50", 3)
        measure_hundred(table, engines, options.rounds)
        measure_daemon(table, engines[:1], "daemon start, 100 containers", "≤ 80", 3)
        sizes = {engine.name: sum(engine.sizes()) / 1e6 for engine in engines}
        table.add("all programs on disk", sizes, "≤ 40", "MB")
        for engine in engines:
            engine.clear()
        bare = measure_runtimes(options, directory, engines[0], root)
    finally:
        for engine in everybody:
            engine.close()
    versions = subprocess.run([f"{options.programs}/hull", "--version"], capture_output=True, text=True).stdout.strip()
    print(f"\n{versions}; {os.uname().release}, {os.cpu_count()} processors; medians of {options.rounds}, interleaved\n")
    table.show()
    if bare:
        print()
        bare.show()


def main():
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--only-builds", action="store_true", help="measure builds and nothing else")
    parser.add_argument("--only-client", action="store_true", help="measure the command line and nothing else")
    measured(parser.parse_args(), measure)


if __name__ == "__main__":
    main()
