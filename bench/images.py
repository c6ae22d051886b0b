"""Measures Hull's image store beside docker.io and podman, interleaved, and prints ratios.

Engines and namespaces are bench.py's. Works on one image of distribution packages: pulled and pushed, loaded when it is new,
saved to nothing, listed among a hundred others, accounted for, removed. Each engine has the same registry (Hull's) in its own
network namespace. Times are medians in milliseconds.
"""

import os
import shutil
import subprocess
import sys
import time

import bench

HUNDRED = 100
REGISTRY = "127.0.0.1:5000"


def measure_one(table, engines, places, name, rounds):
    columns = {"load": {}, "again": {}, "save": {}, "rmi": {}}
    results = bench.interleaved(engines, rounds, lambda engine: round_of(engine, places[engine.name], name))
    for position, column in enumerate(columns):
        columns[column] = bench.column(results, position)
    table.add("load of a new image", columns["load"], "3× quicker")
    table.add("load of one that is there", columns["again"])
    table.add("save to nothing", columns["save"], "5× quicker")
    table.add("rmi", columns["rmi"], "≤ 50")


def round_of(engine, place, name):
    load = bench.shell(engine, f"$ENGINE load -q -i {place} >/dev/null")
    again = bench.shell(engine, f"$ENGINE load -q -i {place} >/dev/null")
    save = bench.shell(engine, f"$ENGINE save {name} | cat >/dev/null")
    rmi = bench.shell(engine, f"$ENGINE rmi {name} >/dev/null")
    return load, again, save, rmi


class Registry:
    """A registry in an engine's network namespace; `fill` is where what it begins with lies."""

    def __init__(self, engine, program, root, fill=None):
        self.inside = ["nsenter", f"--net=/proc/{engine.agent.process.pid}/ns/net", "--"]
        self.program, self.root, self.fill, self.server = program, root, fill, None
        self.restart()

    def restart(self):
        """As new: what was pushed is gone."""
        self.close()
        shutil.rmtree(self.root, ignore_errors=True)
        if self.fill:
            subprocess.run(["cp", "-r", self.fill, self.root], check=True)
        serve = [self.program, "registry", "serve", "--listen", REGISTRY, "--root", self.root, "--log-level", "error"]
        self.server = subprocess.Popen([*self.inside, *serve], stdout=subprocess.PIPE, text=True)
        self.server.stdout.readline()

    def close(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server.stdout.close()
            self.server = None


def filled_registry(hull, program, archive, directory, name):
    """A registry's directory that has the image, its layer packed with gzip, and the path of that layer."""
    root = f"{directory}/filled"
    registry = Registry(hull, program, root)
    try:
        to = f"docker://{REGISTRY}/{name}:latest"
        copy = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}", to]
        subprocess.run([*registry.inside, *copy], check=True)
    finally:
        registry.close()
    blobs = [os.path.join(place, file) for place, _, files in os.walk(f"{root}/blobs") for file in files]
    return root, max(blobs, key=os.path.getsize)


