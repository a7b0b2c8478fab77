#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Run each case of a regression test over the unpatched release.

Every case has to fail there, or it shows nothing; how it fails is printed.
"""
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import tempfile

LIMIT_S = 60
# What is awaited does not come here.
AWAITED_S = '3'


def cases(program):
    listed = subprocess.run([program, '-l'], check=True, text=True,
                            capture_output=True)
    return [line for line in listed.stdout.splitlines()
            if line.startswith('/')]


def last_words(output):
    """The line that tells most: an assertion, a sanitizer, a harness failure."""
    lines = [line.strip() for line in output.splitlines()
             if not re.match('# (Start|End) of', line)]
    for mark in ('Bail out!', 'SUMMARY:', 'ERROR', 'Assertion', 'double free',
                 'free()', 'in vain', 'not idle', 'not within', 'no frame came',
                 'connection is', 'descriptor', 'unexpected', 'FAIL', 'not ok'):
        for line in lines:
            if mark in line:
                return re.sub(r'\S*/(?=[\w.-]+:\d+)', '', line)[:160]
    return next((line[:160] for line in reversed(lines)
                 if line and 'random seed' not in line), '')


def run_case(program, case, tmpdir):
    """(failed, what was seen); failed is None for a case that was skipped."""
    # Not dumping core keeps the directory clean; what a killed case leaves
    # goes with the directory for temporary files.
    process = subprocess.Popen(
        ['sh', '-c', 'ulimit -c 0; exec "$0" -p "$1"', program, case],
        text=True, errors='replace', stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, 'TMPDIR': tmpdir})
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True, 'hangs'
    status = process.returncode
    if status == 0:
        skipped = re.search(f'^ok .*{re.escape(case)} (# SKIP.*)', output, re.M)
        return (None, skipped[1]) if skipped else (False, 'nothing wrong')
    how = (f'killed by {signal.Signals(-status).name}' if status < 0
           else f'exit status {status}')
    words = last_words(output)
    return True, f'{how}: {words}' if words else how


def outcome(program, case):
    with tempfile.TemporaryDirectory(prefix='pristine-') as tmpdir:
        return run_case(program, case, tmpdir)


def plain(text):
    """Without what TAP takes for a directive."""
    return text.replace('#', '').strip()


def main():
    program = sys.argv[1]
    bad = 0
    found = cases(program)
    os.environ.pop('G_DEBUG', None)
    os.environ['PACKET_TEST_LIMIT_S'] = AWAITED_S
    # With stacks of its own, ASan would hide a variable that is not set.
    os.environ['ASAN_OPTIONS'] = (os.environ.get('ASAN_OPTIONS', '') +
                                  ':detect_stack_use_after_return=0')
    print(f'1..{len(found)}')
    # All at once: most of them wait until the harness gives up.
    with concurrent.futures.ThreadPoolExecutor(len(found)) as pool:
        outcomes = pool.map(lambda case: outcome(program, case), found)
        for number, (case, (failed, seen)) in enumerate(
                zip(found, outcomes), 1):
            bad += failed is False
            said = (seen if failed is None
                    else f'as released: {plain(seen)}')
            print(f'{"not ok" if failed is False else "ok"} {number} {case} '
                  f'{said}', flush=True)
    return bad > 0


if __name__ == '__main__':
    sys.exit(main())
