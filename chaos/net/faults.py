"""Faults of a lab, each with its undo.

A fault is a function (lab, number, arguments) that first checks its arguments, then hands over what undoes it
(`undo`, a list of steps), and only then does it: so whatever happens in between, `heal` finds the steps. A step is
harmless when there is nothing to undo. Steps:

    ["host", NAME, WORD...]  a command on a host       ["run", WORD...]    one in the lab's own namespace
    ["write", PATH, TEXT]    into an existing file     ["xattr", PATH, NAME, TEXT]
    ["end", PID, PROGRAM]    ends a process            ["remove", PATH]
    ["start", NAME]          its daemon, if it is down

What a file lost (`flip`, `truncate`) has no undo: mending it is the cluster's business."""
import os
import pathlib
import subprocess
import time

from lab import NETNS, Refused, mount_disk, new_boot, run, wait_until

TABLE = {}


def fault(name, usage, needs=()):
    def note(function):
        TABLE[name] = (function, usage, function.__doc__, needs)
        return function
    return note


def number(text, unit, low, high):
    try:
        value = float(text.removesuffix(unit))
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise Refused(f"'{text}' is not a number from {low} to {high} ({unit})")
    return value


def take(arguments, count_min, count_max, usage):
    if not count_min <= len(arguments) <= count_max:
        raise Refused(f"usage: {usage}")


def options_of(words, allowed):
    """{"jitter": "5ms"} of ["jitter=5ms"]"""
    found = dict(word.partition("=")[::2] for word in words)
    for name in found:
        if name not in allowed:
            raise Refused(f"there is no option '{name}'; there are: {' '.join(allowed)}")
    return found


# ---- network ----

def refuse_at(lab, name, host, peers, verdict, undo):
    others = ", ".join(p.address for p in peers if p is not host)
    if not others:
        return
    undo(["host", host.name, "nft", "delete", "table", "ip", name])
    lab.in_host(host, "nft", "-f", "-", text=f"""table ip {name} {{
    chain input {{
        type filter hook input priority 0
        ip saddr {{ {others} }} {verdict}
    }}
}}
""")


@fault("cut", "cut A B|rest [oneway] [reset]")
def cut(lab, number_, arguments, undo):
    """Packets between A and B are dropped; oneway: only those from A to B; reset: refused with a TCP reset"""
    take(arguments, 2, 4, "cut A B|rest [oneway] [reset]")
    flags = options_of(arguments[2:], ("oneway", "reset"))
    a = lab.find(arguments[0])
    b = [h for h in lab.hosts.values() if h not in a] if arguments[1] == "rest" else lab.find(arguments[1])
    verdict = "meta l4proto tcp reject with tcp reset" if "reset" in flags else "drop"
    for host in b:
        refuse_at(lab, f"fault-{number_}", host, a, verdict, undo)
    if "oneway" not in flags:
        for host in a:
            refuse_at(lab, f"fault-{number_}-back", host, b, verdict, undo)


@fault("unplug", "unplug HOSTS")
def unplug(lab, _, arguments, undo):
    """The cable is pulled: the link has no carrier"""
    take(arguments, 1, 1, "unplug HOSTS")
    for host in lab.find(arguments[0]):
        undo(["run", "ip", "link", "set", port_of(lab, host), "up"])
        run("ip", "link", "set", port_of(lab, host), "down")


def port_of(lab, host):
    return f"port-{list(lab.hosts.values()).index(host)}"


@fault("reset", "reset HOSTS")
def reset(lab, _, arguments, undo):
    """Open TCP connections of the hosts are aborted, once; new ones are not hindered"""
    take(arguments, 1, 1, "reset HOSTS")
    for host in lab.find(arguments[0]):
        lab.in_host(host, "ss", "-K", "-t", "dst", "10.0.0.0/8", check=False)


@fault("rate", "rate HOSTS 8mbit")
def rate(lab, _, arguments, undo):
    """Bandwidth of the hosts' links, either way"""
    take(arguments, 2, 2, "rate HOSTS 8mbit")
    number(arguments[1], "mbit", 0.01, 10000)
    shape = ["root", "tbf", "rate", arguments[1], "burst", "64kb", "latency", "200ms"]
    for host in lab.find(arguments[0]):
        undo(["run", "tc", "qdisc", "del", "dev", port_of(lab, host), "root"])
        undo(["host", host.name, "tc", "qdisc", "del", "dev", "eth0", "root"])
        run("tc", "qdisc", "add", "dev", port_of(lab, host), *shape)
        lab.in_host(host, "tc", "qdisc", "add", "dev", "eth0", *shape)


