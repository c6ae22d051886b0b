"""Scenarios for docker-py, each a function whose name says what must hold.

DOCKER_HOST names the daemon, which has the image busybox; HULL_IMAGE is a docker-archive of it.
"""

import io
import os
import sys
import tarfile
import threading
import time
import traceback

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.from_env(timeout=60)


def eventually(condition, what):
    """Waits for a condition, never for a time."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"gave up waiting until {what}"
        time.sleep(0.02)


def sleeper(**options):
    return client.containers.run("busybox", ["sleep", "1000"], detach=True, **options)


def the_daemon_tells_who_it_is():
    assert client.ping()
    assert client.version()["ApiVersion"]
    assert client.info()["OSType"] == "linux"


def a_run_returns_output():
    assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
    both = client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True, stdout=True, stderr=True)
    assert sorted(both.split()) == [b"err", b"out"], both


def a_failed_run_raises_with_its_code():
    try:
        client.containers.run("busybox", ["sh", "-c", "echo oops >&2; exit 7"], remove=True)
    except ContainerError as error:
        assert error.exit_status == 7 and b"oops" in error.stderr
    else:
        raise AssertionError("it did not raise")


def a_container_lives_and_dies():
    container = client.containers.create("busybox", ["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"], name="life")
    assert container.status == "created"
    container.start()
    container.reload()
    assert container.status == "running"
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("lived")
    assert client.containers.get("lived").id == container.id
    container.stop(timeout=5)
    assert container.wait()["StatusCode"] in (4, 137)
    container.restart(timeout=0)
    container.kill()
    assert container.wait()["StatusCode"] == 137
    container.remove()
    try:
        client.containers.get("lived")
    except NotFound:
        pass
    else:
        raise AssertionError("it is still there")


def exec_runs_beside():
    container = sleeper()
    assert container.exec_run(["echo", "hello"]) == (0, b"hello\n")
    assert container.exec_run("sh -c 'exit 9'").exit_code == 9
    code, (out, err) = container.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (code, out, err) == (0, b"out\n", b"err\n"), (code, out, err)
    assert container.exec_run("id -un", user="nobody").output == b"nobody\n"
    assert container.exec_run("sh -c 'echo $A; pwd'", environment={"A": "1"}, workdir="/tmp").output == b"1\n/tmp\n"
    assert b"/dev/pts/" in container.exec_run("tty", tty=True).output
    assert b"".join(container.exec_run("seq 1 3", stream=True).output) == b"1\n2\n3\n"


def exec_takes_input_from_a_socket():
    container = sleeper()
    made = client.api.exec_create(container.id, ["cat"], stdin=True)
    stream = client.api.exec_start(made["Id"], socket=True)
    raw = stream._sock
    raw.settimeout(30)
    raw.sendall(b"through a socket\n")
    answer = b""
    while b"through a socket\n" not in answer:
        answer += raw.recv(4096)
    raw.close()


def logs_stream_and_follow():
    container = client.containers.run("busybox", ["sh", "-c", "for n in 1 2 3; do echo $n; sleep 0.05; done"], detach=True)
    assert b"".join(container.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert container.logs(tail=1) == b"3\n"
    assert b"Z " in container.logs(timestamps=True)


def attach_streams_what_comes():
    container = client.containers.create("busybox", ["sh", "-c", "echo hello"])
    stream = container.attach(stream=True, stdout=True, stderr=True, logs=False)
    container.start()
    assert b"".join(stream) == b"hello\n"


def files_are_archives():
    container = sleeper()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        header = tarfile.TarInfo("note")
        header.size = 5
        archive.addfile(header, io.BytesIO(b"hello"))
    assert container.put_archive("/tmp", buffer.getvalue())
    seen = container.exec_run("cat /tmp/note")
    assert seen.output == b"hello", seen
    chunks, stat = container.get_archive("/tmp/note")
    assert stat["name"] == "note" and stat["size"] == 5
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
        assert archive.extractfile("note").read() == b"hello"
    assert {"Path": "/tmp/note", "Kind": 1} in container.diff()


def ports_and_limits_are_shown():
    container = sleeper(ports={"80/tcp": ("127.0.0.1", 8080)}, mem_limit="64m", nano_cpus=500_000_000, labels={"a": "b"})
    container.reload()
    assert container.ports["80/tcp"][0]["HostPort"] == "8080"
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert client.containers.list(filters={"label": "a=b"}) == [container]
    assert container.top()["Processes"]
    assert container.stats(stream=False)["memory_stats"]["limit"] == 64 << 20
    container.update(mem_limit="32m", memswap_limit="64m")
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 32 << 20


def events_are_told():
    seen, ready = [], threading.Event()
    stream = client.events(decode=True, filters={"type": "container"})

    def listen():
        ready.set()
        for event in stream:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    listener = threading.Thread(target=listen)
    listener.start()
    ready.wait()
    client.containers.run("busybox", "true", remove=True)
    listener.join(60)
    stream.close()
    for action in ("create", "start", "die", "destroy"):
        assert action in seen, seen


def images_come_and_go():
    image = client.images.get("busybox")
    assert "busybox:latest" in image.tags and image.id.startswith("sha256:")
    assert image.tag("mine", "v1")
    assert client.images.get("mine:v1").id == image.id
    saved = b"".join(image.save(named=True))
    client.images.remove("mine:v1")
    assert client.images.load(saved)[0].id == image.id
    with open(os.environ["HULL_IMAGE"], "rb") as archive:
        assert client.images.load(archive)[0].id == image.id
    assert image.history()
    container = client.containers.run("busybox", ["touch", "/x"], detach=True)
    container.wait()
    made = container.commit("made", "1")
    assert client.containers.run("made:1", ["ls", "/x"], remove=True) == b"/x\n"
    container.remove()
    client.images.remove("made:1")
    assert made.id not in [one.id for one in client.images.list()]


def what_is_missing_is_said():
    for attempt, kind in (
        (lambda: client.containers.get("nobody"), NotFound),
        (lambda: client.images.get("no-such-image"), ImageNotFound),
        (lambda: client.containers.create("no-such-image"), ImageNotFound),
    ):
        try:
            attempt()
        except kind as error:
            assert "o such" in error.explanation, error.explanation
        else:
            raise AssertionError("it did not raise")


def a_name_is_given_once():
    sleeper(name="once")
    try:
        sleeper(name="once")
    except APIError as error:
        assert error.status_code == 409
    else:
        raise AssertionError("it did not raise")


def prune_removes_what_ended():
    client.containers.run("busybox", "true", detach=True).wait()
    assert client.containers.prune()["ContainersDeleted"]


SCENARIOS = [
    the_daemon_tells_who_it_is,
    a_run_returns_output,
    a_failed_run_raises_with_its_code,
    a_container_lives_and_dies,
    exec_runs_beside,
    exec_takes_input_from_a_socket,
    logs_stream_and_follow,
    attach_streams_what_comes,
    files_are_archives,
    ports_and_limits_are_shown,
    events_are_told,
    images_come_and_go,
    what_is_missing_is_said,
    a_name_is_given_once,
    prune_removes_what_ended,
]


def main():
    failed = 0
    for scenario in SCENARIOS:
        try:
            scenario()
            print(f"ok      {scenario.__name__}")
        except Exception:  # noqa: BLE001: one scenario's failure must not hide the others
            failed += 1
            print(f"FAILED  {scenario.__name__}")
            traceback.print_exc(file=sys.stdout)
        finally:
            for container in client.containers.list(all=True):
                container.remove(force=True)
    if failed:
        sys.exit(f"{failed} of {len(SCENARIOS)} scenarios failed")
    print("all scenarios passed")


main()
