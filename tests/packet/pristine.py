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

LIMIT_S = 60


def cases(program):
    listed = subprocess.run([program, '-l'], check=True, text=True,
                            capture_output=True)
    return [line for line in listed.stdout.splitlines()
            if line.startswith('/')]


def last_words(output):
    """The line that tells most: an assertion, a sanitizer, a harness failure."""
    lines = [line.strip() for line in output.splitlines()]
    for mark in ('Bail out!', 'SUMMARY:', 'ERROR', 'Assertion', 'double free',
                 'free()', 'in vain', 'not idle', 'not within', 'descriptor',
                 'unexpected', 'FAIL', 'not ok'):
        for line in lines:
            if mark in line:
                return re.sub(r'\S*/(?=[\w.-]+:\d+)', '', line)[:160]
    return next((line[:160] for line in reversed(lines) if line), '')


def outcome(program, case):
    """(failed, what was seen)"""
    # Not dumping core keeps the directory clean.
    process = subprocess.Popen(
        ['sh', '-c', 'ulimit -c 0; exec "$0" -p "$1"', program, case],
        text=True, errors='replace', stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True, 'hangs'
    status = process.returncode
    if status == 0:
        return False, 'nothing wrong'
    how = (f'killed by {signal.Signals(-status).name}' if status < 0
           else f'exit status {status}')
    words = last_words(output)
    return True, f'{how}: {words}' if words else how


def main():
    program = sys.argv[1]
    bad = 0
    found = cases(program)
    os.environ.pop('G_DEBUG', None)
    print(f'1..{len(found)}')
    # All at once: most of them wait until the harness gives up.
    with concurrent.futures.ThreadPoolExecutor(len(found)) as pool:
        outcomes = pool.map(lambda case: outcome(program, case), found)
        for number, (case, (failed, seen)) in enumerate(
                zip(found, outcomes), 1):
            bad += not failed
            print(f'{"ok" if failed else "not ok"} {number} {case} '
                  f'as released: {seen.replace("#", "")}', flush=True)
    return bad > 0


if __name__ == '__main__':
    sys.exit(main())