def by_hand(layer, directory, rounds):
    """What nobody can do without: unpacking and hashing the layer, both sums, as three programs of the machine's own."""
    place = f"{directory}/by-hand"
    line = f"sha256sum {layer} & gunzip -c {layer} | tee >(sha256sum) | tar -xC {place}; wait"
    times = []
    for _ in range(rounds):
        os.makedirs(place)
        begin = time.perf_counter()
        subprocess.run(["bash", "-c", line], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        times.append((time.perf_counter() - begin) * 1e3)
        shutil.rmtree(place)
    return bench.median(times)


def travel_of(engine, registry, name):
    insecure = "--tls-verify=false" if engine.name == "podman" else ""
    image = f"{REGISTRY}/{name}:latest"
    pull = bench.shell(engine, f"$ENGINE pull -q {insecure} {image} >/dev/null")
    there = bench.shell(engine, f"$ENGINE pull -q {insecure} {image} >/dev/null")
    quiet = "" if engine.name == "podman" else "-q"
    new = f"{REGISTRY}/new/{name}:latest"
    bench.shell(engine, f"$ENGINE tag {image} {new}")
    bench.shell(engine, f"$ENGINE rmi {image} >/dev/null")
    fill, registry.fill = registry.fill, None
    registry.restart()
    push = bench.shell(engine, f"$ENGINE push {quiet} {insecure} {new} >/dev/null 2>&1")
    again = bench.shell(engine, f"$ENGINE push {quiet} {insecure} {new} >/dev/null 2>&1")
    rmi = bench.shell(engine, f"$ENGINE rmi {new} >/dev/null")
    registry.fill = fill
    registry.restart()
    return pull, there, push, again, rmi


def measure_travel(table, engines, options, directory):
    program = f"{os.path.abspath(options.programs)}/hull"
    fill, layer = filled_registry(engines[0], program, options.large, directory, options.name)
    hand = by_hand(layer, directory, options.rounds)
    print(f"  gunzip, both sums and tar by hand: {bench.show(hand)} ms for {os.path.getsize(layer) / 1e6:.0f} MB", file=sys.stderr)
    registries = {}
    try:
        for engine in engines:
            registries[engine.name] = Registry(engine, program, f"{directory}/registry-{engine.name}", fill)
        results = bench.interleaved(
            engines, options.rounds, lambda engine: travel_of(engine, registries[engine.name], options.name)
        )
    finally:
        for registry in registries.values():
            registry.close()
    rows = (
        ("pull of a new image", f"3× quicker, ≤ {1.5 * hand:.0f}"), ("pull of one that is there", "≤ 10"),
        ("push of a new image", "3× quicker"), ("push of one that is there", "≤ 10"), ("rmi of a pulled image", "≤ 50"),
    )
    for position, (what, aim) in enumerate(rows):
        table.add(what, bench.column(results, position), aim)


def measure_hundred(table, engines, homes, rounds):
    for engine in engines:
        visible, inside = homes[engine.name]
        for number in range(HUNDRED):
            with open(f"{visible}/tiny.tar", "wb") as file:
                file.write(bench.tiny_tar(number))
            bench.shell(engine, f"$ENGINE import {inside}/tiny.tar tiny:{number} >/dev/null")
    results = bench.interleaved(engines, rounds, lambda engine: bench.timed(engine, "images"))
    table.add("images, 100 images", bench.column(results, 0), "≤ 4")
    results = bench.interleaved(engines, rounds, lambda engine: bench.timed(engine, "system", "df"))
    table.add("system df, 100 images", bench.column(results, 0), "10× quicker")


def measure(options, directory):
    engines = bench.engines_of(options, directory, bench.root_of(options))
    try:
        table = bench.Table([engine.name for engine in engines])
        places, homes = {}, {}
        for engine in engines:
            visible, inside = bench.home_of(engine, directory)
            shutil.copy(options.large, f"{visible}/large.tar")
            places[engine.name] = f"{inside}/large.tar"
            homes[engine.name] = (visible, inside)
        measure_travel(table, engines, options, directory)
        if options.only_travel:
            table.show()
            return
        measure_one(table, engines, places, options.name, options.rounds)
        measure_hundred(table, engines, homes, options.rounds)
    finally:
        for engine in engines:
            engine.close()
    megabytes = os.path.getsize(options.large) / 1e6
    print(f"\n{options.name}: {megabytes:.0f} MB; {os.cpu_count()} processors; medians of {options.rounds}, interleaved\n")
    table.show()


def main():
    parser = bench.arguments(__doc__.splitlines()[0])
    parser.add_argument("--large", required=True, help="docker-archive of a large image")
    parser.add_argument("--name", default="debian", help="its name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-travel", action="store_true", help="measure pulls and pushes and nothing else")
    bench.measured(parser.parse_args(), measure)


main()
