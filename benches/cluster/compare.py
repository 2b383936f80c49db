#!/usr/bin/env python3
"""Tiny calls on heist's cluster and ranks, and on Python's executors, two workers each, in turns.

    compare.py BENCH NATS_SERVER [REDIS_SERVER] [MPIRUN]

BENCH is this package's program. Needs the packages celery, redis, distributed and mpi4py. All servers run on free ports of this computer,
with files in a directory of their own, and are ended by their process ids. ROUNDS is the number of rounds, and ONLY=MPI,mpi4py leaves only contestants whose
names contain one of these words.
"""

import concurrent.futures
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

FOLDER = tempfile.mkdtemp(prefix="heist-compare-")
CHILDREN = []
ROUNDS = int(os.environ.get("ROUNDS", "3"))
# Divides the numbers of calls, for a look on a busy machine.
LESS = int(os.environ.get("LESS", "1"))
ONLY = os.environ.get("ONLY", "").split(",")


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(*command, **more):
    child = subprocess.Popen(command, **more)
    CHILDREN.append(child)
    return child


def cpu(pids, others=()):
    """The processor time of processes and their descendants but the others, in seconds."""
    total = 0
    for pid in map(int, pids):
        if pid in others:
            continue
        try:
            fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            for thread in os.listdir(f"/proc/{pid}/task"):
                total += cpu(open(f"/proc/{pid}/task/{thread}/children").read().split(), [child.pid for child in CHILDREN])
        except FileNotFoundError:
            pass
    return total


def square(n):
    return n * n


class Heist:
    """The cluster, or the ranks if there is an mpirun."""

    def __init__(self, bench, server=None, mpirun=None, ahead="4"):
        if mpirun:
            self.address, self.pids = "mpi://", []
            command = [mpirun, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--with-ft", "ulfm", "-n", "3"]
        else:
            number = port()
            self.address, command = f"nats://127.0.0.1:{number}/bench", []
            with open(f"{FOLDER}/nats.log", "a") as log:
                self.pids = [start(server, "-js", "-a", "127.0.0.1", "-p", str(number), "-sd", f"{FOLDER}/store{number}", stderr=log).pid]
            time.sleep(1)
            env = {**os.environ, "CLAIMS_AHEAD": ahead}
            self.pids += [start(bench, "worker", self.address, env=env).pid for _ in range(2)]
        pipe = subprocess.PIPE
        self.client = start(*command, bench, "client", self.address, stdin=pipe, stdout=pipe, text=True)
        self.pids.append(self.client.pid)
        assert self.client.stdout.readline() == "ready\n"

    def ask(self, what, count):
        self.client.stdin.write(f"{what} {count}\n")
        self.client.stdin.flush()
        return float(self.client.stdout.readline())

    def single(self, count):
        return self.ask("single", count)

    def imap(self, count):
        return self.ask("imap", count)

    def trips(self, count):
        return self.ask("trips", count)


class Futures:
    """An executor of concurrent.futures, or one that is like it."""

    def __init__(self, pool):
        self.pool, self.pids = pool, [os.getpid()]
        self.single(10)

    def wait(self, futures):
        for future in futures:
            future.result()

    def single(self, count):
        begin = time.perf_counter()
        self.wait([self.pool.submit(square, n) for n in range(count)])
        return time.perf_counter() - begin

    def trips(self, count):
        times = []
        for n in range(count):
            begin = time.perf_counter()
            self.wait([self.pool.submit(square, n)])
            times.append(time.perf_counter() - begin)
        return statistics.median(times)


class Dask(Futures):
    def __init__(self):
        import distributed

        cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
        super().__init__(distributed.Client(cluster))

    def single(self, count):
        begin = time.perf_counter()
        # Equal calls would be one.
        self.pool.gather([self.pool.submit(square, n, pure=False) for n in range(count)])
        return time.perf_counter() - begin


class Celery(Futures):
    def __init__(self, server):
        import celery

        number = str(port())
        redis = start(server, "--port", number, "--bind", "127.0.0.1", "--dir", FOLDER, "--appendonly", "yes", stdout=subprocess.DEVNULL)
        time.sleep(1)
        url = f"redis://127.0.0.1:{number}/0"
        with open(f"{FOLDER}/bench_tasks.py", "w") as module:
            module.write(
                f"import celery\napp = celery.Celery('bench_tasks', broker='{url}', backend='{url}')\n"
                "@app.task(name='square')\ndef square(n):\n    return n * n\n"
            )
        command = [sys.executable, "-m", "celery", "-A", "bench_tasks", "worker", "-c", "2", "--loglevel", "ERROR"]
        command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        worker = start(*command, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "C_FORCE_ROOT": "1"})
        self.app = celery.Celery("bench_tasks", broker=url, backend=url)
        self.task = self.app.signature("square")
        super().__init__(self)
        self.pids = [os.getpid(), redis.pid, worker.pid]

    def submit(self, function, n):
        return self.task.clone((n,)).apply_async()

    def wait(self, futures):
        for future in futures:
            future.get(timeout=100)


