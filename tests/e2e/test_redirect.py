# SPDX-License-Identifier: BSD-3-Clause
"""Redirected flows as a guest sees them, from a rule to a server on lo."""

import pytest

import servers

MB = 1000 * 1000
every_source = pytest.mark.parametrize(
    "via", ["environment", "carrier", "launcher"])


def page_of(verdict):
    """The body, or the verdict when there is none, so that it is shown."""
    return verdict.get("body", verdict)


@every_source
def test_http_to_an_outside_address(redirected, nginx, via):
    with redirected(via, [f"tcp:80-127.0.0.1:{nginx.port}"]) as machine:
        page = machine.probe("http http://198.51.100.7/")
        assert page_of(page) == nginx.page
        assert page["status"] == "200"
        assert nginx.hits() == 1
        # What no rule covers goes out as always: to nowhere, from here.
        assert str(machine.probe("tcp 198.51.100.7 81")) == "unreachable"
        page = machine.probe(f"http http://10.0.2.2:{nginx.port}/")
        assert page_of(page) == nginx.page
        # The carrier's rule is none of the guest's search domains.
        resolv_conf = machine.probe("run cat /etc/resolv.conf")["output"]
        assert "nameserver 10.0.2.3" in resolv_conf
        assert "redirect" not in resolv_conf
        assert str(machine.probe("ping 10.0.2.2")) == "reply"


def test_info_usernet_shows_the_table(redirected, nginx):
    rule = f"tcp:80-127.0.0.1:{nginx.port}"
    with redirected("carrier", [rule, "tcp:81-reject"]) as machine:
        machine.probe("http http://198.51.100.7/")
        table = machine.monitor.human("info usernet")
        assert f":{nginx.port}" in table
        assert "tcp:81-reject" in table


@every_source
def test_restrict_and_redirect(redirected, nginx, via):
    rules = ["tcp:198.51.100.8:80-pass", f"tcp:80-:{nginx.port}"]
    with redirected(via, rules, options="restrict=on",
                    kernel_args="noipv6") as machine:
        page = machine.probe("http http://198.51.100.7/")
        assert page_of(page) == nginx.page
        machine.probe("limit 2000")
        for blocked in (f"10.0.2.2 {nginx.port}", "198.51.100.7 81",
                        "198.51.100.8 80"):
            verdict = machine.probe(f"tcp {blocked}")
            assert str(verdict) in ("refused", "timeout"), verdict
        assert nginx.hits() == 1


@every_source
def test_reject_drop_and_first_match(redirected, nginx, peer, via):
    echo = peer(servers.UdpEcho)
    rules = ["tcp:198.51.100.9:80-drop", "any:198.51.100.0/24:*-reject",
             f"tcp:host:{nginx.port}-reject", f"tcp:80-:{nginx.port}",
             f"udp:*-:{echo.port}"]
    with redirected(via, rules) as machine:
        assert str(machine.probe("tcp 198.51.100.7 80")) == "refused"
        assert str(machine.probe(f"tcp 10.0.2.2 {nginx.port}")) == "refused"
        assert str(machine.probe("udp 198.51.100.7 9 x 5000")) == "refused"
        page = machine.probe("http http://203.0.113.1/")
        assert page_of(page) == nginx.page
        assert machine.probe("udp 203.0.113.1 9 x 5000").get("text") == \
            "echo:x"
        machine.probe("limit 2000")
        assert str(machine.probe("tcp 198.51.100.9 80")) == "timeout"


@pytest.mark.parametrize("target", ["[::1]", "127.0.0.1"])
def test_ipv6_destination(redirected, nginx, ipv6, target):
    with redirected("carrier", [f"tcp:80-{target}:{nginx.port}",
                                "tcp6:81-reject"]) as machine:
        page = machine.probe("http http://[2001:db8::7]/")
        assert page_of(page) == nginx.page
        page = machine.probe("http http://198.51.100.7/")
        assert page_of(page) == nginx.page
        assert str(machine.probe("tcp 2001:db8::7 81")) == "refused"
        assert str(machine.probe("tcp 198.51.100.7 81")) == "unreachable"


@pytest.mark.parametrize("via", ["carrier", "launcher"])
def test_two_netdevs_with_their_own_rules(redirected, web, via):
    first, second = web("first\n"), web("second\n")
    rules = [[f"tcp:80-:{first.port}", f"tcp:81-:{second.port}"],
             [f"tcp:80-:{second.port}"]]
    with redirected(via, rules, options=["", "net=10.0.3.0/24"]) as machine:
        assert page_of(machine.probe("http http://198.51.100.7/ eth0")) == \
            "first\n"
        assert page_of(machine.probe("http http://198.51.100.7/ eth1")) == \
            "second\n"
        assert page_of(machine.probe("http http://198.51.100.7:81/ eth0")) == \
            "second\n"
        assert str(machine.probe("tcp 198.51.100.7 81 eth1")) == \
            "unreachable"


