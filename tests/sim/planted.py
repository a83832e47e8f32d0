#!/usr/bin/env python3
"""Writes copies of the product's files with bugs in them, for skein-sim-planted.

There are no switches for bugs in the product. A bug whose place no longer looks as it did is left
out, with a warning: skein-sim-planted does not know it then, and tests/sim/caught.py fails until it
is planted anew.

    tests/sim/planted.py FOLDER
    tests/sim/planted.py --files      # those it would read
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARD = "node/shard/"

# name -> (file, the sound text, the text with the bug, which is awake when planted_is(IT))
BUGS = {
    "dedupe": (  # a command sent again takes effect again
        SHARD + "shard_reply.c",
        "    slot->session = session;\n    if (window_has(session, window_place(session, command->sequence), "
        "command->sequence))\n        return ERR_EXISTS;\n",
        "    if (IT && window_has(session, window_place(session, command->sequence), command->sequence))\n"
        "        return OK;\n    slot->session = session;\n"
        "    if (window_has(session, window_place(session, command->sequence), command->sequence))\n"
        "        return ERR_EXISTS;\n"),
    "stale-read": (  # a leader answers strong reads without asking whether it still leads
        SHARD + "shard_replica.c",
        "    if (is_strong)\n        group_read_start(", "    if (is_strong && !IT)\n        group_read_start("),
    "early-answer": (  # the journal calls a write stored while it is still on its way to the disk
        "tests/sim/cluster.c",
        "    world->sim = sim_new(&sim_options);\n",
        "    sim_options.sync_lies = IT;\n    world->sim = sim_new(&sim_options);\n"),
    "snapshot-rest": (  # the last records of each chunk of a snapshot are left out
        SHARD + "shard_snapshot.c",
        "if (count == BATCH_RECORDS_MAX || reader.rest.size == 0) {",
        "if (count == BATCH_RECORDS_MAX || (reader.rest.size == 0 && !IT)) {"),
    "snapshot-replies": (  # a snapshot does not carry the remembered replies
        SHARD + "shard_snapshot.c",
        "        if (!shard_state_is_own_key(key))\n            record_put",
        "        if (!shard_state_is_own_key(key) && !(IT && key.data[0] == 's'))\n            record_put"),
    "own-clock": (  # a replica forgets replies by its own clock, a thousand times too soon
        SHARD + "shard_state.c",
        "shard_replies_sweep(&state->replies, entry.wall_ms);",
        "shard_replies_sweep(&state->replies, IT ? env_wall_ms(state->env) * 1000 : entry.wall_ms);"),
    "applied-twice": (  # after a restart the last entry is applied once more
        SHARD + "shard_replica.c",
        "    return ((struct shard_replica *)user)->state.applied;",
        "    struct shard_state *state = &((struct shard_replica *)user)->state;\n\n"
        "    if (IT && state->applied > 0) {\n        state->applied--;\n        state->commands_done = 0;\n    }\n"
        "    return state->applied;"),
    "early-release": (  # the log is released though the state it made is not on disk yet
        "tests/sim/cluster.c",
        "    sim_options.verbose = options->is_verbose;\n",
        "    sim_options.verbose = options->is_verbose;\n    sim_options.durable_lies = IT;\n"),
    "new-disk-votes": (  # a replica on a replaced disk votes as if it had never lost anything
        SHARD + "shard_host.c",
        "return record->born_disks[i] == shards->options.disk_id;",
        "return IT || record->born_disks[i] == shards->options.disk_id;"),
}


def files():
    return sorted({path for path, _, _ in BUGS.values()})


def write(folder):
    texts = {path: (ROOT / path).read_text() for path in files()}
    fitting = []

    for name, (path, sound, wrong) in BUGS.items():
        if texts[path].count(sound) == 1:
            texts[path] = texts[path].replace(sound, wrong.replace("IT", f'planted_is("{name}")'))
            fitting.append(name)
        else:
            print(f"planted.py: {path} has changed: plant {name} anew", file=sys.stderr)
    for path, text in texts.items():
        (folder / path.rsplit("/", 1)[1]).write_text('#include "tests/sim/planted.h"\n\n' + text)
    names = "".join(f'    "{name}",\n' for name in fitting)
    (folder / "planted_names.c").write_text('#include "tests/sim/planted.h"\n\n#include <stddef.h>\n\n'
                                            f"const char *const planted_names[] = {{\n{names}    NULL,\n}};\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--files":
        print(";".join(files()), end="")
    else:
        write(pathlib.Path(sys.argv[1]))
