# SPDX-License-Identifier: LGPL-2.1-or-later
"""From measurements to a table for people and an object for programs."""
import math
import statistics

from machines import NOT_RUNNING

# Rows: group, its name, most time relative to native, least speed relative to QEMU.  These are the floors
# of the translator; boot is measured by the host's clock and has no native time.
FLOORS = (
    ('integer', 'integer and memory programs', 1.6, 6),
    ('x87', 'x87 programs', 1.15, 25),
    ('syscall', 'null system call', 3, 2),
    ('fork-exit', 'fork + exit', 3, 2),
    ('fork-exec', 'fork + exec', 3, 2),
    ('ping-pong', 'pipe ping-pong', None, 1),
    ('fault-file', 'page faults on a mapped file', None, 1),
    ('boot', 'firmware start to first process', None, 2),
)
GROUPS = [row[0] for row in FLOORS if row[0] != 'boot'] + ['further']

# What is computed from counters of the engine: name, unit, dividend, divisor (None: 1), factor.
ENGINE = (
    ('code expansion', 'host bytes per guest byte', 'cpu.code-bytes', 'cpu.code-guest-bytes', 1),
    ('translation time', 'ns per guest instruction', 'cpu.translate-ns', 'cpu.translated-instructions', 1),
    ('engine memory', 'MiB', 'cpu.engine-bytes', None, 1 / 1048576),
)


def median(values):
    return statistics.median(values) if values else None


def slowness(unit, value, reference):
    """How many times as long as the reference something takes."""
    if not value or not reference:
        return None
    return reference / value if unit.endswith('/s') else value / reference


def geometric_mean(values):
    values = list(values)
    if not values or None in values:
        return None
    return math.exp(sum(map(math.log, values)) / len(values))


def summarize_engine(results):
    """results: Result or text of a failure, one a round."""
    good = [r for r in results if not isinstance(r, str)]
    summary = {'value': median([r.value for r in good]), 'values': [r.value for r in good],
               **{name: median([getattr(r, name) for r in good if getattr(r, name) is not None])
                  for name in ('seconds', 'passed', 'waited', 'claimed')},
               'checksum': good[0].check if good else None,
               'clock-wrong': any(r.clock_wrong for r in good)}
    failures = [r for r in results if isinstance(r, str)]
    if failures:
        summary['failures'] = failures
    if len({r.check for r in good}) > 1:
        summary['checksums'] = [r.check for r in good]
    return summary


def summarize_workload(workload, measured):
    """measured: engine's name to its results."""
    engines = {name: summarize_engine(results) for name, results in measured.items()}
    value = {name: engine['value'] for name, engine in engines.items()}
    ratios = {}
    for name in engines:
        if name != 'native' and 'native' in engines:
            ratios[f'{name}/native'] = slowness(workload.unit, value[name], value['native'])
    for name in engines:
        if name not in ('native', 'qemu') and 'qemu' in engines:
            ratios[f'qemu/{name}'] = slowness(workload.unit, value['qemu'], value[name])
        if name not in ('native', 'qemu', 'tenon') and 'tenon' in engines:
            ratios[f'{name}/tenon'] = slowness(workload.unit, value[name], value['tenon'])
    checks = {e['checksum'] for e in engines.values() if e['checksum'] is not None}
    wrong = len(checks) > 1 or any('checksums' in e for e in engines.values())
    return {'group': workload.group, 'unit': workload.unit, 'engines': engines, 'ratios': ratios,
            'checksums-differ': wrong}


def summarize_boots(boots):
    """boots: engine's name to phases of each round."""
    engines = {}
    for name, rounds in boots.items():
        phases = {key for boot in rounds for key in boot}
        engines[name] = {key: median([b[key] for b in rounds if key in b]) for key in sorted(phases)}
        engines[name]['values'] = [b['init'] for b in rounds if 'init' in b]
    ratios = {}
    for name, boot in engines.items():
        if name != 'qemu' and 'qemu' in engines:
            ratios[f'qemu/{name}'] = slowness('s', engines['qemu'].get('init'), boot.get('init'))
        if name not in ('qemu', 'tenon') and 'tenon' in engines:
            ratios[f'{name}/tenon'] = slowness('s', boot.get('init'), engines['tenon'].get('init'))
    return {'engines': engines, 'ratios': ratios}


def summarize_groups(workloads, boot):
    groups = {}
    for group in GROUPS:
        members = [w for w in workloads.values() if w['group'] == group]
        if members:
            names = {name for w in members for name in w['ratios']}
            groups[group] = {name: geometric_mean(w['ratios'].get(name) for w in members) for name in names}
    groups['boot'] = boot['ratios']
    return groups


def judge(groups):
    """Whether each floor holds; None where nothing was measured."""
    rows = []
    for group, title, native_floor, qemu_floor in FLOORS:
        ratios = groups.get(group, {})
        native, qemu = ratios.get('tenon/native'), ratios.get('qemu/tenon')
        rows.append({'group': group, 'title': title,
                     'tenon/native': native, 'at-most': native_floor,
                     'native-holds': None if native is None or native_floor is None
                     else native <= native_floor,
                     'qemu/tenon': qemu, 'at-least': qemu_floor,
                     'qemu-holds': None if qemu is None else qemu >= qemu_floor})
    return rows


def engine_figures(counters):
    figures = {}
    for name, unit, dividend, divisor, factor in ENGINE:
        if dividend in counters and (divisor is None or counters.get(divisor)):
            value = counters[dividend] / (counters[divisor] if divisor else 1) * factor
            figures[name] = {'value': value, 'unit': unit}
    return figures


