"""Measures Hull's storage beside docker.io and podman, interleaved, and prints ratios.

Engines and namespaces are bench.py's. Volumes that begin as a copy of an image's files, files in and out of containers, removal of
many files, the account of the disk, and what a container's own reading and writing costs beside the host's on the same disk.
Times are medians in milliseconds.
"""

import io
import os
import shutil
import subprocess
import sys
import tarfile

import bench

FILES = 10_000
MANY_FILES = 100_000
OBJECTS = 200
LARGE_BYTES = 1_000_000_000
PARTS = ("copyup", "cp", "files", "rm", "df", "speed")

# Run by the same busybox in a container and on the host, in the directory $1, by the kernel's own clock: what a container's start
# takes is measured elsewhere, and where a peer has to do without pivot_root its `exec` finds other files than its container.
CLOCK = "read began _ </proc/uptime; {}; read ended _ </proc/uptime; echo $began $ended"
WRITE = "dd if=/dev/zero of=large bs=1M count=512 conv=fsync 2>/dev/null"
READ = "cat large large large large large large large large >/dev/null"
OPERATIONS = (
    "mkdir -p small; i=0; while [ $i -lt 5000 ]; do echo $i > small/$i; i=$((i+1)); done; "
    "ls -l small >/dev/null; rm -r small large"
)
SPEED = 'cd "$1" && ' + " && ".join("{ " + CLOCK.format(part) + "; }" for part in (WRITE, READ, OPERATIONS))


def small_files():
    """A tar of many small files, as content of an image or a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for number in range(FILES):
            content = (f"{number} " * (20 + number % 200)).encode()
            info = tarfile.TarInfo(f"data/d{number // 100}/f{number}")
            info.size, info.mtime = len(content), 1_000_000_000
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def busybox_of(options):
    """Busybox's root file system, from the archive of its image."""
    text = subprocess.run(["tar", "-xOf", options.image, "layer.tar"], check=True, capture_output=True)
    return text.stdout


def measure_copy_up(table, engines, homes, options, rounds):
    busybox = busybox_of(options)
    for engine in engines:
        visible, inside = homes[engine.name]
        with tarfile.open(f"{visible}/files.tar", "w") as whole:
            for part in (busybox, small_files()):
                with tarfile.open(fileobj=io.BytesIO(part)) as tar:
                    for member in tar:
                        whole.addfile(member, tar.extractfile(member) if member.isreg() else None)
        bench.shell(engine, f"$ENGINE import {inside}/files.tar files:1 >/dev/null")

    def copy_up(engine):
        words = ["--rm", "--network", "none", "-v", "copy:/data", "files:1", "true"]
        wall = bench.timed(engine, *engine.run_words(*words))[0]
        engine.ok("volume", "rm", "copy")
        return wall

    results = bench.interleaved(engines, rounds, lambda engine: [copy_up(engine)])
    table.add("run with a new volume, 10,000 files copied", bench.column(results, 0), "2× quicker")


def measure_cp(table, engines, homes, rounds, what, lay):
    for engine in engines:
        visible, _ = homes[engine.name]
        lay(f"{visible}/source")
        engine.ok("create", *engine.start_options, "--name", "box", "busybox", "true")

    def round_of(engine):
        visible, inside = homes[engine.name]
        # What others wrote before is not to be waited for in this one's time.
        os.sync()
        into = bench.timed(engine, "cp", f"{inside}/source", "box:/copy")[0]
        os.sync()
        out = bench.timed(engine, "cp", "box:/copy", f"{inside}/back")[0]
        back = f"{visible}/back"
        shutil.rmtree(back) if os.path.isdir(back) else os.unlink(back)
        engine.clear()
        engine.ok("create", *engine.start_options, "--name", "box", "busybox", "true")
        return into, out

    results = bench.interleaved(engines, rounds, round_of)
    table.add(f"cp of {what} into a container", bench.column(results, 0), "2× quicker")
    table.add("… and out", bench.column(results, 1), "2× quicker")
    for engine in engines:
        engine.clear()
        source = f"{homes[engine.name][0]}/source"
        shutil.rmtree(source) if os.path.isdir(source) else os.unlink(source)


def lay_large(path):
    with open(path, "wb") as file:
        piece = os.urandom(1 << 20)
        for _ in range(LARGE_BYTES >> 20):
            file.write(piece)


def lay_files(path):
    with tarfile.open(fileobj=io.BytesIO(small_files())) as tar:
        tar.extractall(path, filter="fully_trusted") if sys.version_info >= (3, 12) else tar.extractall(path)


