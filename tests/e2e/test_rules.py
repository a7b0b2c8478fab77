# SPDX-License-Identifier: BSD-3-Clause
"""The rule language in a guest, against real servers on the host.

A boot takes much longer than a case, so that most cases share two guests: an
open one, whose rules do not get in each other's way, and a closed one, where
a last rule stops everything else.
"""

import socket
import types

import pytest

import daemons
import servers
import vm
from vm import body_of

MB = 1000 * 1000
BULK = 100 * MB
SHIFTED = (9000, 9003, 9010)
ONE, TWO = "198.51.100.7", "203.0.113.5"
MANY = [f"192.0.2.{number}" for number in range(1, 61)]
NAMES = [("198.51.100.7", "www.example.org"),
         ("198.51.100.21", "one.example.org"),
         ("198.51.100.22", "two.example.org"),
         *((address, "many.example.org") for address in MANY)]


# ---- what the rules lead to ----

@pytest.fixture(scope="module")
def host(daemon, peer, web, tmp_path_factory):
    sockets = tmp_path_factory.mktemp("unix")
    return types.SimpleNamespace(
        names=daemon(daemons.Dnsmasq, NAMES), time=daemon(daemons.Chrony),
        database=daemon(daemons.Postgres),
        metadata=web("ami-id\n"), ssh=peer(servers.OwnPort, port=22),
        shifted={port: peer(servers.OwnPort, port=port) for port in SHIFTED},
        upper=peer(servers.Upper), echo=peer(servers.UdpEcho),
        datagrams=sockets / "datagrams", missing=sockets / "missing",
        unix_echo=peer(servers.UdpEcho, "unix", sockets / "datagrams"),
        source=peer(servers.Source, BULK), sink=peer(servers.Sink))


# ---- two guests ----

@pytest.fixture(scope="module")
def open_guest(redirected, nginx, host):
    closed = servers.closed_port()
    rules = [
        f"any:dns:53-:{host.names.PORT}", f"udp:53-:{host.names.PORT}",
        f"udp4:*:123-:{host.time.PORT}",
        f"tcp:5432-unix:{host.database.path}",
        f"tcp:meta:80-:{host.metadata.port}+name=imds",
        "tcp:host:22-reject",
        "any:private:*-drop",
        f"tcp:80-:{nginx.port}", f"tcp:81-[::1]:{nginx.port}",
        f"tcp:82-unix:{nginx.path}", "tcp6:83-reject",
        "tcp:8000..8010-:9000..", "tcp:8100..8110-:9003",
        f"tcp:7-:{host.upper.port}", f"udp:7-:{host.echo.port}",
        f"udp:8-unix:{host.datagrams}", f"any:9-unix:{host.missing}",
        "any:10-192.0.2.10:10", f"any:11-:{closed}",
        f"tcp:12-:{host.source.port}", f"tcp:13-:{host.sink.port}",
    ]
    with redirected("carrier", rules) as machine:
        yield machine


@pytest.fixture(scope="module")
def closed_guest(redirected, nginx, host):
    """Default deny: by reject on eth0, by drop on eth1."""
    allowed = [f"tcp:80-:{nginx.port}", f"udp:7-:{host.echo.port}"]
    with redirected("carrier", [[*allowed, "any:*-reject"],
                                [*allowed, "any:*-drop"]],
                    options=["", "net=10.0.3.0/24,ipv6-prefix=fec1::"]
                    ) as machine:
        yield machine


# ---- names ----

def test_the_resolver_accepts_the_redirected_answer(open_guest):
    """Its socket is connected: another source than the one asked is deaf."""
    for server in ("10.0.2.3", "8.8.8.8"):
        verdict = open_guest.probe(f"resolve www.example.org {server}")
        assert verdict.get("addresses") == ONE, (server, verdict)
    page = open_guest.probe("http http://www.example.org/")
    assert page.get("status") == "200", page


def test_a_long_answer_is_fetched_over_tcp(open_guest):
    """Of 60 addresses, the UDP answer says no more than that it is cut."""
    verdict = open_guest.probe("resolve many.example.org 10.0.2.3")
    assert sorted(verdict.get("addresses", "").split(",")) == sorted(MANY)


def fan_replies(fan):
    """What came from where: {"ADDRESS:PORT": bytes}."""
    replies = (fan.bytes(f"reply{i + 1}").rsplit(b"@", 1)
               for i in range(int(fan["replies"])))
    return {source.decode(): data for data, source in replies}


