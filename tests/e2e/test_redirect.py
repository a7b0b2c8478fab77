# SPDX-License-Identifier: BSD-3-Clause
"""Redirects in a guest, the rules given in each of the ways there are."""

import types

import pytest

import servers
from vm import body_of

BLOCKED = ("refused", "timeout")


@pytest.fixture(scope="module")
def host(peer, web):
    """What the rules lead to."""
    return types.SimpleNamespace(
        first=web("first\n"), second=web("second\n"),
        echo=peer(servers.UdpEcho), private=peer(servers.Upper))


@pytest.fixture(scope="module", params=["environment", "carrier", "launcher"])
def via(request):
    return request.param


@pytest.fixture(scope="module")
def way(via, redirected, host):
    """A guest with an open network on eth0 and restrict=on on eth1, the same
    rules for both; ways that tell netdevs apart add one on eth1."""
    rules = ["tcp:198.51.100.8:80-pass", "tcp:198.51.100.9:80-drop",
             "any:198.51.100.128/25:*-reject",
             f"tcp:host:{host.private.port}-reject",
             f"tcp:80-127.0.0.1:{host.first.port}",
             f"udp:1000..2000-:{host.echo.port}"]
    more = [rules, [f"tcp:81-:{host.second.port}", *rules]]
    with redirected(via, rules if via == "environment" else more,
                    options=["", "restrict=on,net=10.0.3.0/24"],
                    kernel_args="noipv6") as machine:
        yield machine


def test_http_to_an_outside_address(way, host):
    before = host.first.hits()
    page = way.probe("http http://198.51.100.7/")
    assert body_of(page) == host.first.page
    assert page["status"] == "200"
    assert host.first.hits() == before + 1
    # What no rule covers goes out as always: to nowhere, from here.
    assert str(way.probe("tcp 198.51.100.7 81")) == "unreachable"
    assert str(way.probe("tcp 198.51.100.8 80")) == "unreachable"
    page = way.probe(f"http http://10.0.2.2:{host.first.port}/")
    assert body_of(page) == host.first.page
    # The carrier's rules are none of the guest's search domains.
    resolv_conf = way.probe("run cat /etc/resolv.conf")["output"]
    assert "nameserver 10.0.2.3" in resolv_conf
    assert "198.51.100" not in resolv_conf
    assert str(way.probe("ping 10.0.2.2")) == "reply"


def test_reject_drop_and_first_match(way, host):
    assert str(way.probe("tcp 198.51.100.200 80")) == "refused"
    assert str(way.probe(f"tcp 10.0.2.2 {host.private.port}")) == "refused"
    assert str(way.probe("udp 198.51.100.200 1000 x 5000")) == "refused"
    with way.patience(2000):
        assert str(way.probe("tcp 198.51.100.9 80")) == "timeout"
    assert not host.private.sources


def test_udp_replies_come_from_where_they_were_sent_to(way):
    verdict = way.probe("udp 198.51.100.7 1234 hello 5000")
    assert (verdict.get("text"), verdict.get("from")) == \
        ("echo:hello", "198.51.100.7:1234"), verdict
    # One socket of the guest, three destinations, one target.
    fan = way.probe("udp-fan 5000 n1 198.51.100.7 1000 "
                    "n2 198.51.100.8 1000 n3 198.51.100.8 2000")
    replies = {fan.get(f"reply{i}") for i in (1, 2, 3)}
    assert replies == {"echo:n1@198.51.100.7:1000",
                       "echo:n2@198.51.100.8:1000",
                       "echo:n3@198.51.100.8:2000"}, fan


def test_restrict_and_redirect(way, host):
    """On the restricted network redirects are the only way out."""
    page = way.probe("http http://198.51.100.7/ eth1")
    assert body_of(page) == host.first.page
    reply = way.probe("udp 198.51.100.7 1234 hello 5000 eth1")
    assert reply.get("text") == "echo:hello", reply
    before = host.first.hits()
    with way.patience(2000):
        for blocked in (f"10.0.3.2 {host.first.port}", "198.51.100.7 82",
                        "198.51.100.8 80"):
            verdict = way.probe(f"tcp {blocked} eth1")
            assert str(verdict) in BLOCKED, verdict
        verdict = way.probe(f"udp 10.0.3.2 {host.echo.port} x 2000 eth1")
        assert str(verdict) in BLOCKED, verdict
    assert host.first.hits() == before


def test_two_netdevs_with_their_own_rules(way, via, host):
    with way.patience(2000):
        page = way.probe("http http://198.51.100.7:81/ eth1")
    if via == "environment":  # the same for every netdev
        assert str(page) in BLOCKED, page
    else:
        assert body_of(page) == host.second.page
    assert str(way.probe("tcp 198.51.100.7 81 eth0")) == "unreachable"


def test_two_netdevs_by_sections_of_a_file(guest, host, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text(f"# for every instance\ntcp:81-reject\n"
                     f"[10.0.2.0/24]\ntcp:80-:{host.first.port}\n"
                     f"[10.0.3.0/24]\ntcp:80-:{host.second.port}\n")
    with guest(["", "net=10.0.3.0/24"],
               env={"SLIRP_REDIRECT_FILE": str(rules)}) as machine:
        for device, page in (("eth0", "first\n"), ("eth1", "second\n")):
            verdict = machine.probe(f"http http://198.51.100.7/ {device}")
            assert body_of(verdict) == page
            verdict = machine.probe(f"tcp 198.51.100.7 81 {device}")
            assert str(verdict) == "refused"


def test_broken_environment_fails_closed(guest, web, peer, ipv6):
    nginx, echo = web("nobody's\n"), peer(servers.UdpEcho)
    broken = f"tcp:80-:{nginx.port} tcp:81-8080"
    with guest(env={"SLIRP_REDIRECT": broken}) as machine:
        for target in ("198.51.100.7 80", f"10.0.2.2 {nginx.port}",
                       "2001:db8::7 80", f"fec0::2 {nginx.port}"):
            verdict = machine.probe(f"tcp {target}")
            assert str(verdict) == "refused", target
        verdict = machine.probe(f"udp 10.0.2.2 {echo.port} x 5000")
        assert str(verdict) == "refused", verdict
        assert nginx.hits() == 0 and not echo.sources
        assert "SLIRP_REDIRECT" in machine.stderr()
        assert "tcp:81-8080" in machine.stderr()


def test_under_qemus_own_sandbox(redirected, nginx):
    with redirected("carrier", [f"tcp:80-:{nginx.port}"], extra=(
            "-sandbox", "on,obsolete=deny,elevateprivileges=deny,"
            "spawn=deny,resourcecontrol=deny")) as machine:
        assert body_of(machine.probe("http http://198.51.100.7/")) == \
            nginx.page
