# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where workloads run: on the host, in Tenon, in QEMU.

An engine has a name, start () and stop () for a round, and run (workload, scale), which returns a
Result.  A guest's serial line is a pipe to this process; guest-init says what is spoken on it.

A guest's time is taken by the host's clock, from the arrival of @begin to that of @end, because the clock
of a virtual machine need not be right.  From it goes what an empty program costs, and what the busiest
thread of the machine spent in the host's run queue while other processes had the processor.  Likewise
a native program's time is the processor time of it and its children, which never sleep.  On a host with
nothing else to do both are the time that passed.
"""
import os
import select
import shutil
import subprocess
import tempfile
import time

NOT_RUNNING = 'the machine is not running'
KEPT_LINES = 60         # of a guest's last words, for messages
CLOCK_TOLERANCE = 0.03  # by how much a guest's clock may be off ...
CLOCK_SLACK = 0.05      # ... and how late a line may come, in seconds
CATCH_UP = 1 / 8        # by how much a clock that had to wait may go too fast
EMPTY_RUNS = 5


class Failure(Exception):
    """A workload or a machine failed; the text says how."""


class Empty:
    """The workload that does nothing."""
    file, name = 'guest-bench', 'empty'


class Result:
    """What a workload said of itself, and what was seen of it from outside.

    seconds is the time that counts; passed is the host's clock, waited the time in its run queue, claimed
    what the program's own clock said.
    """

    def __init__(self, words, passed, waited):
        value, self.unit, self.claimed = float(words[2]), words[3], float(words[4])
        self.busy = None if words[5] == '-' else float(words[5])
        self.check = words[6]
        self.seconds, self.passed, self.waited = self.claimed, passed, waited
        self.claimed_value = self.value = value
        self.clock_wrong = False

    def take(self, seconds):
        """Lets the value follow from another measurement of the time than the program's own."""
        factor = max(seconds, 1e-6) / max(self.claimed, 1e-6)
        self.seconds = seconds
        self.value = self.claimed_value / factor if self.unit.endswith('/s') else self.claimed_value * factor

    def take_outside(self, empty):
        """A guest's: by the host's clock.  Notes a clock in the guest that is plainly wrong."""
        slack = CLOCK_SLACK + CLOCK_TOLERANCE * self.claimed
        self.clock_wrong = not (self.passed - self.waited - slack <= self.claimed
                                <= self.passed * (1 + CATCH_UP) + slack)
        self.take(max(self.passed - self.waited - empty, 1e-6))


class Lines:
    """Lines that a process writes, each with the time at which its end came."""

    def __init__(self, fd):
        self.fd, self.rest, self.ready, self.kept = fd, b'', [], []
        os.set_blocking(fd, False)

    def next(self, deadline):
        """(time, line); (time, None) at the end of the output."""
        while not self.ready:
            wait = deadline - time.monotonic()
            if wait <= 0:
                raise Failure('no answer in time')
            if not select.select([self.fd], [], [], wait)[0]:
                continue
            now = time.monotonic()
            data = os.read(self.fd, 65536)
            if not data:
                return now, None
            *lines, self.rest = (self.rest + data).split(b'\n')
            for line in lines:
                text = line.decode('latin-1').strip('\r\n')
                self.kept = self.kept[1 - KEPT_LINES:] + [text]
                self.ready.append((now, text))
        return self.ready.pop(0)


def collect(lines, deadline, last, waiting):
    """Reads up to the line that begins with last, or up to the end; returns the Result or None, that line,
    and what else was said.  waiting () tells how long each thread has been in the run queue."""
    times, waits, result, said = {}, {}, None, []
    while True:
        now, line = lines.next(deadline)
        if line is None or line.startswith(last):
            break
        words = line.split(' ')
        if words[0] in ('@begin', '@end'):
            times[words[0]], waits[words[0]] = now, waiting()
        elif words[0] == '@result' and len(words) == 7:
            result = words
        elif line.strip():
            said = said[-3:] + [line.strip()]
    why = '; '.join(said) or 'it said nothing'
    if result is None:
        return None, line, why
    passed = times['@end'] - times['@begin'] if len(times) == 2 else None
    try:
        return Result(result, passed, waited(waits) if len(times) == 2 else 0), line, why
    except ValueError:
        return None, line, 'no result: ' + ' '.join(result)


def thread_times(pid):
    """Thread to nanoseconds run and waited in the run queue."""
    times = {}
    try:
        for thread in os.listdir(f'/proc/{pid}/task'):
            with open(f'/proc/{pid}/task/{thread}/schedstat', encoding='ascii') as file:
                run, wait, _ = file.read().split()
            times[thread] = int(run), int(wait)
    except (OSError, ValueError):
        pass  # a thread that has just ended, or a kernel without such statistics
    return times


def waited(waits):
    """Seconds that the thread which ran most between @begin and @end was kept waiting."""
    begin, end = waits['@begin'], waits['@end']
    spans = [(run - begin.get(t, (0, 0))[0], wait - begin.get(t, (0, 0))[1]) for t, (run, wait) in end.items()]
    return max(spans)[1] * 1e-9 if spans else 0