@fault("packets", "packets A B [delay=40ms] [jitter=5ms] [loss=1%] [reorder=2%]", ("skein-packets",))
def packets(lab, number_, arguments, undo):
    """Packets between regions (or hosts of different ones) are late, lost, out of order; each way the same"""
    usage = TABLE["packets"][1]
    take(arguments, 3, 6, usage)
    a, b = lab.find(arguments[0]), lab.find(arguments[1])
    if {h.region for h in a} & {h.region for h in b}:
        raise Refused("packets of one region do not pass the lab's router: name two regions")
    given = options_of(arguments[2:], ("delay", "jitter", "loss", "reorder"))
    shape = [str(number(given.get(name, "0"), unit, 0, most))
             for name, unit, most in (("delay", "ms", 10000), ("jitter", "ms", 10000), ("loss", "%", 100),
                                      ("reorder", "%", 100))]
    first = 2 * number_
    ways = [(first, a, b), (first + 1, b, a)]
    rules = [["FORWARD", "-s", ",".join(h.address for h in x), "-d", ",".join(h.address for h in y), "-j", "NFQUEUE",
              "--queue-num", str(queue), "--queue-bypass"] for queue, x, y in ways]
    with open(lab.data / "packets.log", "a") as log:
        injector = subprocess.Popen([lab.bin / "skein-packets", str(first), "2", *shape], start_new_session=True,
                                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
    for rule in rules:  # undone first: what is queued then still gets through
        undo(["run", "iptables", "-w", "-D", *rule])
    undo(["end", injector.pid, "skein-packets"])
    if injector.stdout.readline() != "ready\n":
        raise Refused("skein-packets does not start; see packets.log")
    for rule in rules:
        run("iptables", "-w", "-I", *rule)


# ---- processor, memory ----

def cgroup_fault(lab, host, controller, file, text, back, undo):
    path = lab.cgroup(controller, host.name) / file
    undo(["write", str(path), back])
    path.write_text(text)


@fault("cpu", "cpu HOSTS 5%")
def cpu(lab, _, arguments, undo):
    """Each host gets so much of one processor"""
    take(arguments, 2, 2, "cpu HOSTS 5%")
    quota_us = int(number(arguments[1], "%", 1, 100) * 1000)
    for host in lab.find_daemons(arguments[0]):
        cgroup_fault(lab, host, "cpu", "cpu.cfs_quota_us", str(quota_us), "-1", undo)


@fault("memory", "memory HOSTS 16m")
def memory(lab, _, arguments, undo):
    """Each host has so much more memory than it uses now; beyond that the kernel kills its processes"""
    take(arguments, 2, 2, "memory HOSTS 16m")
    more = int(number(arguments[1], "m", 0, 65536) * 1024 * 1024)
    for host in lab.find_daemons(arguments[0]):
        used = int((lab.cgroup("memory", host.name) / "memory.usage_in_bytes").read_text())
        undo(["start", host.name])
        cgroup_fault(lab, host, "memory", "memory.limit_in_bytes", str(used + more), "-1", undo)


@fault("freeze", "freeze HOSTS")
def freeze(lab, _, arguments, undo):
    """All processes of the hosts stand still, as those of a virtual machine that is moved"""
    take(arguments, 1, 1, "freeze HOSTS")
    for host in lab.find_daemons(arguments[0]):
        cgroup_fault(lab, host, "freezer", "freezer.state", "FROZEN", "THAWED", undo)


@fault("kill", "kill HOSTS")
def kill(lab, _, arguments, undo):
    """All processes of the hosts are killed; heal starts their daemons"""
    take(arguments, 1, 1, "kill HOSTS")
    for host in lab.find_daemons(arguments[0]):
        undo(["start", host.name])
        lab.kill_everything_on(host)


# ---- disks ----

def disk_of(lab, host, kinds):
    kind = lab.state()["disks"].get(host.name, "none of its own")
    if kind.partition(":")[0] not in kinds:
        raise Refused(f"this needs a disk of {' or '.join(kinds)}, and that of {host.name} is {kind}: "
                      f"skein-net up --disk {host.name}={kinds[0]}{'' if kinds[0] == 'lost' else ':64m'}")
    return lab.data / host.name / "data"


@fault("fill", "fill HOSTS")
def fill(lab, _, arguments, undo):
    """Their disks are full"""
    take(arguments, 1, 1, "fill HOSTS")
    for disk, host in [(disk_of(lab, h, ("ext4", "tmpfs")), h) for h in lab.find_daemons(arguments[0])]:
        ballast = disk / ".ballast"
        undo(["start", host.name])
        undo(["remove", str(ballast)])
        with open(ballast, "wb", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(bytes(size)) > 0:
                        pass
                except OSError:
                    pass


@fault("power", "power HOSTS [SEED]", ("skein-lostfs",))
def power(lab, _, arguments, undo):
    """Power is lost on all of them at once: nothing that was not synced is there afterwards (with SEED: a random
    half of it is); heal starts their daemons"""
    take(arguments, 1, 2, "power HOSTS [SEED]")
    seed = str(int(number(arguments[1], "", 1, 2**31))) if len(arguments) == 2 else ""
    disks = [(disk_of(lab, h, ("lost",)), h) for h in lab.find_daemons(arguments[0])]
    for _, host in disks:
        undo(["start", host.name])
    for _, host in disks:
        lab.kill_everything_on(host)
    for disk, host in disks:
        os.setxattr(disk, "user.skein.lose", seed.encode())
        run("umount", disk)
        mount_disk(lab, host.name, "lost")
        new_boot(lab, host.name)


@fault("slow", "slow HOSTS 200ms", ("skein-lostfs",))
def slow(lab, _, arguments, undo):
    """Each sync of their disks takes so much longer"""
    take(arguments, 2, 2, "slow HOSTS 200ms")
    delay_ms = str(int(number(arguments[1], "ms", 0, 60000)))
    for disk in [disk_of(lab, h, ("lost",)) for h in lab.find_daemons(arguments[0])]:
        undo(["xattr", str(disk), "user.skein.sync_ms", "0"])
        os.setxattr(disk, "user.skein.sync_ms", delay_ms.encode())


@fault("error", "error HOSTS write|sync EIO|ENOSPC [AFTER]", ("skein-lostfs",))
def error(lab, _, arguments, undo):
    """Writes or syncs of their disks fail, from the next one on, or when so many more went well"""
    take(arguments, 3, 4, "error HOSTS write|sync EIO|ENOSPC [AFTER]")
    if arguments[1] not in ("write", "sync") or arguments[2] not in ("EIO", "ENOSPC"):
        raise Refused("usage: " + TABLE["error"][1])
    after = int(number(arguments[3], "", 0, 1e9)) if len(arguments) == 4 else 0
    for disk, host in [(disk_of(lab, h, ("lost",)), h) for h in lab.find_daemons(arguments[0])]:
        undo(["start", host.name])
        undo(["xattr", str(disk), "user.skein.fail", "none"])
        os.setxattr(disk, "user.skein.fail", f"{arguments[1]} {arguments[2]} {after}".encode())


def file_of(lab, name, file):
    host, = lab.find_daemons(name)
    path = (lab.data / host.name / "data" / file).resolve()
    if lab.data.resolve() not in path.parents or not path.is_file():
        raise Refused(f"{host.name} has no file '{file}' in its data folder")
    return path


@fault("flip", "flip HOST FILE [OFFSET]")
def flip(lab, _, arguments, undo):
    """One bit of a file below its data folder is turned, the one in its middle if nothing else is said; no undo"""
    take(arguments, 2, 3, "flip HOST FILE [OFFSET]")
    path = file_of(lab, arguments[0], arguments[1])
    size = path.stat().st_size
    offset = int(number(arguments[2], "", 0, size - 1)) if len(arguments) == 3 else size // 2
    with open(path, "r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, offset)
        if not byte:
            raise Refused(f"{path} is empty")
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), offset)
        os.fsync(file.fileno())


@fault("truncate", "truncate HOST FILE BYTES")
def truncate(lab, _, arguments, undo):
    """A file below its data folder loses so many bytes of its end; no undo"""
    take(arguments, 3, 3, "truncate HOST FILE BYTES")
    path = file_of(lab, arguments[0], arguments[1])
    lost = int(number(arguments[2], "", 1, 2**40))
    with open(path, "r+b") as file:
        os.ftruncate(file.fileno(), max(0, path.stat().st_size - lost))
        os.fsync(file.fileno())


# ---- clock ----

@fault("clock", "clock HOSTS +3600s|-3600s")
def clock(lab, _, arguments, undo):
    """Their wall clocks jump; the monotonic ones do not"""
    take(arguments, 2, 2, "clock HOSTS +3600s")
    offset = number(arguments[1], "s", -10**9, 10**9)
    for host in lab.find_daemons(arguments[0]):
        path = lab.data / host.name / "clock"
        if not path.exists():
            raise Refused(f"{host.name} has no clock of its own: skein-net up --clock {host.name}")
        undo(["write", str(path), "+0\n"])
        replace(path, f"{offset:+.3f}\n")


def replace(path, text):
    """libfaketime must never read half of it."""
    new = pathlib.Path(str(path) + ".new")
    new.write_text(text)
    new.rename(path)


# ---- undoing ----

def undo_step(lab, step):
    kind, *words = step
    if kind == "host":
        lab.in_host(lab.hosts[words[0]], *words[1:], check=False)
    elif kind == "run":
        run(*words, check=False)
    elif kind == "write":
        if words[0].startswith("/sys/"):
            pathlib.Path(words[0]).write_text(words[1])
        else:
            replace(pathlib.Path(words[0]), words[1])
    elif kind == "xattr":
        os.setxattr(words[0], words[1], words[2].encode())
    elif kind == "remove":
        pathlib.Path(words[0]).unlink(missing_ok=True)
    elif kind == "end":
        end_process(words[0], words[1])
    elif kind == "start":
        lab.skein("start", words[0])


def end_process(pid, program):
    comm = pathlib.Path(f"/proc/{pid}/comm")

    def is_there():
        try:
            return comm.read_text().strip() == program[:15]
        except OSError:
            return False
    if is_there():
        os.kill(pid, 15)
        wait_until(lambda: not is_there(), f"{program} does not end")


# ---- the two verbs ----

def inject(lab, name, arguments):
    """The fault's number. On failure what was done by then is undone."""
    if name not in TABLE:
        raise Refused(f"there is no fault '{name}'; see: skein-net faults")
    function, _, _, needs = TABLE[name]
    for program in needs:
        if not (lab.bin / program).exists():
            raise Refused(f"{name} needs {program}, which was not built: its library was missing (deploy/setup)")

    def begin(state):
        state["fault_number"] += 1
        state["faults"][str(state["fault_number"])] = {"words": [name, *arguments], "at": time.time(), "undo": []}
        return state["fault_number"]
    fault_number = lab.edit(begin)

    def undo(step):
        lab.edit(lambda state: state["faults"][str(fault_number)]["undo"].append(step))
    try:
        function(lab, fault_number, arguments, undo)
    except BaseException:
        heal(lab, str(fault_number))
        raise
    return fault_number


def heal(lab, which):
    """One fault, or all, the latest first. What cannot be undone is told, and does not hold up the rest."""
    faults = lab.state()["faults"]
    numbers = sorted((int(n) for n in faults), reverse=True) if which == "all" else [which]
    troubles = []
    starts = []
    for fault_number in numbers:
        if str(fault_number) not in faults:
            raise Refused(f"there is no fault {fault_number}; see: skein-net status")
        for step in faults[str(fault_number)]["undo"]:
            if step[0] == "start":  # when everything else is as it should be
                starts.append(step)
                continue
            try:
                undo_step(lab, step)
            except (OSError, Refused) as trouble:
                troubles.append(f"{' '.join(map(str, step))}: {trouble}")
        lab.edit(lambda state, n=str(fault_number): state["faults"].pop(n, None))
    for step in starts:
        try:
            undo_step(lab, step)
        except (OSError, Refused) as trouble:
            troubles.append(f"{' '.join(map(str, step))}: {trouble}")
    if troubles:
        raise Refused("not undone: " + "; ".join(troubles))
