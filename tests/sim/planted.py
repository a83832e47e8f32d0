#!/usr/bin/env python3
"""How soon do whole clusters under faults find a bug that somebody put in on purpose?

Works on a copy of the tree: puts one bug in, builds skein-sim-cluster, runs seeds until one fails,
takes the bug out again. Prints a table; exits 1 when a bug is not found, or the sound code fails.
A change that no longer fits the source is an error: the bug must be planted anew.

    tests/sim/planted.py [--seed 1] [--count 200] [--jobs 2] [--folder F] [bug ...]
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARD = "node/shard/"

# name -> (what is wrong, file, the sound text, the text with the bug)
BUGS = {
    "none": ("the code as it is", SHARD + "shard_reply.c", "", ""),
    "dedupe": (
        "a command sent again takes effect again", SHARD + "shard_reply.c",
        "    slot->session = session;\n    if (window_has(session, window_place(session, command->sequence), "
        "command->sequence))\n        return ERR_EXISTS;\n",
        "    if (window_has(session, window_place(session, command->sequence), command->sequence))\n"
        "        return OK;\n    slot->session = session;\n"),
    "stale-read": (
        "a leader answers strong reads without asking whether it still leads", SHARD + "shard_replica.c",
        "    if (is_strong)\n        group_read_start(replica->group, &read->base, read_on_index);\n"
        "    else\n        env_defer",
        "    (void)read_on_index;\n    env_defer"),
    "early-answer": (
        "the journal calls a write stored while it is still on its way to the disk", "tests/sim/cluster.c",
        "    sim_options.verbose = options->is_verbose;\n",
        "    sim_options.verbose = options->is_verbose;\n    sim_options.sync_lies = true;\n"),
    "snapshot-rest": (
        "the last records of each chunk of a snapshot are left out", SHARD + "shard_snapshot.c",
        "if (count == BATCH_RECORDS_MAX || reader.rest.size == 0) {", "if (count == BATCH_RECORDS_MAX) {"),
    "snapshot-replies": (
        "a snapshot does not carry the remembered replies", SHARD + "shard_snapshot.c",
        "        if (!shard_state_is_own_key(key))\n            record_put",
        "        if (!shard_state_is_own_key(key) && key.data[0] != 's')\n            record_put"),
    "new-disk-votes": (
        "a replica on a replaced disk votes as if it had never lost anything", SHARD + "shard_host.c",
        "return record->born_disks[i] == shards->options.disk_id;", "return true;"),
    "own-clock": (
        "a replica applies with its own clock, not with the entry's", SHARD + "shard_state.c",
        "shard_replies_sweep(&state->replies, entry.wall_ms);",
        "shard_replies_sweep(&state->replies, env_wall_ms(state->env));"),
    "applied-twice": (
        "after a restart the last entry is applied once more", SHARD + "shard_replica.c",
        "    return ((struct shard_replica *)user)->state.applied;",
        "    struct shard_state *state = &((struct shard_replica *)user)->state;\n\n"
        "    if (state->applied > 0) {\n        state->applied--;\n        state->commands_done = 0;\n    }\n"
        "    return state->applied;"),
    "early-release": (
        "the log is released though the state it made is not on disk yet", "tests/sim/cluster.c",
        "    sim_options.verbose = options->is_verbose;\n",
        "    sim_options.verbose = options->is_verbose;\n    sim_options.durable_lies = true;\n"),
}


def run(program, options):
    done = subprocess.run([program, "--until-failure", "--seed", str(options.seed), "--count",
                           str(options.count), "--jobs", str(options.jobs)],
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    match = re.search(r"^seeds (\d+): ok \d+, failed (\d+)(?: \(first seed (\d+): (.*)\))?$", done.stdout, re.M)
    if match is None:
        sys.exit(f"skein-sim-cluster ended with {done.returncode}:\n{done.stdout}")
    return match.groups()


def tree_copy(tree):
    """Only what changed, so that a build folder that was kept builds only that."""
    for part in ("CMakeLists.txt", "proto", "controller", "node", "deploy", "chaos", "tests"):
        for source in [ROOT / part] if (ROOT / part).is_file() else sorted((ROOT / part).rglob("*")):
            target = tree / source.relative_to(ROOT)
            if source.is_file() and not (target.exists() and target.read_bytes() == source.read_bytes()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def row(bug, folder, options):
    _, path, sound, wrong = BUGS[bug]
    file = folder / "tree" / path
    text = file.read_text()
    if bug != "none" and text.count(sound) != 1:
        sys.exit(f"{bug}: {path} has changed, plant it anew")
    if bug != "none":
        file.write_text(text.replace(sound, wrong))
    built = subprocess.run(["ninja", "-C", folder / "build", "skein-sim-cluster"], text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    file.write_text(text)
    if built.returncode != 0:
        sys.exit(f"{bug} does not build:\n{built.stdout}")
    seeds, failed, seed, why = run(folder / "build" / "bin" / "skein-sim-cluster", options)
    if failed != "0":
        result = f"seed {seed}: {why}"
    else:
        result = "nothing found" if bug == "none" else "NOT CAUGHT"
    print(f"{bug:17} {seeds:>5}  {result}", flush=True)
    return (bug == "none") == (failed == "0")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", help="build there and leave it (default: a temporary one)")
    parser.add_argument("bugs", nargs="*", metavar="bug", help=", ".join(BUGS))
    options = parser.parse_args()
    is_good = True

    with tempfile.TemporaryDirectory(prefix="skein-planted-") as name:
        folder = pathlib.Path(options.folder or name)
        tree_copy(folder / "tree")
        subprocess.run(["cmake", "-S", folder / "tree", "-B", folder / "build", "-G", "Ninja"], check=True,
                       stdout=subprocess.DEVNULL)
        print(f"{'planted bug':17} {'seeds':>5}  first caught at", flush=True)
        for bug in options.bugs or BUGS:
            is_good &= row(bug, folder, options)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
