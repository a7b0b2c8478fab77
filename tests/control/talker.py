# SPDX-License-Identifier: BSD-3-Clause
"""A guest's traffic, on command: lines in, one line out for each.

tcp N ADDR PORT   opens N connections, each of which is echoed on in a thread
udp TEXT ADDR PORT  sends a datagram and waits for the answer
stop              ends the connections; "ECHOES ERRORS"
"""

import os
import socket
import sys
import threading

stopping = False
echoes = 0
errors = []
threads = []
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(20)


def echo(conn):
    global echoes
    try:
        while not stopping:
            data = os.urandom(1000)
            conn.sendall(data)
            got = b""
            while len(got) < len(data):
                part = conn.recv(len(data))
                if not part:
                    raise EOFError("the connection ended")
                got += part
            if got != data:
                raise ValueError("other bytes came back")
            echoes += 1
    except (OSError, EOFError, ValueError) as error:
        errors.append(repr(error))
    conn.close()


for line in sys.stdin:
    command, *words = line.split()
    if command == "tcp":
        for _ in range(int(words[0])):
            opened = socket.create_connection((words[1], int(words[2])), 20)
            threads.append(threading.Thread(target=echo, args=[opened]))
            threads[-1].start()
        print("ok", flush=True)
    elif command == "udp":
        udp.sendto(words[0].encode(), (words[1], int(words[2])))
        answer, peer = udp.recvfrom(2048)
        print(answer.decode(), *peer, flush=True)
    else:
        stopping = True
        for thread in threads:
            thread.join()
        print(echoes, len(errors), *errors, flush=True)
