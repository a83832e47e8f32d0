"""Whatever of skein-net is killed, and when: no process, mount, loop device, cgroup or folder of a lab outlives it."""
import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

NET = os.environ["SKEIN_NET_COMMAND"]

if subprocess.run([NET, "check"]).returncode != 0:
    sys.exit(77)


def wait_for(what, seconds=20):
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


class NothingLeft(unittest.TestCase):
    def setUp(self):
        self.data = tempfile.mkdtemp(prefix="skein-net-test.")
        self.owner = subprocess.Popen(["sleep", "300"])
        subprocess.run([NET, "up", "--data", self.data, "--owner", str(self.owner.pid), "--nodes", "2", "--regions", "2",
                        "--controllers", "1", "--disk", "node-1=lost", "--disk", "node-2=ext4:64m"],
                       check=True, timeout=120, stdout=subprocess.DEVNULL)
        self.state = json.loads((pathlib.Path(self.data) / "lab.json").read_text())
        for words in ("cut node-1 node-2", "packets us-east-1 eu-west-1 delay=5ms", "freeze node-2"):
            subprocess.run([NET, "fault", "--data", self.data, *words.split()], check=True, stdout=subprocess.DEVNULL)

    def tearDown(self):
        self.owner.kill()
        self.owner.wait()
        subprocess.run([NET, "down", "--data", self.data], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.data, ignore_errors=True)

    def processes(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                command = pathlib.Path(path).read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if self.data in command:
                found.append(command)
        return found

    def cgroups(self):
        return glob.glob(f"/sys/fs/cgroup/*/{self.state['cgroup']}")

    def assert_nothing_left(self):
        self.assertTrue(wait_for(lambda: not self.processes()), self.processes())
        self.assertTrue(wait_for(lambda: not self.cgroups()), self.cgroups())
        self.assertNotIn(self.data, pathlib.Path("/proc/self/mounts").read_text())
        self.assertTrue(wait_for(lambda: self.data not in subprocess.run(["losetup", "-a"], capture_output=True,
                                                                         text=True).stdout))
        self.assertTrue(wait_for(lambda: not os.path.exists(self.data) or not os.listdir(self.data)))

    def test_its_owner_is_killed(self):
        self.assertNotEqual(self.processes(), [])
        self.assertNotEqual(self.cgroups(), [])

        self.owner.kill()

        self.assert_nothing_left()

    def test_its_first_process_is_killed(self):
        os.kill(self.state["init"], signal.SIGKILL)

        self.assert_nothing_left()

    def test_its_warden_is_killed(self):
        os.kill(self.state["warden"], signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{self.state['warden']}"))

        subprocess.run([NET, "down", "--data", self.data], check=True, timeout=60)

        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
