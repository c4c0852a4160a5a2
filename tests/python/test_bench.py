"""crosspoint-bench, every subcommand in small: against our relay and Debian's rtpengine, on loopback.

    this file ── runs ──> crosspoint-bench ── starts ──> crosspoint | rtpengine | its own bare loops

Asserted is what the tool promises its users: the form of its output, its exit statuses, that it does not believe itself when it
should not, and that it leaves nothing behind. No figure is judged here: the machine may be busy.
"""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BENCH = os.environ.get("CROSSPOINT_BENCH_BIN", str(ROOT / "target/release/crosspoint-bench"))

INVALID, THRESHOLD_BROKEN, INTERRUPTED = 3, 4, 130
# A busy machine makes packets late; whether that is noticed has a test of its own.
SMALL = ["--calls=20", "--duration=0.5", "--warmup=0.3", "--late-us-max=10000000"]


def bench(*arguments, timeout=120):
    return subprocess.run([BENCH, *arguments], capture_output=True, text=True, timeout=timeout)


def document(*arguments):
    done = bench(*arguments, "--format=json")
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}\n{done.stdout[-3000:]}"
    return json.loads(done.stdout)


def subject(report, name):
    return next(one for one in report["subjects"] if one["name"] == name)


class Relay(unittest.TestCase):
    def test_our_relay_is_measured_beside_both_controls_and_nothing_is_lost(self):
        report = document("relay", "--target=self", *SMALL)
        self.assertEqual(report["schema_version"], 1)
        self.assertEqual([one["name"] for one in report["subjects"]], ["self", "bare:uring", "bare:mmsg"])
        self.assertEqual([one["is_control"] for one in report["subjects"]], [False, True, True])
        for one in report["subjects"]:
            [trial] = one["trials"]
            self.assertEqual((trial["lost"], trial["duplicates"], trial["invalid"]), (0, 0, []), one["name"])
            self.assertEqual((trial["flows"], trial["sent"]), (40, 1000), one["name"])
            self.assertGreater(trial["cpu_ns_per_packet"], 100, one["name"])
            latency = trial["latency_us"]
            self.assertLess(0, latency["p50"])
            self.assertTrue(latency["p50"] <= latency["p99"] <= latency["p99_9"] <= latency["max"], latency)
        trial = subject(report, "self")["trials"][0]
        self.assertGreaterEqual(trial["packets_per_batch"], 1)
        self.assertGreater(trial["system_calls_per_packet"], 0)
        for fact in ("kernel", "cpu", "mitigations", "null_system_call_ns"):
            self.assertIn(fact, report["facts"])

    def test_rtpengine_is_measured_the_same_way_and_what_it_does_not_say_is_not_made_up(self):
        trial = subject(document("relay", "--target=rtpengine", "--no-controls", *SMALL), "rtpengine")["trials"][0]
        self.assertEqual(trial["lost"], 0)
        self.assertGreater(trial["cpu_ns_per_packet"], 100)
        self.assertIsNone(trial["packets_per_batch"])
        self.assertIsNone(trial["system_calls_per_packet"])

    def test_srtp_is_opened_and_sealed_by_both_relays(self):
        suites = "--suite=AES_CM_128_HMAC_SHA1_80,AEAD_AES_128_GCM"
        for target in ("self", "rtpengine"):
            for legs in ("a", "both"):
                report = document("relay", f"--target={target}", "--no-controls", f"--srtp={legs}", suites, *SMALL)
                trial = report["subjects"][0]["trials"][0]
                self.assertEqual((trial["lost"], trial["invalid"]), (0, []), (target, legs))
                self.assertGreater(trial["sampled"], 0, "packets were opened and compared")

    def test_a_relay_that_runs_already_is_found_by_its_address(self):
        with tempfile.TemporaryDirectory() as directory:
            port = free_port()
            program = [
                "rtpengine", "--config-file=none", "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}",
                "--port-min=28000", "--port-max=28999", "--num-threads=1", "--foreground", "--log-stderr",
            ]
            with open(f"{directory}/log", "wb") as log, subprocess.Popen(program, stderr=log) as relay:
                try:
                    report = document("relay", f"--target=ng:udp:127.0.0.1:{port}", "--no-controls", *SMALL)
                finally:
                    relay.terminate()
            trial = report["subjects"][0]["trials"][0]
            self.assertEqual(trial["lost"], 0)
            self.assertGreater(trial["cpu_ns_per_packet"], 100, "its process was found behind its socket")

    def test_impairments_of_the_generator_are_told_from_the_relays_loss(self):
        impair = "--impair=loss=0.1,reorder=0.1,duplicate=0.1"
        trial = document("relay", "--target=bare:mmsg", "--no-controls", impair, *SMALL)["subjects"][0]["trials"][0]
        self.assertLess(trial["sent"], 980, "a tenth was not sent")
        self.assertLess(trial["lost"], 30, "what was not sent is not lost by the relay")
        self.assertGreater(trial["reordered"], 30)
        self.assertGreater(trial["duplicates"], 30)

    def test_the_same_seed_gives_the_same_run(self):
        impair = "--impair=loss=0.3"
        sent = [
            document("relay", "--target=bare:mmsg", "--no-controls", impair, "--seed=7", *SMALL)["subjects"][0]["trials"][0]["sent"]
            for _ in range(2)
        ]
        self.assertEqual(*sent)

    def test_the_highest_rate_is_searched_and_flows_make_a_curve(self):
        report = document(
            "relay", "--target=bare:mmsg", "--no-controls", "--search=pdr", "--search-step=0.2", "--flows-curve=2,1k", *SMALL
        )
        one = report["subjects"][0]
        self.assertEqual([trial["flows"] for trial in one["curve"]], [2, 1000])
        self.assertGreater(one["found"]["trials"], 0)
        self.assertEqual(one["found"]["goal"], "pdr")