class Native:
    """The same programs as processes of the host."""

    def __init__(self, programs, busybox, limit):
        self.name, self.programs, self.busybox, self.limit = 'native', programs, busybox, limit
        self.directory = None
        self.boot = None

    def start(self):
        memory = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
        self.directory = tempfile.mkdtemp(prefix='tenon-bench-', dir=memory)

    def stop(self):
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def run(self, workload, scale):
        command = [os.path.join(self.programs, workload.file), workload.name, str(scale)]
        settings = dict(os.environ, BENCH_BUSYBOX=self.busybox, BENCH_DIRECTORY=self.directory)
        try:
            process = subprocess.Popen(command, env=settings, cwd=self.directory, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            raise Failure(f'cannot run {command[0]}: {error.strerror}') from error
        with process:
            try:
                result, _, why = collect(Lines(process.stdout.fileno()),
                                         time.monotonic() + self.limit, '@@', dict)
                if process.wait() or result is None:
                    raise Failure(f'{why} (status {process.returncode})')
                if result.busy is not None:
                    result.take(result.busy)
                return result
            finally:
                if process.poll() is None:
                    process.kill()

    def counters(self):
        return {}

    def memory(self):
        return None


class Guest:
    """A machine that boots the bench CD; command is what starts it."""

    def __init__(self, name, command, boot_limit, limit, log):
        self.name, self.command, self.boot_limit, self.limit = name, command, boot_limit, limit
        self.log = log
        self.process = self.lines = self.boot = self.clocksource = None
        self.empty = 0

    def start(self):
        """Boots; self.boot has the phases in seconds since the process was started."""
        with open(self.log, 'ab') as log:
            begin = time.monotonic()
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log)
        self.lines = Lines(self.process.stdout.fileno())
        try:
            self.wait_for_boot(begin)
            runs = [self.run_program(Empty, 100) for _ in range(EMPTY_RUNS)]
            self.empty = min(max(run.passed - run.waited, 0) for run in runs)
        except Failure as failure:
            self.kill()
            raise Failure(f'boot: {failure}') from None

    def wait_for_boot(self, begin):
        phases = {'': 'loader', 'Linux version': 'kernel', '@init': 'init', '@ready': 'ready'}
        self.boot = {}
        while 'ready' not in self.boot:
            now, line = self.lines.next(begin + self.boot_limit)
            if line is None:
                raise Failure('it ended before the guest was ready' + self.last_words())
            waits = thread_times(self.process.pid)
            wait = waited({'@begin': {}, '@end': waits})
            for text, phase in phases.items():
                if text in line and phase not in self.boot:
                    self.boot[phase] = now - begin - wait
                    self.boot[phase + '-passed'] = now - begin
            if line.startswith('@clocksource'):
                self.clocksource = line.split(' ', 1)[1]

    def last_words(self):
        said = ''.join(f'\n    | {line}' for line in self.lines.kept[-12:])
        return f'; its last lines (messages are in {self.log}):{said}'

    def send(self, text):
        try:
            self.process.stdin.write(text.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the end of its output tells the same

    def run(self, workload, scale):
        if self.process is None:
            raise Failure(NOT_RUNNING)
        result = self.run_program(workload, scale)
        if result.passed is not None:
            result.take_outside(self.empty)
        return result

    def run_program(self, workload, scale):
        self.send(f'run {workload.file} {workload.name} {scale}\n')
        try:
            result, line, why = collect(self.lines, time.monotonic() + self.limit, '@done',
                                        lambda: thread_times(self.process.pid))
            if line is None:
                raise Failure('the machine ended' + self.last_words())
        except Failure:
            self.kill()
            raise
        if result is None or line.split(' ')[1:] != ['0']:
            raise Failure(f'{why} ({line})')
        return result

    def stop(self):
        if self.process:
            self.send('off\n')
            deadline = time.monotonic() + 60
            try:
                while self.lines.next(deadline)[1] is not None:
                    pass
                self.process.wait(10)
            except (Failure, subprocess.TimeoutExpired):
                pass  # killed below
            self.kill()

    def kill(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def memory(self):
        """Most memory that the process had, in MiB; the guest's is in it."""
        try:
            with open(f'/proc/{self.process.pid}/status', encoding='ascii', errors='replace') as file:
                for line in file:
                    if line.startswith('VmHWM:'):
                        return round(int(line.split()[1]) / 1024, 1)
        except (OSError, AttributeError):
            pass
        return None

    def counters(self):
        return {}


class Tenon(Guest):
    """A machine of ours, with a control socket to read its counters by."""

    def __init__(self, name, program, arguments, config, iso, directory, **limits):
        self.program, self.socket = program, os.path.join(directory, f'{name}.sock')
        self.described = arguments
        command = [program, 'run', '--control', self.socket, '--set', f'cd0.file={iso}', *arguments, config]
        super().__init__(name, command, **limits)

    def counters(self):
        """The processor's counters; nothing if the machine does not answer."""
        try:
            run = subprocess.run([self.program, 'ctl', '--socket', self.socket, 'stat'], timeout=20,
                                 capture_output=True, text=True, check=True)
        except (OSError, subprocess.SubprocessError):
            return {}
        pairs = (line.split() for line in run.stdout.splitlines())
        return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[0].startswith('cpu.') and p[1].isdigit()}


class Qemu(Guest):
    """QEMU's translator with the same CD, memory and serial line."""

    def __init__(self, program, arguments, memory, iso, **limits):
        drive = f'file={iso},format=raw,if=ide,index=2,media=cdrom,readonly=on,file.locking=off'
        command = [program, '-accel', 'tcg', '-cpu', 'pentium3', '-m', str(memory), '-drive', drive,
                   '-boot', 'd', '-nic', 'none', '-display', 'none', '-monitor', 'none', '-no-reboot',
                   '-serial', 'stdio', *arguments]
        self.described = command[1:7] + arguments
        super().__init__('qemu', command, **limits)
