# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cases of runner-test: figures computed from known results, and machines that misbehave."""
import os
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
import machines  # noqa: E402
import report  # noqa: E402


class Work:
    def __init__(self, name='lcg', group='integer', unit='s'):
        self.file, self.name, self.group, self.unit = 'guest-bench', name, group, unit


def result(value, unit='s', seconds=1.0, check='aa', passed=None):
    return machines.Result(['@result', 'x', str(value), unit, str(seconds), '-', check], passed, 0)


class Figures(unittest.TestCase):
    def test_slowness_depends_on_the_unit(self):
        self.assertAlmostEqual(report.slowness('s', 3.0, 2.0), 1.5)
        self.assertAlmostEqual(report.slowness('us', 1.0, 4.0), 0.25)
        self.assertAlmostEqual(report.slowness('MB/s', 100.0, 400.0), 4.0)
        self.assertIsNone(report.slowness('s', None, 2.0))

    def test_geometric_mean(self):
        self.assertAlmostEqual(report.geometric_mean([1, 4, 16]), 4)
        self.assertIsNone(report.geometric_mean([]))
        self.assertIsNone(report.geometric_mean([1, None]))

    def summary(self, native, tenon, qemu):
        return report.summarize_workload(Work(), {'native': native, 'tenon': tenon, 'qemu': qemu})

    def test_median_and_ratios(self):
        w = self.summary([result(1), result(9), result(2)], [result(3)], [result(12)])
        self.assertEqual(w['engines']['native']['value'], 2)
        self.assertEqual(w['ratios'], {'tenon/native': 1.5, 'qemu/native': 6, 'qemu/tenon': 4})
        self.assertFalse(w['checksums-differ'])

    def test_different_results_are_noticed(self):
        self.assertTrue(self.summary([result(1)], [result(1, check='bb')], [result(1)])['checksums-differ'])
        rounds = [result(1), result(1, check='bb')]
        self.assertTrue(self.summary(rounds, [result(1)], [result(1)])['checksums-differ'])

    def test_a_failure_leaves_the_other_rounds(self):
        w = self.summary([result(1)], ['it crashed', result(2)], ['no answer'])
        self.assertEqual(w['engines']['tenon']['value'], 2)
        self.assertEqual(w['engines']['tenon']['failures'], ['it crashed'])
        self.assertIsNone(w['ratios']['qemu/tenon'])

    def test_floors(self):
        def rows(native, qemu):
            groups = {'integer': {'tenon/native': native, 'qemu/tenon': qemu}}
            return report.judge(groups)[0]
        self.assertEqual((rows(1.6, 6)['native-holds'], rows(1.6, 6)['qemu-holds']), (True, True))
        self.assertEqual((rows(1.61, 5.9)['native-holds'], rows(1.61, 5.9)['qemu-holds']), (False, False))
        self.assertEqual((rows(None, None)['native-holds'], rows(None, None)['qemu-holds']), (None, None))

    def test_engine_figures_come_from_counters_that_exist(self):
        counters = {'cpu.code-bytes': 900, 'cpu.code-guest-bytes': 300, 'cpu.translate-ns': 5}
        self.assertEqual(report.engine_figures(counters),
                         {'code expansion': {'value': 3, 'unit': 'host bytes per guest byte'}})

    def test_a_wrong_clock_gives_way(self):
        r = result(1.0, seconds=1.0, passed=4.0)
        r.take_outside(0)
        self.assertTrue(r.clock_wrong)
        self.assertAlmostEqual(r.value, 4.0)
        r = result(1000, 'MB/s', seconds=1.0, passed=4.0)
        r.take_outside(0)
        self.assertAlmostEqual(r.value, 250)
        r = result(1.0, seconds=1.0, passed=1.02)
        r.take_outside(0.01)
        self.assertFalse(r.clock_wrong)
        self.assertAlmostEqual(r.value, 1.01)

    def test_the_busiest_thread_counts(self):
        waits = {'@begin': {'1': (100, 50), '2': (5, 5)}, '@end': {'1': (int(2e9), int(1e9) + 50), '2': (9, 9)}}
        self.assertAlmostEqual(machines.waited(waits), 1.0)
        self.assertEqual(machines.waited({'@begin': {}, '@end': {}}), 0)


