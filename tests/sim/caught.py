#!/usr/bin/env python3
"""Is each guard missed when it is left out, and each planted bug found (caught.txt)?

Runs the listed seed of each with what is wrong, which must fail, and without, which must not. After
a change of what runs, other seeds find them: --find N looks among the first N, and writes caught.txt
and the table in docs/testing.md anew.

    tests/sim/caught.py BIN [--jobs 2] [name ...]
    tests/sim/caught.py BIN --find 1000 [--jobs 2] [name ...]
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = ROOT / "tests/sim/caught.txt"
TABLE = ROOT / "docs/testing.md"
SUMMARY = re.compile(r"^seeds (\d+): ok \d+, failed (\d+)(?: \(first seed (\d+): (.*)\))?$", re.M)


class Row:
    def __init__(self, line):
        self.name, seed, self.what, self.sound, self.wrong = (part.strip() for part in line.split("|"))
        self.seed = int(seed)

    def line(self):
        return f"{self.name} | {self.seed} | {self.what} | {self.sound} | {self.wrong}"

    def command(self, is_wrong):
        if not is_wrong:
            return self.sound
        if self.sound.endswith(" none"):
            return self.sound.removesuffix("none") + self.wrong
        return f"{self.sound} {self.wrong}"

    def run(self, options, is_wrong, first, count=1, jobs=1):
        """(first failing seed or None, why)"""
        words = self.command(is_wrong).split()
        done = subprocess.run([options.bin / words[0], *words[1:], "--seed", str(first), "--count", str(count),
                               "--jobs", str(jobs), "--expect-failure"],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        match = SUMMARY.search(done.stdout)
        if match is None:
            sys.exit(f"{self.command(is_wrong)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return (int(match[3]), match[4]) if match[2] != "0" else (None, "")


def rows_read(names):
    rows = [Row(line) for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    if unknown := set(names) - {row.name for row in rows}:
        sys.exit(f"not in {LIST.name}: {', '.join(sorted(unknown))}")
    return rows


def check(row, options):
    """What is not as it should be, or nothing."""
    if row.run(options, True, row.seed)[0] is None:
        return f"{row.name}: seed {row.seed} does not find it: {row.command(True)}"
    failed, why = row.run(options, False, row.seed)
    return f"{row.name}: seed {row.seed} fails without it: {row.command(False)}: {why}" if failed else None


def find(row, options):
    first = 1
    while first <= options.find:
        seed, why = row.run(options, True, first, options.find - first + 1, options.jobs)
        if seed is None:
            break
        if row.run(options, False, seed)[0] is None:
            row.seed = seed
            print(f"{row.name:17} {seed:>5}  {why}", flush=True)
            return True
        print(f"{row.name:17} {seed:>5}  fails without it, too", flush=True)
        first = seed + 1
    print(f"{row.name:17} NOT CAUGHT", flush=True)
    return False


def write(rows):
    comments = [line for line in LIST.read_text().splitlines() if line.startswith("#")]
    LIST.write_text("\n".join(comments + [row.line() for row in rows]) + "\n")
    table = ["| name | what is wrong | command | caught at seed |", "|---|---|---|---|"]
    table += [f"| `{row.name}` | {row.what} | `{row.command(True)}` | {row.seed} |" for row in rows]
    marked = re.compile(r"(<!-- caught\.py -->\n).*?(<!-- end -->)", re.S)
    TABLE.write_text(marked.sub(lambda match: match[1] + "\n".join(table) + "\n" + match[2], TABLE.read_text()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bin", type=pathlib.Path, help="where the programs are")
    parser.add_argument("--find", type=int, metavar="N")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*")
    options = parser.parse_intermixed_args()
    rows = rows_read(options.names)
    chosen = [row for row in rows if not options.names or row.name in options.names]

    if options.find:
        are_found = [find(row, options) for row in chosen]
        write(rows)
        return 0 if all(are_found) else 1
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        breaches = [text for text in pool.map(lambda row: check(row, options), chosen) if text]
    print("\n".join(breaches) or f"{len(chosen)} were caught where they should be, and nothing else")
    if breaches:
        print(f"If what runs has changed: {sys.argv[0]} BIN --find 1000")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
