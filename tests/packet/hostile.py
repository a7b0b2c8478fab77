#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What each attack of test-hostile.c takes of the release and of this tree.

    hostile.py PACKET_PROGRAM PRISTINE_PROGRAM

A table of peaks for 10,000 frames, each attack in a process of its own.
"""
import os
import re
import signal
import subprocess
import sys

LINE = re.compile(r'^# (\S+) +([\d.]+) MiB, +(\d+) descriptors, +([\d.]+) ms CPU,'
                  r' (served|not served)$', re.M)


def cases(program):
    listed = subprocess.run([program, '-l'], check=True, text=True,
                            capture_output=True)
    return [line for line in listed.stdout.splitlines()
            if line.startswith('/')]


def measure(program, case):
    """(MiB, descriptors, ms, served), or how it ended."""
    done = subprocess.run(
        [program, '-p', case], text=True, errors='replace',
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, 'PACKET_TEST_MEASURE': '1',
             'PACKET_TEST_LIMIT_S': '3'})
    found = LINE.search(done.stdout)
    if found:
        return found.group(2, 3, 4, 5)
    how = (signal.Signals(-done.returncode).name if done.returncode < 0
           else f'exit status {done.returncode}')
    return f'ends the program ({how})', '', '', ''


def main():
    ours, released = sys.argv[1:]
    print('| attack | MiB: 4.8.0 | ours | descriptors: 4.8.0 | ours '
          '| ms of CPU: 4.8.0 | ours | new flows: 4.8.0 | ours |')
    print('|---|--:|--:|--:|--:|--:|--:|---|---|')
    for case in cases(ours):
        pairs = zip(measure(released, case), measure(ours, case))
        cells = [cell for pair in pairs for cell in pair]
        print(f'| {case.rsplit("/", 1)[1]} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