def test_two_netdevs_by_sections_of_a_file(guest, web, tmp_path):
    first, second = web("first\n"), web("second\n")
    rules = tmp_path / "rules"
    rules.write_text(f"# for every instance\ntcp:81-reject\n"
                     f"[10.0.2.0/24]\ntcp:80-:{first.port}\n"
                     f"[10.0.3.0/24]\ntcp:80-:{second.port}\n")
    with guest(["", "net=10.0.3.0/24"],
               env={"SLIRP_REDIRECT_FILE": str(rules)}) as machine:
        for device, page in (("eth0", "first\n"), ("eth1", "second\n")):
            verdict = machine.probe(f"http http://198.51.100.7/ {device}")
            assert page_of(verdict) == page
            verdict = machine.probe(f"tcp 198.51.100.7 81 {device}")
            assert str(verdict) == "refused"


def test_bulk_both_ways(redirected, peer):
    """100 MB each way, the checksums taken at both ends."""
    size = 100 * MB
    source, sink = peer(servers.Source, size), peer(servers.Sink)
    with redirected("carrier", [f"tcp:8001-:{source.port}",
                                f"tcp:8002-:{sink.port}"]) as machine:
        got = machine.probe(f"fetch 198.51.100.7 8001 {size}", limit_s=300)
        assert (str(got), got["bytes"]) == ("ok", str(size)), got
        assert got["sha256"] == source.sha256
        sent = machine.probe(f"send 198.51.100.7 8002 {size} 7", limit_s=300)
        assert (str(sent), sent["bytes"]) == ("ok", str(size)), sent
        assert sent["sha256"] == sent["reply"] == sink.sha256
        assert sink.bytes == size


def test_half_close(redirected, peer):
    upper = peer(servers.Upper)
    with redirected("carrier", [f"tcp:7-:{upper.port}"]) as machine:
        verdict = machine.probe("half-close 198.51.100.7 7 words")
        assert verdict.get("reply") == "WORDS", verdict


def test_target_that_refuses(redirected):
    with redirected("carrier", [f"tcp:80-:{servers.closed_port()}"]) as machine:
        assert str(machine.probe("tcp 198.51.100.7 80")) == "refused"


def test_unix_socket_target(redirected, nginx, tmp_path):
    rules = [f"tcp:80-unix:{nginx.path}",
             f"tcp:81-unix:{tmp_path}/missing"]
    with redirected("carrier", rules) as machine:
        assert page_of(machine.probe("http http://198.51.100.7/")) == \
            nginx.page
        assert str(machine.probe("tcp 198.51.100.7 81")) == "refused"


@every_source
def test_udp_replies_come_from_where_they_were_sent_to(redirected, peer, via):
    echo = peer(servers.UdpEcho)
    with redirected(via, [f"udp:1000..2000-:{echo.port}"]) as machine:
        verdict = machine.probe("udp 198.51.100.7 1234 hello 5000")
        assert (verdict.get("text"), verdict.get("from")) == \
            ("echo:hello", "198.51.100.7:1234"), verdict
        # One socket of the guest, three destinations, one target.
        fan = machine.probe("udp-fan n 5000 198.51.100.7 1000 "
                            "198.51.100.8 1000 198.51.100.8 2000")
        replies = {fan.get(f"reply{i}") for i in (1, 2, 3)}
        assert replies == {"echo:n-1@198.51.100.7:1000",
                           "echo:n-2@198.51.100.8:1000",
                           "echo:n-3@198.51.100.8:2000"}, fan


def test_udp_over_ipv6_to_an_ipv4_target(redirected, peer, ipv6):
    echo = peer(servers.UdpEcho)
    with redirected("carrier", [f"udp:1234-127.0.0.1:{echo.port}"]) as machine:
        verdict = machine.probe("udp 2001:db8::7 1234 hello 5000")
        assert (verdict.get("text"), verdict.get("from")) == \
            ("echo:hello", "[2001:db8::7]:1234"), verdict


def test_a_name_resolved_and_fetched_by_redirects(redirected, nginx, peer):
    names = peer(servers.NameServer, "198.51.100.7")
    with redirected("carrier", [f"udp:dns:53-:{names.port}",
                                f"tcp:80-:{nginx.port}"]) as machine:
        verdict = machine.probe("resolve www.example.org")
        assert verdict.get("addresses") == "198.51.100.7", verdict
        assert page_of(machine.probe("http http://www.example.org/")) == \
            nginx.page


def test_broken_environment_fails_closed(guest, nginx, peer, ipv6):
    echo = peer(servers.UdpEcho)
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
        assert page_of(machine.probe("http http://198.51.100.7/")) == \
            nginx.page
