#!/usr/bin/env python3
"""Rules of the house that a compiler does not check. Prints each breach, exits 1 if there is one.

arrows    which room may include which (docs/architecture.md)
system    code that decides sees `struct env`, never the operating system
names     file names are unique, so that a symbol's prefix says where it lives
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = [p for top in ("proto", "controller", "node", "deploy", "chaos", "tests")
           for p in sorted((ROOT / top).rglob("*.[ch]"))]

# room -> rooms it may include besides itself; longest matching prefix counts
ARROWS = {
    "proto/base": [],
    "proto/env": ["proto/base", "proto/store", "proto/net"],
    "proto/wire": ["proto/base"],
    "proto/records": ["proto/base", "proto/env"],
    "proto/net": ["proto/base", "proto/env", "proto/wire"],
    "proto/store": ["proto/base", "proto/env"],
    "proto/raft": ["proto/base", "proto/env", "proto/wire", "proto/net", "proto/store"],
    "controller": ["proto"],
    "node/http": ["proto"],
    "node/auth": ["proto", "node/http"],
    "node/view": ["proto"],
    "node/shard": ["proto", "node/view"],
    "node/table": ["proto", "node/shard", "node/view"],
    "node/object": ["proto", "node/shard", "node/view"],
    "node/sandbox": ["proto", "node/view", "node/http"],
    "node/event": ["proto", "node/shard", "node/view", "node/sandbox"],
    "node/aws": ["proto", "node/http", "node/auth", "node/view", "node/shard", "node/table", "node/object", "node/event",
                 "node/sandbox"],
    "node": ["proto", "node"],
    "deploy": ["proto", "node", "controller", "deploy", "chaos"],  # `skein chaos` is one of its commands
    "chaos": ["proto", "node", "controller", "deploy", "chaos"],
    "tests": ["proto", "node", "controller", "deploy", "chaos", "tests"],
}

# Files that are the shell around the pure core.
SHELL = re.compile(r"^(proto/env/(env_uv|disk_uv)|proto/net/(mesh|tls)|proto/store/kv_leveldb|node/http/http_(server|connection|listener)"
                   r"|node/sandbox/(process|isolate|launcher|runtime_api|zygote|package|sandbox_paths)|proto/base/(log|settings|check)"
                   r"|deploy/|chaos/|tests/|(node|controller)/main\.c)")
SYSTEM = re.compile(r"\b(clock_gettime|gettimeofday|time\s*\(\s*NULL|rand\s*\(|srand\s*\(|getrandom|usleep|nanosleep|sleep\s*\("
                    r"|fork\s*\(|uv_[a-z_]+\s*\(|pthread_[a-z_]+|socket\s*\(|fopen\s*\(|fsync\s*\(|fdatasync\s*\()")


def room_of(path):
    name = str(path)
    best = max((r for r in ARROWS if name.startswith(r + "/")), key=len, default=None)
    return best


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return re.sub(r'"(\\.|[^"\\])*"', '""', text)


def main():
    breaches = []
    seen = {}
    for source in SOURCES:
        path = source.relative_to(ROOT)
        room = room_of(path)
        text = source.read_text()
        for number, line in enumerate(text.splitlines(), 1):
            match = re.match(r'#include "([^"]+)"', line)
            if not match or match.group(1).endswith(".pb-c.h"):
                continue
            target = room_of(pathlib.Path(match.group(1)))
            if target is None:
                breaches.append(f"{path}:{number}: include is not an address from the root: {match.group(1)}")
            elif target != room and not any(target == r or target.startswith(r + "/") for r in ARROWS[room]):
                breaches.append(f"{path}:{number}: {room} must not include {target}")
        if not SHELL.match(str(path)):
            for number, line in enumerate(without_comments(text).splitlines(), 1):
                match = SYSTEM.search(line)
                if match:
                    breaches.append(f"{path}:{number}: calls the operating system: {match.group().strip()}")
        other = seen.setdefault(path.name, path)
        if other != path and path.name not in ("main.c",) and not str(path).startswith("tests/"):
            breaches.append(f"{path}: same file name as {other}")
    for breach in breaches:
        print(breach)
    print(f"tidy: {len(SOURCES)} files, {len(breaches)} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