def measure_rm(table, engines, rounds):
    script = f"mkdir /many; i=0; while [ $i -lt {MANY_FILES} ]; do : > /many/$i; i=$((i+1)); done"

    def remove(engine):
        engine.ok(*engine.run_words("--name", "many", "--network", "none", "busybox", "sh", "-c", script))
        return [bench.timed(engine, "rm", "many")[0]]

    results = bench.interleaved(engines, rounds, remove)
    table.add("rm of a container with 100,000 files", bench.column(results, 0), "10× quicker")


def measure_df(table, engines, homes, rounds):
    for engine in engines:
        visible, inside = homes[engine.name]
        imports, volumes = [], []
        for number in range(OBJECTS):
            with open(f"{visible}/tiny-{number}.tar", "wb") as file:
                file.write(bench.tiny_tar(number))
            imports.append([*engine.command, "import", f"{inside}/tiny-{number}.tar", f"tiny:{number}"])
            volumes.append([*engine.command, "volume", "create", f"volume-{number}"])
        bench.batch(engine, imports, 2)
        bench.batch(engine, volumes, 2)
    results = bench.interleaved(engines, rounds, lambda engine: bench.timed(engine, "system", "df"))
    table.add("system df, 200 images, 200 volumes", bench.column(results, 0), "10× quicker")
    results = bench.interleaved(engines, rounds, lambda engine: bench.timed(engine, "system", "df", "-v"))
    table.add("… -v", bench.column(results, 0), "10× quicker")


def clocked(answer):
    """Milliseconds of each part, from what the script printed."""
    if answer["code"] != 0:
        raise RuntimeError(f"the script returned {answer['code']}: {answer['out']}")
    stamps = [line.split() for line in answer["out"].strip().splitlines()[-3:]]
    return [(float(ended) - float(began)) * 1e3 for began, ended in stamps]


def measure_speed(table, engines, homes, options, directory, rounds):
    """The same script of the same busybox, on the host and in containers: on the root, on a volume, on a bind."""
    root = f"{directory}/busybox"
    os.makedirs(root)
    subprocess.run(["tar", "-xC", root], input=busybox_of(options), check=True)
    busybox = f"{root}/bin/busybox"
    mounts = {}
    for engine in engines:
        visible, inside = homes[engine.name]
        os.makedirs(f"{visible}/bind")
        mounts[engine.name] = ["-v", "speed:/volume", "-v", f"{inside}/bind:/bind"]
    os.makedirs(f"{directory}/host")
    names = {"the root": "/", "a volume": "/volume", "a bind": "/bind"}
    times = {name: {engine.name: [] for engine in engines} for name in names}
    host = []
    for number in range(rounds + 1):
        words = [busybox, "sh", "-c", SPEED, "sh", f"{directory}/host"]
        walls = clocked(engines[0].agent.ask(run=words))
        host += [walls] if number else []
        for name, place in names.items():
            for engine in engines:
                words = ["--rm", "--network", "none", *mounts[engine.name], "busybox", "sh", "-c", SPEED, "sh", place]
                walls = clocked(engine.client(*engine.run_words(*words)))
                times[name][engine.name] += [walls] if number else []
    for index, what in enumerate(("write 512 MB, synced,", "read 4 GB", "make, list, remove 5,000 files")):
        for name in names:
            values = {"host": bench.median([walls[index] for walls in host])}
            for engine in engines:
                values[engine.name] = bench.median([walls[index] for walls in times[name][engine.name]])
            table.add(f"{what} on {name}", values, "host")


def measure(options, directory):
    engines = bench.engines_of(options, directory, bench.root_of(options))
    try:
        table = bench.Table([*[engine.name for engine in engines], "host"])
        homes = {engine.name: bench.home_of(engine, directory) for engine in engines}
        parts = options.only or PARTS
        if "copyup" in parts:
            measure_copy_up(table, engines, homes, options, options.rounds)
        if "cp" in parts:
            measure_cp(table, engines, homes, options.rounds, "1 GB", lay_large)
        if "files" in parts:
            measure_cp(table, engines, homes, options.rounds, "10,000 files", lay_files)
        if "rm" in parts:
            measure_rm(table, engines, options.rounds)
        if "speed" in parts:
            measure_speed(table, engines, homes, options, directory, options.rounds)
        if "df" in parts:
            measure_df(table, engines, homes, options.rounds)
    finally:
        for engine in engines:
            engine.close()
    print(f"\n{os.cpu_count()} processors; medians of {options.rounds}, interleaved\n")
    table.show()


def main():
    parser = bench.arguments(__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=PARTS, help="a part to measure, instead of all")
    bench.measured(parser.parse_args(), measure)


main()
