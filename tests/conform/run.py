#!/usr/bin/env python3
"""Start a cluster of real daemons, run test modules against it with real clients, stop it.

usage: run.py BIN_FOLDER [--up WORD]... MODULE...

The modules are unittest files of this folder. They find the cluster in their environment: SKEIN_ENDPOINT, the
AWS_* variables of `skein env`, SKEIN (the command) and SKEIN_FOLDER. Whatever happens, nothing that was started outlives
this script."""
import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def exported(text):
    return dict(line[len("export "):].split("=", 1) for line in text.splitlines() if line.startswith("export "))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bin")
    parser.add_argument("--up", action="append", default=[], help="a word more for skein up")
    parser.add_argument("modules", nargs="+")
    arguments = parser.parse_args()
    data = tempfile.mkdtemp(prefix="skein-conform.")
    skein = [str(pathlib.Path(arguments.bin).resolve() / "skein"), "--data", data]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    code = 1
    try:
        subprocess.run(skein + ["up", "--port", str(free_port())] + arguments.up, check=True, timeout=120)
        environment = {**os.environ,
                       **exported(subprocess.run(skein + ["env"], check=True, capture_output=True, text=True).stdout),
                       "SKEIN": skein[0], "SKEIN_FOLDER": data, "PATH": "/usr/bin:" + os.environ["PATH"]}
        environment.pop("AWS_PROFILE", None)
        code = subprocess.run(["/usr/bin/python3", "-m", "unittest", "-v", *arguments.modules], cwd=HERE,
                              env=environment).returncode
        if code != 0:
            print_tails(data)
    finally:
        subprocess.run(skein + ["down"], timeout=120, stdout=subprocess.DEVNULL)
        shutil.rmtree(data, ignore_errors=True)
    return code


def print_tails(data):
    for log in sorted(pathlib.Path(data).glob("*/log")):
        print(f"---- the end of {log.parent.name}'s log")
        print("".join(log.read_text(errors="replace").splitlines(keepends=True)[-25:]))


if __name__ == "__main__":
    sys.exit(main())