MPI4PY = """
import statistics, sys, time
from mpi4py.futures import MPIPoolExecutor
def square(n): return n * n
if __name__ == "__main__":
    with MPIPoolExecutor() as pool:
        list(pool.map(square, range(100)))
        print("ready", flush=True)
        for line in sys.stdin:
            what, count = line.split()
            begin = time.perf_counter()
            if what == "trips":
                times = []
                for n in range(int(count)):
                    at = time.perf_counter(); pool.submit(square, n).result(); times.append(time.perf_counter() - at)
                print(statistics.median(times), flush=True)
            else:
                if what == "single":
                    for future in [pool.submit(square, n) for n in range(int(count))]: future.result()
                else:
                    for _ in pool.map(square, range(int(count)), chunksize=int(1000)): pass
                print(time.perf_counter() - begin, flush=True)
"""


class Mpi4py(Heist):
    def __init__(self, mpirun):
        with open(f"{FOLDER}/ranks.py", "w") as script:
            script.write(MPI4PY)
        command = [mpirun, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", "3"]
        command += [sys.executable, "-m", "mpi4py.futures", f"{FOLDER}/ranks.py"]
        pipe = subprocess.PIPE
        self.client = start(*command, stdin=pipe, stdout=pipe, text=True)
        self.pids = [self.client.pid]
        assert self.client.stdout.readline() == "ready\n"


def main(bench, server, redis=None, mpirun=None):
    contestants = {
        "heist, NATS": (lambda: Heist(bench, server), 20000, 200000),
        "none claimed ahead": (lambda: Heist(bench, server, ahead="0"), 5000, 200000),
        "ProcessPoolExecutor": (lambda: Futures(concurrent.futures.ProcessPoolExecutor(2)), 20000, 0),
        "Dask LocalCluster": (Dask, 1000, 0),
    }
    if redis:
        contestants["Celery, Redis"] = (lambda: Celery(redis), 2000, 0)
    if mpirun:
        contestants["heist, MPI"] = (lambda: Heist(bench, mpirun=mpirun), 20000, 1000000)
        contestants["mpi4py.futures"] = (lambda: Mpi4py(mpirun), 20000, 200000)
    contestants = {
        name: (make(), count, items) for name, (make, count, items) in contestants.items() if any(word in name for word in ONLY)
    }
    rounds = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, (contestant, count, items) in contestants.items():
            count, items = count // LESS, items // LESS
            before = cpu(contestant.pids)
            seconds = contestant.single(count)
            spent = (cpu(contestant.pids) - before) / count * 1e6
            figures = [count / seconds, contestant.trips(300) * 1e6, spent]
            figures.append(items / contestant.imap(items) if items else 0)
            rounds[name].append(figures)
            print(name, *(f"{figure:.0f}" for figure in figures), flush=True)
    print(f"\nmedian (least to most) of {ROUNDS} rounds: single calls a second, trip in us, CPU of a call in us, items of a stream a second")
    for name, figures in rounds.items():
        columns = [f"{statistics.median(all):.0f} ({min(all):.0f} to {max(all):.0f})" for all in zip(*figures)]
        print(f"{name:20}", *(f"{column:>32}" for column in columns))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    finally:
        sys.stdout.flush()
        for child in reversed(CHILDREN):
            child.terminate()
        for child in CHILDREN:
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
        os._exit(0)