class Honesty(unittest.TestCase):
    def test_a_saturated_generator_makes_the_run_invalid(self):
        slow = ["--throttle-ns=1000000", "--calls=50", "--duration=0.5", "--warmup=0"]
        done = bench("relay", "--target=bare:mmsg", "--no-controls", *slow, "--threshold=lost < 0")
        self.assertEqual(done.returncode, INVALID, done.stdout)
        self.assertIn("the generator was saturated", done.stdout)
        self.assertIn("packets left late", done.stdout)

    def test_a_broken_threshold_has_a_status_of_its_own(self):
        arguments = ["relay", "--target=bare:mmsg", "--no-controls", *SMALL]
        self.assertEqual(bench(*arguments, "--threshold=cpu_ns_per_packet > 0").returncode, 0)
        broken = bench(*arguments, "--threshold=lost <= 0", "--threshold=cpu_ns_per_packet <= 1")
        self.assertEqual(broken.returncode, THRESHOLD_BROKEN)
        self.assertIn("cpu_ns_per_packet <= 1", broken.stderr)
        self.assertEqual(bench(*arguments, "--threshold=beauty > 0").returncode, 1, "an unknown figure")

    def test_load_is_not_sent_to_other_machines(self):
        refused = bench("relay", "--target=ng:udp:192.0.2.1:2223")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("not on this machine", refused.stderr)

    def test_errors_say_what_to_do(self):
        cases = [
            (["relay", "--target=/nonexistent/relay"], "apt|build|rtpengine-daemon"),
            (["relay", "--target=bare:mmsg", "--cores=relay=0,load=0"], "a core each"),
            (["relay", "--calls=100000"], "--ports"),
            (["relay", "--target=self", "--srtp=a", "--prepare-mib-max=1", "--rate=200000"], "--prepare-mib-max"),
            (["relay", f"--target=ng:udp:127.0.0.1:{free_port()}"], "does not answer"),
        ]
        for arguments, words in cases:
            done = bench(*arguments)
            self.assertEqual(done.returncode, 1, arguments)
            self.assertRegex(done.stderr, words)

    def test_control_c_ends_everything_that_was_started(self):
        running = subprocess.Popen(
            [BENCH, "relay", "--target=self", "--calls=10", "--duration=60", "--warmup=0"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        started = until(lambda: family(running.pid)[1:], "the relay is started")
        until(lambda: thread_count(running.pid) > 1, "the generator runs")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
        self.assertEqual(running.returncode, INTERRUPTED, said)
        for pid in started:
            self.assertFalse(pathlib.Path(f"/proc/{pid}").exists(), f"process {pid} is left behind")


class Reports(unittest.TestCase):
    def test_a_run_is_kept_and_compared_with_and_its_page_needs_nothing_else(self):
        with tempfile.TemporaryDirectory() as directory:
            arguments = ["relay", "--target=self", *SMALL]
            first = bench(*arguments, f"--out={directory}", "--html")
            self.assertEqual(first.returncode, 0, first.stderr)
            page = pathlib.Path(directory, "report.html").read_text()
            self.assertGreaterEqual(page.count("<svg"), 2)
            for fetched in ("http://", "https://", "src=", "@import", "url("):
                self.assertNotIn(fetched, page)
            json.loads(pathlib.Path(directory, "report.json").read_text())
            lines = pathlib.Path(directory, "report.csv").read_text().splitlines()
            self.assertEqual(len(lines), 4, "a header and three trials")
            self.assertEqual({line.count(",") for line in lines}, {lines[0].count(",")})
            threshold = "--threshold=cpu_ns_per_packet < 1000 * baseline.cpu_ns_per_packet"
            second = bench(*arguments, f"--baseline={directory}", threshold)
            self.assertEqual(second.returncode, 0, second.stderr)
            self.assertIn("against the baseline", second.stdout)

    def test_a_baseline_of_another_schema_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            pathlib.Path(directory, "report.json").write_text('{"schema_version": 99}')
            done = bench("relay", "--target=bare:mmsg", "--no-controls", *SMALL, f"--baseline={directory}")
            self.assertEqual(done.returncode, 1)
            self.assertIn("schema", done.stderr)


class Others(unittest.TestCase):
    def test_targets_take_turns_and_each_pair_has_a_ratio(self):
        report = document("compare", "--target=self,rtpengine,bare:uring", "--rounds=2", *SMALL)
        self.assertEqual([len(one["trials"]) for one in report["subjects"]], [2, 2, 2])
        costs = {ratio["of"]: ratio for ratio in report["ratios"] if ratio["figure"] == "cpu_ns_per_packet"}
        self.assertEqual(set(costs), {"rtpengine", "bare:uring"})
        self.assertEqual(len(costs["rtpengine"]["pairs"]), 2)

    def test_every_suite_is_measured_beside_its_peers(self):
        report = document("crypto", "--rounds=1")
        ours = subject(report, "crosspoint")["measures"]
        self.assertEqual(len(ours), 20, "five suites, two directions, alone and in batches")
        self.assertEqual(len(subject(report, "webrtc-srtp")["measures"]), 16, "it has four of the suites")
        self.assertTrue(all(measure["value"] > 10 for measure in ours.values()))

    def test_calls_are_set_up_over_ng_and_as_webrtc_clients(self):
        report = document("setup", "--rounds=1", "--seconds=0.3")
        for name in ("self", "rtpengine"):
            self.assertGreater(subject(report, name)["measures"]["triples_per_second"]["value"], 10)
        report = document("setup", "--target=self", "--signaling=webrtc", "--calls=10", "--per-second=10", "--talk=1")
        measures = report["subjects"][0]["measures"]
        self.assertEqual(measures["webrtc_calls_failed"]["value"], 0)
        self.assertGreater(measures["webrtc_cpu_ns_per_packet"]["value"], 100)

    def test_held_calls_are_weighed(self):
        report = document("hold", "--calls=200")
        self.assertEqual(subject(report, "rtpengine")["measures"]["descriptors_per_call"]["value"], 4)
        self.assertLess(subject(report, "self")["measures"]["descriptors_per_call"]["value"], 0.1)

    def test_a_short_soak_says_whether_anything_grows(self):
        measures = document("soak", "--minutes=0.02", "--churn=50", *SMALL)["subjects"][0]["measures"]
        self.assertEqual(measures["descriptor_growth"]["value"], 0)
        self.assertEqual((measures["lost_in_all"]["value"], measures["churn_refused"]["value"]), (0, 0))
        self.assertGreater(measures["churned_calls"]["value"], 10)


def free_port():
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def family(pid):
    """A process and all it started."""
    ids = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            ids += family(int(child))
    return ids


def thread_count(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/task").iterdir()))


def until(condition, what, patience_s=20):
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not in {patience_s} s: {what}")


if __name__ == "__main__":
    unittest.main()