def test_two_resolvers_asked_from_one_socket(open_guest):
    """Both questions end at dnsmasq; each answer comes from who was asked."""
    questions = {"8.8.8.8": (0x1111, "one.example.org", "198.51.100.21"),
                 "1.1.1.1": (0x2222, "two.example.org", "198.51.100.22")}
    fan = open_guest.probe("udp-fan 20000 " + " ".join(
        f"{vm.text(daemons.dns_question(name, ident))} {server} 53"
        for server, (ident, name, _) in questions.items()))
    replies = fan_replies(fan)
    assert replies.keys() == {"8.8.8.8:53", "1.1.1.1:53"}, fan
    for server, (ident, _, address) in questions.items():
        reply = replies[f"{server}:53"]
        assert reply[:2] == ident.to_bytes(2, "big")
        assert reply.endswith(socket.inet_aton(address))


# ---- time ----

def test_time_is_pinned(open_guest, ipv6):
    """Whomever the guest asks, the host's time server answers."""
    cookies = {ONE: b"cookie 1", TWO: b"cookie 2"}
    fan = open_guest.probe("udp-fan 20000 " + " ".join(
        f"{vm.text(daemons.ntp_request(cookie))} {server} 123"
        for server, cookie in cookies.items()))
    replies = fan_replies(fan)
    assert replies.keys() == {f"{ONE}:123", f"{TWO}:123"}, fan
    for server, cookie in cookies.items():
        reply = replies[f"{server}:123"]
        assert len(reply) == 48
        assert reply[0] & 7 == 4  # a server's answer
        assert reply[1] == 7  # our server's stratum
        assert reply[24:32] == cookie
    # The rule is about IPv4 only.
    verdict = open_guest.probe("udp 2001:db8::7 123 x 20000")
    assert str(verdict) == "unreachable", verdict


# ---- a database by its unix socket ----

def test_postgresql_by_its_unix_socket(open_guest):
    session = vm.text(daemons.postgres_session("select 6 * 7"))
    verdict = open_guest.probe(f"half-close {ONE} 5432 {session}")
    messages = list(daemons.postgres_messages(verdict.bytes("reply")))
    kinds = b"".join(kind for kind, _ in messages)
    assert kinds.startswith(b"R") and kinds.endswith(b"TDCZ"), verdict
    row = next(body for kind, body in messages if kind == b"D")
    assert row.endswith(b"42")
    assert any(body.startswith(b"server_version\0")
               for kind, body in messages if kind == b"S")


# ---- ports ----

def test_shifted_and_collapsed_ranges(open_guest):
    for port in SHIFTED:
        verdict = open_guest.probe(f"half-close {ONE} {port - 1000} x")
        assert verdict.get("reply") == str(port), verdict
    # Nobody listens on that one, and these are beyond the range.
    assert str(open_guest.probe(f"tcp {ONE} 8001")) == "refused"
    assert str(open_guest.probe(f"tcp {ONE} 7999")) == "unreachable"
    assert str(open_guest.probe(f"tcp {ONE} 8011")) == "unreachable"
    for port in (8100, 8110):
        verdict = open_guest.probe(f"half-close {ONE} {port} x")
        assert verdict.get("reply") == "9003", verdict


# ---- addresses with a meaning ----

def test_metadata_service(open_guest, host):
    """Its address is link-local; the rule is before the one about port 80."""
    page = open_guest.probe("http http://169.254.169.254/")
    assert body_of(page) == host.metadata.page


def test_metadata_service_by_ipv6(open_guest, host, ipv6):
    """This address is a private one as well; the first rule decides."""
    page = open_guest.probe("http http://[fd00:ec2::254]/")
    assert body_of(page) == host.metadata.page


def test_no_ssh_to_the_host(open_guest, host, nginx):
    assert str(open_guest.probe("tcp 10.0.2.2 22")) == "refused"
    assert not host.ssh.sources
    page = open_guest.probe(f"http http://10.0.2.2:{nginx.port}/")
    assert body_of(page) == nginx.page


def test_private_ranges_are_invisible(open_guest, nginx, ipv6):
    """Without the rule the answer would be that there is no such network."""
    with open_guest.patience(1500):
        assert str(open_guest.probe("tcp 192.168.1.10 80")) == "timeout"
        assert str(open_guest.probe("tcp fd00::10 80")) == "timeout"
        assert str(open_guest.probe("udp 10.1.2.3 7 x 1500")) == "timeout"
        assert str(open_guest.probe("ping 172.16.0.1")) == "timeout"
    # The guest's own network is none of them, nor is what is public.
    assert str(open_guest.probe("ping 10.0.2.2")) == "reply"
    page = open_guest.probe(f"http http://10.0.2.2:{nginx.port}/")
    assert body_of(page) == nginx.page
    assert str(open_guest.probe(f"tcp {ONE} 84")) == "unreachable"


# ---- families ----

@pytest.mark.parametrize("port", [80, 81], ids=["to-ipv4", "to-ipv6"])
def test_both_families_to_either(open_guest, nginx, ipv6, port):
    for address in ("[2001:db8::7]", ONE):
        page = open_guest.probe(f"http http://{address}:{port}/")
        assert body_of(page) == nginx.page


