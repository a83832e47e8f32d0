"""skein chaos: two short scenarios pass, a killed runner leaves nothing that skein heal does not undo."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

from test_failover import SKEIN, STORE, skein, status, wait_for

# Few requests and wide thresholds: this is about the runner, on a machine that does other things at the same time.
KILLS = """
name     short-kill
title    Kills, for eight seconds
layers   laptop
seconds  8
workload checkout rate=15
workload register rate=30
workload counter rate=30
workload orders rate=30
fault    at 2s every 4s for 1s kill busiest-leader
fault    at 3s for 2s pause random-controller
expect   failed-percent <= 50
expect   recovery-s <= 60
"""
LINKS = """
name     short-cut
title    A region is cut off
layers   laptop
seconds  6
workload register rate=30
fault    at 2s for 3s cut region:2
fault    at 2s delay 10 region:1 from region:3
expect   recovery-s <= 60
"""
FOREVER = """
name     forever
title    Broken until somebody mends it
layers   laptop
seconds  300
workload register rate=5
fault    at 1s kill node-2
fault    at 1s pause node-5 controller-3
fault    at 1s cut node-4
"""


def url_of(name):
    lines = pathlib.Path(os.environ["SKEIN_FOLDER"], "cluster.conf").read_text().splitlines()
    address = next(line.split()[-1] for line in lines if line.startswith("node ") and line.split()[2] == name)
    return f"http://{address}/_skein/links"


def links_of(name):
    with urllib.request.urlopen(url_of(name), timeout=5) as answer:
        return json.loads(answer.read())["rules"]


class Chaos(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if skein("load", "checkout", "--rate", "1", "--seconds", "1", check=False).returncode != 0:
            subprocess.run([STORE], check=True, timeout=300, stdout=subprocess.DEVNULL)  # test_failover was not here
        cls.folder = tempfile.TemporaryDirectory()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        wait_for(lambda s: s["healthy"])

    def tearDown(self):
        skein("heal", check=False)

    def scenario(self, text):
        path = pathlib.Path(self.folder.name, "one.chaos")
        path.write_text(text)
        return str(path)

    def run_scenario(self, text):
        done = skein("--json", "chaos", "run", "--file", self.scenario(text), "--seed", "3", check=False)
        whole = json.loads(done.stdout)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual((whole["passed"], whole["failed"], whole["undecided"]), (1, 0, 0))
        return whole["runs"][0]

    def test_kills_under_load(self):
        run = self.run_scenario(KILLS)
        self.assertEqual(run["figures"]["lost-orders"], 0)
        self.assertEqual(run["figures"]["wrong-histories"], 0)
        folder = pathlib.Path(run["folder"])
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        faults = {e["id"] for e in events if e["kind"] == "fault"}
        self.assertEqual(len(faults), 3, events)
        self.assertEqual(faults, {e["id"] for e in events if e["kind"] == "undo"})
        self.assertGreater(len((folder / "samples.jsonl").read_text().splitlines()), 70)
        self.assertIn("short-kill", pathlib.Path(run["report"]).read_text())
        check = str(pathlib.Path(SKEIN[0]).parent / "skein-check")
        if os.path.exists(check):
            history = [line for line in (folder / "history.jsonl").read_text().splitlines() if '"m":"counter"' in line]
            judged = subprocess.run([check, "counter", "-"], input="\n".join(history), text=True, capture_output=True,
                                    timeout=60)
            self.assertEqual(judged.returncode, 0, judged.stdout)

    def test_cut_links(self):
        self.run_scenario(LINKS)
        for node in status()["nodes"]:
            self.assertEqual(links_of(node["name"]), [])

    def test_a_runner_is_killed(self):
        runner = subprocess.Popen(SKEIN + ["chaos", "run", "--file", self.scenario(FOREVER)], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda s: s["nodes_up"] <= 4, 30)
            end = time.monotonic() + 20
            while not links_of("node-4") and time.monotonic() < end:
                time.sleep(0.1)
            self.assertNotEqual(links_of("node-4"), [])
            refused = skein("chaos", "run", "s01", check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("another chaos run is at work", refused.stderr)
        finally:
            runner.send_signal(signal.SIGKILL)
            runner.wait()
        healed = skein("heal").stdout
        self.assertIn("left open by forever: kill node-2", healed)
        self.assertIn("node-5 goes on", healed)
        self.assertTrue(status()["healthy"])
        self.assertEqual(links_of("node-4"), [])
        self.assertFalse(pathlib.Path(os.environ["SKEIN_FOLDER"], "chaos", "open").exists())

    def test_what_is_wrong_is_refused_before_anything_starts(self):
        for text, words in ((KILLS + "fault at 1s explode all\n", "line 14: no fault is called 'explode'"),
                            ("name x\n", "there is no line 'title'")):
            done = skein("chaos", "run", "--file", self.scenario(text), check=False)
            self.assertEqual(done.returncode, 2)
            self.assertIn(words, done.stderr)
        done = skein("chaos", "run", "s14", check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("SKIPPED  s14-power-loss-all: needs:", done.stdout)

    def test_links_are_for_the_operator_only(self):
        request = urllib.request.Request(url_of("node-1"), method="POST", data=b'{"for_ms":1000,"rules":[]}')
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=5)
        self.assertEqual(caught.exception.code, 403)


if __name__ == "__main__":
    unittest.main()
