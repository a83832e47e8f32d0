"""A lab: a skein cluster of real daemons in which every process has a host of its own.

A host is a network namespace with one address, a cgroup, and if wanted a disk and a clock of its own. The hosts of a
region hang on a bridge; the lab's own network namespace, the "wan", routes between the bridges. Each region has a
host without a daemon, client-REGION, for its clients.

Everything lives in one process, mount and network namespace that belong to the lab's first process: when that ends,
however it ends, the kernel ends the daemons and removes their networks and mounts. What is left then, empty
cgroups and the data folder, is removed by the warden (skein-net), which stays outside; if that was killed too, by the
next call of skein-net."""
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import time
import uuid

NETWORK = "10.77"
ROUTER = 254
CLIENT = 200
CGROUPS = pathlib.Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "memory", "freezer")
CGROUP_PREFIX = "skein-net-"
NETNS = "/run/netns"


class Refused(Exception):
    """What was asked for cannot be done; nothing was changed."""


def run(*words, text=None, check=True):
    done = subprocess.run([str(w) for w in words], input=text, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise Refused(f"{' '.join(str(w) for w in words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


class Host:
    def __init__(self, name, region, address):
        self.name, self.region, self.address = name, region, address
        self.is_client = name.startswith("client-")


class Lab:
    """What every command needs to know of a lab; DATA/lab.json holds what changes (see `edit`)."""

    def __init__(self, data, bin_folder=None):
        self.data = pathlib.Path(data)
        self.state_file = self.data / "lab.json"
        self.bin = pathlib.Path(bin_folder or self.state()["bin"])
        self.hosts = {}
        self.regions = []

    # ---- state ----

    def state(self):
        try:
            return json.loads(self.state_file.read_text())
        except FileNotFoundError:
            raise Refused(f"there is no lab in {self.data}; make one with: skein-net up") from None

    def edit(self, change):
        """Calls change(state) and writes the state back, whole, before anybody else may."""
        with open(self.data / "lab.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = self.state()
            result = change(state)
            new = self.state_file.with_suffix(".new")
            new.write_text(json.dumps(state, indent=1))
            new.rename(self.state_file)
            return result

    # ---- who is there ----

    def load_hosts(self):
        for line in (self.data / "cluster.conf").read_text().splitlines():
            words = line.split()
            if words[:1] in (["controller"], ["node"]):
                self.hosts[words[2]] = Host(words[2], words[3], words[4].split("//")[1].split(":")[0])
                if words[3] not in self.regions:
                    self.regions.append(words[3])
        for i, region in enumerate(self.regions):
            name = "client-" + region
            self.hosts[name] = Host(name, region, f"{NETWORK}.{i}.{CLIENT}")
        return self

    def find(self, words):
        """The hosts of "node-1,region-name,nodes,controllers,all"; regions bring their client with them."""
        found = []
        for word in words.split(","):
            some = [h for h in self.hosts.values() if word in (h.name, h.region) or word == "all"
                    or word == h.name.split("-")[0] + "s" and not h.is_client]
            if not some:
                raise Refused(f"there is no host or region '{word}'; there are: "
                              + " ".join([*self.regions, *self.hosts, "nodes controllers all"]))
            found += [h for h in some if h not in found]
        return found

    def find_daemons(self, words):
        found = [h for h in self.find(words) if not h.is_client]
        if not found:
            raise Refused(f"'{words}' runs no daemon")
        return found

    def port(self):
        for line in (self.data / "cluster.conf").read_text().splitlines():
            if line.startswith("port "):
                return int(line.split()[1])
        return 4566

    # ---- acting ----

    def in_host(self, host, *words, **options):
        return run("nsenter", f"--net={NETNS}/{host.name}", "--", *words, **options)

    def skein(self, *words, check=True):
        return run(self.bin / "skein", "--data", self.data, *words, check=check)

    def cgroup(self, controller, host_name):
        return CGROUPS / controller / self.state()["cgroup"] / host_name

    def kill_everything_on(self, host):
        """As a power switch would: daemon, zygotes, sandboxes."""
        procs = self.cgroup("freezer", host.name) / "cgroup.procs"
        for _ in range(200):
            pids = [int(p) for p in procs.read_text().split()]
            if not pids:
                return
            for pid in pids:
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
            time.sleep(0.01)
        raise Refused(f"processes on {host.name} do not end: {pids}")


# ---- making one (in the lab's first process) ----

def build(lab, options):
    run("mount", "--make-rprivate", "/")  # nothing gets out
    run("mount", "--make-rshared", "/")   # and mounts made later are seen by daemons (launch makes them slaves)
    os.makedirs(NETNS, exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", NETNS)
    make_files(lab, options)
    make_network(lab)
    disks, clocks = share_out(lab, options)
    for host in lab.find_daemons("all"):
        for controller in CONTROLLERS:
            lab.cgroup(controller, host.name).mkdir(parents=True)
        give_disk(lab, host.name, disks.get(host.name))
        write_launch(lab, host.name, host.name in clocks)


def share_out(lab, options):
    """Who has what, when groups are named: the last word counts."""
    disks = {}
    clocks = []
    for words, kind in options["disks"]:
        disks.update({host.name: kind for host in lab.find_daemons(words)})
    for words in options["clocks"]:
        clocks += [host.name for host in lab.find_daemons(words)]
    lab.edit(lambda state: state.update(disks=disks, clocks=clocks))
    return disks, clocks


def make_files(lab, options):
    words = ["make", "--network", NETWORK]
    for name in ("nodes", "regions", "controllers", "shards", "wan"):
        if options.get(name):
            words += ["--" + name, str(options[name])]
    lab.skein(*words)
    lab.load_hosts()


def make_network(lab):
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    pathlib.Path("/proc/sys/net/ipv4/conf/all/route_localnet").write_text("1")
    wan = ["link set lo up"]
    for i, _ in enumerate(lab.regions):
        wan += [f"link add region-{i} type bridge", f"addr add {NETWORK}.{i}.{ROUTER}/24 dev region-{i}",
                f"link set region-{i} up"]
    for host in lab.hosts.values():
        wan += [f"netns add {host.name}"]
    run("ip", "-batch", "-", text="\n".join(wan) + "\n")
    wan = []
    for number, host in enumerate(lab.hosts.values()):
        wan += [f"link add port-{number} type veth peer name eth0 netns {host.name}",
                f"link set port-{number} alias {host.name}",
                f"link set port-{number} master region-{lab.regions.index(host.region)} up"]
    run("ip", "-batch", "-", text="\n".join(wan) + "\n")
    for host in lab.hosts.values():
        run("ip", "-n", host.name, "-batch", "-", text=f"""link set lo up
addr add {host.address}/24 dev eth0
link set eth0 up
route add default via {host.address.rsplit('.', 1)[0]}.{ROUTER}
""")
    share_port(lab)


def share_port(lab):
    """In the lab itself 127.0.0.1:PORT is any node, as in a cluster on a laptop."""
    nodes = [h.address for h in lab.find("nodes")]
    choices = ", ".join(f"{i} : {address}" for i, address in enumerate(nodes))
    run("nft", "-f", "-", text=f"""table ip skein-port {{
    chain output {{
        type nat hook output priority -100
        ip daddr 127.0.0.1 tcp dport {lab.port()} dnat to numgen random mod {len(nodes)} map {{ {choices} }}
    }}
    chain postrouting {{
        type nat hook postrouting priority 100
        ip saddr 127.0.0.1 oifname != "lo" masquerade
    }}
}}
""")


# ---- disks ----

def give_disk(lab, name, kind):
    """Mounts a disk of its own on the daemon's data folder, with what is in it already."""
    if kind is None:
        return
    data = lab.data / name / "data"
    old = data.with_name("old")
    data.rename(old)
    data.mkdir()
    mount_disk(lab, name, kind)
    shutil.copytree(old, data, dirs_exist_ok=True)
    shutil.rmtree(old)
    if kind == "lost":
        os.sync()
        os.setxattr(data, "user.skein.keep", b"")  # it was there before


def mount_disk(lab, name, kind):
    data = lab.data / name / "data"
    kind, _, size = kind.partition(":")
    if kind == "lost":
        backing = lab.data / name / "disk"
        backing.mkdir(exist_ok=True)
        with open(lab.data / name / "disk.log", "a") as log:
            subprocess.Popen([lab.bin / "skein-lostfs", backing, data], start_new_session=True, stdout=log,
                             stderr=log, stdin=subprocess.DEVNULL)
        wait_until(lambda: os.path.ismount(data), f"the file system of {name} does not start")
    elif kind == "ext4":
        image = lab.data / name / "disk.img"
        run("truncate", "-s", size, image)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        run("mount", "-o", "loop", image, data)
    else:
        run("mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", data)


def wait_until(reached, why, seconds=10):
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            raise Refused(why)
        time.sleep(0.01)


# ---- daemons ----

def new_boot(lab, name):
    """What was not synced before is not to be trusted now: daemons see that by the machine's boot id."""
    (lab.data / name / "boot_id").write_text(f"{uuid.uuid4()}\n")


def write_launch(lab, name, has_clock):
    """DATA/NAME/launch, by which `skein start` puts the daemon on its host (deploy/daemon.h)."""
    folder = lab.data / name
    environment = ""
    if has_clock:
        (folder / "clock").write_text("+0\n")
        environment = (f"env LD_PRELOAD={find_faketime()} FAKETIME_TIMESTAMP_FILE={folder}/clock FAKETIME_NO_CACHE=1 "
                       f"FAKETIME_DONT_FAKE_MONOTONIC=1 ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0 ")
    new_boot(lab, name)
    launch = folder / "launch"
    launch.write_text(f"""#!/bin/sh
set -e
for group in {' '.join(str(lab.cgroup(c, name)) for c in CONTROLLERS)}; do
    echo 0 > "$group/cgroup.procs"
done
exec nsenter --net={NETNS}/{name} unshare --mount --propagation slave sh -c '
    mount --bind {folder}/boot_id /proc/sys/kernel/random/boot_id
    exec {environment}"$@"' launch "$@"
""")
    launch.chmod(0o700)


def find_faketime():
    found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise Refused("--clock needs libfaketime (apt install libfaketime)")
    return found[0]


# ---- what dead labs leave ----

def thaw(name):
    """What is frozen does not even die."""
    for state in (CGROUPS / "freezer" / name).glob("*/freezer.state"):
        try:
            state.write_text("THAWED")
        except OSError:
            pass


def remove_cgroups(name):
    thaw(name)
    for controller in CONTROLLERS:
        top = CGROUPS / controller / name
        for path in sorted(top.glob("*"), reverse=True) + [top]:
            if path.is_dir():
                remove_cgroup(path)


def remove_cgroup(path):
    for _ in range(200):  # the kernel takes a moment to let go of the dead
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)