def number(value):
    if value is None:
        return '-'
    if value >= 1000:
        return f'{value:.0f}'
    return f'{value:.3g}' if value < 0.1 else f'{value:#.3g}'.rstrip('.')


def ratio(value):
    return '-' if value is None else f'{value:.2f}' if value < 99.5 else f'{value:.0f}'


def grid(rows):
    """Rows of cells as lines; the first column and the second to the left."""
    widths = [max(len(row[i]) for row in rows if len(row) > i) for i in range(max(map(len, rows)))]
    for row in rows:
        cells = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))]
        yield '  '.join(cells).rstrip()


def ratio_columns(engines):
    ours = [e for e in engines if e not in ('native', 'qemu')]
    columns = [f'{e}/native' for e in engines if e != 'native' and 'native' in engines]
    columns += [f'qemu/{e}' for e in ours if 'qemu' in engines]
    return columns + [f'{e}/tenon' for e in ours if e != 'tenon' and 'tenon' in engines]


def workload_rows(report, engines):
    columns = ratio_columns(engines)
    rows = [['workload', 'unit', *engines, *columns]]
    for group in GROUPS:
        members = {n: w for n, w in report['workloads'].items() if w['group'] == group}
        if not members:
            continue
        rows.append([])
        for name, w in members.items():
            cells = []
            for engine in engines:
                e = w['engines'].get(engine, {})
                cells.append(number(e.get('value')) + ('*' if e.get('clock-wrong') else '')
                             + ('!' if e.get('failures') else ''))
            rows.append([name + (' WRONG' if w['checksums-differ'] else ''), w['unit'], *cells,
                         *(ratio(w['ratios'].get(c)) for c in columns)])
        if group != 'further' and len(members) > 1:
            rows.append(['  geometric mean', '', *([''] * len(engines)),
                         *(ratio(report['groups'][group].get(c)) for c in columns)])
    boot = report['boot']
    if any(boot['engines'].values()):
        rows += [[], ['boot', 's', *(number(boot['engines'].get(e, {}).get('init')) for e in engines),
                      *(ratio(boot['ratios'].get(c)) for c in columns)]]
    return rows


def floor_rows(report):
    rows = [['row', '', 'tenon/native', 'at most', '', 'qemu/tenon', 'at least', '']]
    verdict = {True: 'holds', False: 'MISSED', None: ''}
    for row in report['floors']:
        rows.append([row['title'], '',
                     ratio(row['tenon/native']) if row['at-most'] else '',
                     ratio(row['at-most']) if row['at-most'] else '', verdict[row['native-holds']],
                     ratio(row['qemu/tenon']), ratio(row['at-least']), verdict[row['qemu-holds']]])
    return rows


def notes(report):
    workloads = report['workloads'].items()
    waited = [e['waited'] / e['passed'] for _, w in workloads for e in w['engines'].values()
              if e['waited'] and e['passed']]
    if waited and max(waited) > 0.05:
        yield ('Other processes had the processor for up to {:.0%} of the time; that time is not counted, but '
               'they slow memory and caches, too.'.format(max(waited)))
    if report['host']['stolen'] > 0.02:
        yield (f'{report["host"]["stolen"]:.0%} of the processors were stolen from this host, a guest itself: the '
               'figures are that much in doubt.')
    if any(e['clock-wrong'] for _, w in workloads for e in w['engines'].values()):
        yield '* the guest\'s own clock said something else; what counts here is the host\'s'
    for name, w in workloads:
        if w['checksums-differ']:
            sums = ', '.join(f'{n} {e.get("checksums") or e["checksum"]}' for n, e in w['engines'].items())
            yield f'WRONG: {name} gave different results: {sums}'
        for engine, e in w['engines'].items():
            for failure in dict.fromkeys(e.get('failures', ())):
                if failure != NOT_RUNNING:
                    yield f'! {name} in {engine}: {failure}'
    for failure in report['boot-failures']:
        yield f'! {failure}'


def table(report):
    """The report as text."""
    engines, versions, host = report['settings']['engines'], report['versions'], report['host']
    lines = [f'Tenon bench, {report["date"]}',
             f'host:   {host["processor"]}, {host["processors"]} processors, Linux {host["kernel"]}, '
             f'load {host["load"]}',
             *(f'{name + ":":7} {text}' for name, text in versions.items()),
             f'each:   median of {report["settings"]["rounds"]}, {report["settings"]["scale"]:g} % of the '
             f'usual work; N/M is the time that N takes relative to M', '']
    lines += grid(workload_rows(report, engines))
    if 'tenon' in engines:
        lines += ['', *grid(floor_rows(report))]
    lines += ['']
    for name, boot in report['boot']['engines'].items():
        phases = ', '.join(f'{k} {number(boot[k])}' for k in ('loader', 'kernel', 'init', 'ready') if k in boot)
        lines += [f'{name}: boot, s since its start: {phases}'] if phases else []
    for name, engine in report['engines'].items():
        text = [f'{k} {number(v["value"])} {v["unit"]}' for k, v in engine['figures'].items()]
        text += [f'the process at most {number(engine["memory"])} MiB'] if engine['memory'] else []
        lines += [f'{name}: ' + ', '.join(text)] if text else []
    said = list(notes(report))
    return '\n'.join(lines + ([''] if said else []) + said) + '\n'