def test_a_rule_about_ipv6_only(open_guest, ipv6):
    assert str(open_guest.probe("tcp 2001:db8::7 83")) == "refused"
    assert str(open_guest.probe(f"tcp {ONE} 83")) == "unreachable"


def test_udp_over_ipv6_to_an_ipv4_target(open_guest, ipv6):
    verdict = open_guest.probe("udp 2001:db8::7 7 hello 20000")
    assert (verdict.get("text"), verdict.get("from")) == \
        ("echo:hello", "[2001:db8::7]:7"), verdict


# ---- other targets, and those that fail ----

def test_unix_sockets(open_guest, nginx):
    page = open_guest.probe(f"http http://{ONE}:82/")
    assert body_of(page) == nginx.page
    verdict = open_guest.probe(f"udp {ONE} 8 hello 20000")
    assert (verdict.get("text"), verdict.get("from")) == \
        ("unix:hello", f"{ONE}:8"), verdict


@pytest.mark.parametrize("port,expected", [
    (9, "refused"), (10, "unreachable"), (11, "refused")],
    ids=["missing-socket", "unreachable", "nobody-listens"])
def test_targets_that_fail(open_guest, port, expected):
    for probe in (f"tcp {ONE} {port}", f"udp {ONE} {port} x 20000"):
        verdict = open_guest.probe(probe)
        assert str(verdict) == expected, verdict


# ---- streams ----

def test_half_close(open_guest):
    verdict = open_guest.probe(f"half-close {ONE} 7 words")
    assert verdict.get("reply") == "WORDS", verdict


def test_bulk_both_ways(open_guest, host):
    """100 MB each way, the checksums taken at both ends."""
    got = open_guest.probe(f"fetch {ONE} 12 {BULK}", limit_s=300)
    assert (str(got), got["bytes"]) == ("ok", str(BULK)), got
    assert got["sha256"] == host.source.sha256
    sent = open_guest.probe(f"send {ONE} 13 {BULK} 7", limit_s=300)
    assert (str(sent), sent["bytes"]) == ("ok", str(BULK)), sent
    assert sent["sha256"] == sent["reply"] == host.sink.sha256
    assert host.sink.bytes == BULK


def test_info_usernet_shows_the_table(open_guest, nginx):
    open_guest.probe(f"http http://{ONE}/")
    table = open_guest.monitor.human("info usernet")
    assert f"127.0.0.1:{nginx.port}" in table
    assert "tcp:host:22-reject" in table


# ---- default deny ----

def test_default_deny_by_reject(closed_guest, nginx, host):
    page = closed_guest.probe(f"http http://{ONE}/ eth0")
    assert body_of(page) == nginx.page
    reply = closed_guest.probe(f"udp {ONE} 7 hello 20000 eth0")
    assert reply.get("text") == "echo:hello", reply
    before = nginx.hits()
    for probe in (f"tcp {ONE} 81", f"tcp 10.0.2.2 {nginx.port}",
                  f"udp {ONE} 8 x 20000", f"udp 10.0.2.2 {host.echo.port} x "
                  "20000", "udp 10.0.2.3 53 x 20000"):
        verdict = closed_guest.probe(f"{probe} eth0")
        assert str(verdict) == "refused", (probe, verdict)
    for address in (ONE, "10.0.2.2"):
        verdict = closed_guest.probe(f"ping {address} eth0")
        assert str(verdict) == "refused", (address, verdict)
    assert nginx.hits() == before
    assert str(closed_guest.probe("resolve www.example.org")) == "unresolved"


def test_default_deny_by_reject_over_ipv6(closed_guest, nginx, ipv6):
    page = closed_guest.probe("http http://[2001:db8::7]/ eth0")
    assert body_of(page) == nginx.page
    for probe in ("tcp 2001:db8::7 81", f"tcp fec0::2 {nginx.port}",
                  "udp 2001:db8::7 8 x 20000"):
        verdict = closed_guest.probe(f"{probe} eth0")
        assert str(verdict) == "refused", (probe, verdict)
    verdict = closed_guest.probe("ping 2001:db8::7 eth0")
    assert str(verdict) == "refused", verdict


def test_default_deny_by_drop(closed_guest, nginx, host):
    page = closed_guest.probe(f"http http://{ONE}/ eth1")
    assert body_of(page) == nginx.page
    reply = closed_guest.probe(f"udp {ONE} 7 hello 20000 eth1")
    assert reply.get("text") == "echo:hello", reply
    before = nginx.hits()
    with closed_guest.patience(1500):
        for probe in (f"tcp {ONE} 81", f"tcp 10.0.3.2 {nginx.port}",
                      f"udp 10.0.3.2 {host.echo.port} x 1500",
                      "ping 10.0.3.2"):
            verdict = closed_guest.probe(f"{probe} eth1")
            assert str(verdict) == "timeout", (probe, verdict)
    assert nginx.hits() == before
