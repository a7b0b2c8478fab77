# SPDX-License-Identifier: BSD-3-Clause
"""Without rules, the drop-in does what libslirp does."""

import pytest

import servers


@pytest.fixture(scope="module", params=["stock", "dropin"])
def plain(request, guest):
    """A guest without rules, under the distribution's library and ours."""
    with guest(stock=request.param == "stock") as machine:
        yield machine


def test_no_rules(plain, nginx, peer, ipv6):
    echo = peer(servers.UdpEcho, "v4")
    closed = servers.closed_port()
    before = nginx.hits()

    page = plain.probe(f"http http://10.0.2.2:{nginx.port}/")
    assert (str(page), page["status"], page["body"]) == \
        ("ok", "200", nginx.page)
    page = plain.probe(f"http http://[fec0::2]:{nginx.port}/")
    assert (str(page), page.get("body")) == ("ok", nginx.page)
    assert nginx.hits() == before + 2

    assert str(plain.probe(f"tcp 10.0.2.2 {closed}")) == "refused"
    # There is nothing but lo in this namespace.
    assert str(plain.probe("tcp 198.51.100.7 80")) == "unreachable"
    assert str(plain.probe("tcp 2001:db8::7 80")) == "unreachable"

    reply = plain.probe(f"udp 10.0.2.2 {echo.port} hello 5000")
    assert (reply["text"], reply["from"]) == \
        ("v4:hello", f"10.0.2.2:{echo.port}")
    assert str(plain.probe("ping 10.0.2.2")) == "reply"
    addresses = plain.probe("ifaces")["eth0"].split(",")
    assert "10.0.2.15" in addresses
    assert any(address.startswith("fec0::") for address in addresses)


def test_half_close(plain, peer):
    upper = peer(servers.Upper)
    verdict = plain.probe(f"half-close 10.0.2.2 {upper.port} words")
    assert verdict.get("reply") == "WORDS", verdict
