"""Measures `hull compose` beside Docker's Compose, on Hull and on docker.io, interleaved, and prints ratios.

Engines and namespaces are bench.py's. Ten services in three tiers are brought up, looked at again with nothing to do, and taken
down; a file of a hundred services with includes and extends is loaded. Times are medians in milliseconds.
"""

import os
import shutil
import subprocess

import bench

SERVICES = 10
LOADED = 100


class Way:
    """One Compose program on one engine."""

    def __init__(self, name, engine, command, place):
        self.name, self.engine, self.command, self.place = name, engine, command, place

    def timed(self, file, *words):
        argv = [*self.command, "-f", f"{self.place}/{file}", *words]
        answer = self.engine.agent.ask(run=argv, keep=True)
        if answer["code"] != 0:
            raise RuntimeError(f"{self.name} {' '.join(words)} returned {answer['code']}: {answer['out']}")
        return answer["wall"] * 1e3


def ten_services():
    """A base, a middle that waits for it, and a front that waits for both."""
    lines = ["name: ten", "services:"]
    for number in range(SERVICES):
        lines += [
            f"  s{number}:", "    image: docker.io/library/busybox", "    init: true", "    command: sleep 100000",
            f"    environment: {{NUMBER: '{number}'}}", "    volumes: [data:/data]",
        ]
        if number >= 3:
            lines += ["    depends_on: [" + ", ".join(f"s{below}" for below in range(number % 3 + 1)) + "]"]
    return "\n".join([*lines, "volumes: {data: {}}", ""])


def lay_hundred(place):
    """A file that includes ten, each of which has ten services that extend one of another file."""
    os.makedirs(place)
    with open(f"{place}/base.yaml", "w") as file:
        file.write("services:\n  base:\n    image: busybox\n    environment: {A: '${HOME}', B: two}\n    labels: {x: y}\n")
        file.write("    healthcheck: {test: [CMD, 'true'], interval: 5s}\n    deploy: {resources: {limits: {memory: 64m}}}\n")
    parts = LOADED // 10
    for part in range(parts):
        with open(f"{place}/part{part}.yaml", "w") as file:
            file.write("services:\n")
            for number in range(10):
                file.write(f"  p{part}s{number}:\n    extends: {{file: base.yaml, service: base}}\n    command: [echo, '${{A:-{number}}}']\n")
                file.write(f"    ports: ['{20000 + part * 10 + number}:80']\n    volumes: ['./x{number}:/x']\n")
    with open(f"{place}/compose.yaml", "w") as file:
        file.write("name: hundred\ninclude:\n" + "".join(f"  - part{part}.yaml\n" for part in range(parts)))


def trip(way):
    words = (("up", "-d"), ("up", "-d"), ("down", "-t", "1", "-v"))
    return tuple(way.timed("ten.yaml", *verb) for verb in words)


def ways_of(engines, options, directory):
    ways = []
    for engine in engines:
        visible, inside = bench.home_of(engine, directory)
        shutil.copy(options.compose, f"{visible}/docker-compose")
        with open(f"{visible}/ten.yaml", "w") as file:
            file.write(ten_services())
        lay_hundred(f"{visible}/hundred")
        if engine.name == "hull":
            ways.append(Way("hull", engine, [*engine.command, "compose"], inside))
        ways.append(Way(f"Compose on {engine.name}", engine, [f"{inside}/docker-compose"], inside))
    return ways


def measure(options, directory):
    options.skip.append("podman")
    engines = bench.engines_of(options, directory, bench.root_of(options))
    try:
        ways = ways_of(engines, options, directory)
        table = bench.Table([way.name for way in ways])
        results = bench.interleaved(ways, options.rounds, trip)
        for index, (what, aim) in enumerate((("up -d of ten services", "10× quicker"), ("… again", "≤ 40"), ("down", "10× quicker"))):
            table.add(what, bench.column(results, index), aim)
        results = bench.interleaved(ways, options.rounds, lambda way: way.timed("hundred/compose.yaml", "config", "-q"))
        table.add("config of a hundred services", {name: bench.median(values) for name, values in results.items()}, "≤ 30")
    finally:
        for engine in engines:
            engine.close()
    version = subprocess.run([options.compose, "version", "--short"], capture_output=True, text=True).stdout.strip()
    print(f"\nCompose {version}; {os.cpu_count()} processors; medians of {options.rounds}, interleaved\n")
    table.show()


def main():
    parser = bench.arguments(__doc__.splitlines()[0])
    parser.add_argument("--compose", required=True, help="Docker's Compose as a program by itself")
    parser.add_argument("--rounds", type=int, default=5)
    bench.measured(parser.parse_args(), measure)


main()