PATIENCE = 300  # seconds: a busy host makes a test late, not wrong

PROLOGUE = '''echo loader; echo 'Linux version 1'; echo @init; echo '@clocksource tsc'; echo @ready
answer () { echo "@begin $1"; sleep $2; echo "@end $1"; echo "@result $1 $2 s $2 - 1234abcd"; echo '@done 0'; }
while read -r command file name scale; do
  [ "$command" = off ] && break
  case $name in empty) answer empty 0; continue ;; esac
'''


class Machines(unittest.TestCase):
    """Shell scripts that speak like a guest."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.directory.cleanup()

    def guest(self, script, limit=PATIENCE):
        return machines.Guest('fake', ['/bin/sh', '-c', script], boot_limit=limit, limit=limit,
                              log=os.path.join(self.directory.name, 'log'))

    def test_a_whole_round(self):
        guest = self.guest(PROLOGUE + 'echo noise; answer "$name" 0.2; done')
        guest.start()
        self.assertTrue({'loader', 'kernel', 'init', 'ready'} <= set(guest.boot))
        self.assertEqual(guest.clocksource, 'tsc')
        # Lines are timed as they are read, so of a reader that was kept waiting the figure is another.
        end = time.monotonic() + PATIENCE
        while True:
            r = guest.run(Work(), 100)
            self.assertEqual((r.check, r.unit), ('1234abcd', 's'))
            if 0.15 < r.passed < 0.4 or time.monotonic() > end:
                break
        self.assertTrue(0.15 < r.passed < 0.4, r.passed)
        begin = time.monotonic()
        guest.stop()
        self.assertLess(time.monotonic() - begin, 50)  # after a minute it would have been killed
        self.assertIsNone(guest.process)

    def test_a_machine_that_dies(self):
        guest = self.guest(PROLOGUE + 'echo "last words"; exit 1; done')
        guest.start()
        with self.assertRaisesRegex(machines.Failure, 'the machine ended(.|\n)*last words'):
            guest.run(Work(), 100)
        with self.assertRaisesRegex(machines.Failure, machines.NOT_RUNNING):
            guest.run(Work(), 100)
        guest.stop()

    def test_a_program_that_fails_leaves_the_machine(self):
        guest = self.guest(PROLOGUE + 'if [ "$name" = bad ]; then echo "no such thing"; echo "@done 1"; '
                           'else answer "$name" 0; fi; done')
        guest.start()
        with self.assertRaisesRegex(machines.Failure, 'no such thing'):
            guest.run(Work('bad'), 100)
        self.assertEqual(guest.run(Work(), 100).check, '1234abcd')
        guest.stop()

    def test_a_machine_that_hangs(self):
        guest = self.guest(PROLOGUE + 'exec sleep 1000; done')
        guest.start()
        guest.limit = 1
        with self.assertRaisesRegex(machines.Failure, 'no answer in time'):
            guest.run(Work(), 100)
        self.assertIsNone(guest.process)

    def test_a_boot_that_fails(self):
        for script in ('echo BIOS; exit 3', 'exec sleep 1000'):
            guest = self.guest(script, limit=1)
            with self.assertRaisesRegex(machines.Failure, 'boot: '):
                guest.start()
            self.assertIsNone(guest.process)

    def test_garbage_for_a_result(self):
        guest = self.guest(PROLOGUE + 'echo "@result x y s z - q"; printf "\\377\\n"; echo "@done 0"; done')
        guest.start()
        with self.assertRaisesRegex(machines.Failure, 'no result'):
            guest.run(Work(), 100)
        guest.stop()


if __name__ == '__main__':
    unittest.main()
