"""Measures Hull's image store beside docker.io and podman, interleaved, and prints ratios.

Engines and namespaces are bench.py's. Works on one image of distribution packages: loaded when it is new, saved to nothing,
listed among a hundred others, accounted for, removed. Times are medians in milliseconds.
"""

import argparse
import io
import os
import shutil
import sys
import tarfile
import tempfile

import bench

HUNDRED = 100


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


def tiny_tar(number):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        info = tarfile.TarInfo("file")
        content = str(number).encode()
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def measure_hundred(table, engines, homes, rounds):
    for engine in engines:
        visible, inside = homes[engine.name]
        for number in range(HUNDRED):
            with open(f"{visible}/tiny.tar", "wb") as file:
                file.write(tiny_tar(number))
            bench.shell(engine, f"$ENGINE import {inside}/tiny.tar tiny:{number} >/dev/null")
    results = bench.interleaved(engines, rounds, lambda engine: bench.timed(engine, "images"))
    table.add("images, 100 images", bench.column(results, 0), "≤ 4")
    results = bench.interleaved(engines, rounds, lambda engine: bench.timed(engine, "system", "df"))
    table.add("system df, 100 images", bench.column(results, 0), "10× quicker")


def measure(options, directory):
    root = os.path.abspath(options.peers) if options.peers and os.path.isdir(options.peers) else None
    engines = bench.engines_of(options, directory, root)
    try:
        table = bench.Table([engine.name for engine in engines])
        places, homes = {}, {}
        for engine in engines:
            visible, inside = bench.home_of(engine, directory)
            shutil.copy(options.large, f"{visible}/large.tar")
            places[engine.name] = f"{inside}/large.tar"
            homes[engine.name] = (visible, inside)
        measure_one(table, engines, places, options.name, options.rounds)
        measure_hundred(table, engines, homes, options.rounds)
    finally:
        for engine in engines:
            engine.close()
    megabytes = os.path.getsize(options.large) / 1e6
    print(f"\n{options.name}: {megabytes:.0f} MB; {os.cpu_count()} processors; medians of {options.rounds}, interleaved\n")
    table.show()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, help="directory of hull, hulld, hull-shim and hull-runtime")
    parser.add_argument("--image", required=True, help="docker-archive of busybox")
    parser.add_argument("--large", required=True, help="docker-archive of a large image")
    parser.add_argument("--name", default="debian", help="its name")
    parser.add_argument("--peers", help="a root file system that has docker.io and podman")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[], choices=["docker", "podman"], help="a peer to leave out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hull-bench-") as directory:
        measure(options, directory)


sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
main()
