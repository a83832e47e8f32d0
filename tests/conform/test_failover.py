"""Kill parts of a running cluster under load: nothing is lost, nothing fails, everything comes back equal."""
import json
import os
import signal
import subprocess
import time
import unittest

SKEIN = [os.environ["SKEIN"], "--data", os.environ["SKEIN_FOLDER"]]
STORE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../deploy/examples/store/deploy.sh")


def skein(*words, check=True, timeout=300):
    return subprocess.run(SKEIN + list(words), check=check, capture_output=True, text=True, timeout=timeout)


def status():
    return json.loads(skein("--json", "status", check=False).stdout)


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while not what(status()):
        if time.monotonic() > end:
            raise AssertionError("not reached: " + json.dumps(status())[:4000])
        time.sleep(0.2)


def load(*words):
    done = skein("--json", "load", "checkout", *words, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"load failed: {done.stdout} {done.stderr}") from None


class Failover(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([STORE], check=True, timeout=300, stdout=subprocess.DEVNULL)

    def tearDown(self):
        skein("start", "all", check=False)
        wait_for(lambda s: s["healthy"])

    def assert_nothing_lost(self, result):
        self.assertGreater(result["acknowledged"], 0)
        self.assertEqual((result["lost"], result["duplicated"], result["failed"]), (0, 0, 0), result)

    def test_random_kills_under_load(self):
        result = load("--rate", "60", "--seconds", "20", "--kill-every", "5s", "--seed", "7")
        self.assert_nothing_lost(result)
        self.assertGreater(result["kills"], 0)

    def test_a_region_is_down(self):
        skein("kill", "region", "us-east-1")
        self.assert_nothing_lost(load("--rate", "30", "--seconds", "5"))
        skein("start", "region", "us-east-1")
        wait_for(lambda s: s["healthy"])
        self.assertEqual(status()["shards_unequal"], 0)

    def test_all_controllers_are_down(self):
        skein("kill", "controllers")
        self.assert_nothing_lost(load("--rate", "30", "--seconds", "5"))

    def test_an_interrupt_starts_what_was_killed_and_shows_the_ledger(self):
        load = subprocess.Popen(SKEIN + ["--json", "load", "checkout", "--rate", "30", "--seconds", "300", "--kill-every",
                                         "2s"], text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda s: s["nodes_up"] + s["controllers_up"] < 9, 30)
            load.send_signal(signal.SIGINT)
            result = json.loads(load.communicate(timeout=120)[0])
        finally:
            load.kill()
        self.assertTrue(result["interrupted"])
        self.assert_nothing_lost(result)
        self.assertEqual(result["sent"], result["acknowledged"] + result["unanswered"])
        self.assertNotIn(0, [process["pid"] for process in status()["nodes"] + status()["controllers"]])

    def test_the_leader_is_paused(self):
        name = skein("pause", "leader-of", "Orders").stdout.split()[1]
        try:
            self.assert_nothing_lost(load("--rate", "30", "--seconds", "5"))
        finally:
            skein("resume", name)


if __name__ == "__main__":
    unittest.main()
