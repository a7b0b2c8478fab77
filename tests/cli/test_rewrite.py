# SPDX-License-Identifier: BSD-3-Clause
"""What `run` makes of the network options of a QEMU."""

import json

import pytest

R, S = "tcp:80-:8080", "udp:53-:5353"
C = "dnssearch=redirect="

CASES = {
    "netdev": (["-netdev", f"user,id=n0,redirect={R}"],
               ["-netdev", f"user,id=n0,{C}{R}"]),
    "double dash": (["--netdev", f"user,id=n0,redirect={R}"],
                    ["--netdev", f"user,id=n0,{C}{R}"]),
    "nic": (["-nic", f"user,redirect={R},model=e1000"],
            ["-nic", f"user,{C}{R},model=e1000"]),
    "net": (["-net", "nic", "-net", f"user,redirect={R}"],
            ["-net", "nic", "-net", f"user,{C}{R}"]),
    "repeated, in order": (["-nic", f"user,redirect={R},redirect={S}"],
                           ["-nic", f"user,{C}{R},{C}{S}"]),
    "explicit type": (["-netdev", f"type=user,id=n0,redirect={R}"],
                      ["-netdev", f"type=user,id=n0,{C}{R}"]),
    "type last": (["-netdev", f"id=n0,redirect={R},type=user"],
                  ["-netdev", f"id=n0,{C}{R},type=user"]),
    "several": (["-netdev", f"user,id=a,redirect={R}", "-netdev", "user,id=b",
                 "-netdev", f"user,id=c,redirect={S}"],
                ["-netdev", f"user,id=a,{C}{R}", "-netdev", "user,id=b",
                 "-netdev", f"user,id=c,{C}{S}"]),
    "the rest byte for byte": (
        ["-nic", f"user,hostname=a,,b=c,redirect={R},smb=/x,,redirect=y"],
        ["-nic", f"user,hostname=a,,b=c,{C}{R},smb=/x,,redirect=y"]),
    "already carried": (["-nic", f"user,{C}{R}"], ["-nic", f"user,{C}{R}"]),
    "after --": (["-name", "x y", "-nic", f"user,redirect={R}"],
                 ["-name", "x y", "-nic", f"user,{C}{R}"]),
    "nothing to do": (["-netdev", "tap,id=t", "-nic", "none", "-append",
                       "redirect=x", "-netdev"],
                      ["-netdev", "tap,id=t", "-nic", "none", "-append",
                       "redirect=x", "-netdev"]),
    "no dash form": (["-netdev=user,redirect=x"], ["-netdev=user,redirect=x"]),
}


@pytest.mark.parametrize("name", CASES)
def test_options(lab, name):
    given, wanted = CASES[name]
    assert lab.dry(lab.qemu, *given) == wanted


def rewritten_json(lab, value, **kwargs):
    out = lab.dry(lab.qemu, "-netdev", json.dumps(value), **kwargs)
    assert out[0] == "-netdev"
    return json.loads(out[1], object_pairs_hook=list)


def test_json(lab):
    given = {"type": "user", "id": "n0", "redirect": [{"str": R}, {"str": S}],
             "restrict": True, "ipv6-prefixlen": 64}
    assert rewritten_json(lab, given) == [
        ("type", "user"), ("id", "n0"), ("restrict", True),
        ("ipv6-prefixlen", 64),
        ("dnssearch", [[("str", f"redirect={R}")], [("str", f"redirect={S}")]]),
    ]


def test_json_after_search_domains(lab):
    given = {"type": "user", "id": "n0", "dnssearch": [{"str": "example.org"}],
             "redirect": [{"str": R}]}
    assert dict(rewritten_json(lab, given))["dnssearch"] == [
        [("str", "example.org")], [("str", f"redirect={R}")]]


@pytest.mark.parametrize("text", [
    '{ "type": "user",  "id": "n0" }',
    '{ "type":"tap", "id": "n0"}',
    "{'type':'user'}",
])
def test_json_untouched(lab, text):
    assert lab.dry(lab.qemu, "-netdev", text) == ["-netdev", text]


def test_launcher_rules_follow_those_of_each_network(lab):
    out = lab.dry(lab.qemu, "-nic", f"user,redirect={R}", "-netdev",
                  "user,id=b", "-netdev", "tap,id=t",
                  options=["--redirect", S, "--redirect=any:*-reject"])
    assert out == ["-nic", f"user,{C}{R},{C}{S},{C}any:*-reject", "-netdev",
                   f"user,id=b,{C}{S},{C}any:*-reject", "-netdev", "tap,id=t"]


def test_launcher_rules_in_json(lab):
    given = {"type": "user", "id": "n0"}
    out = rewritten_json(lab, given, options=["--redirect", S])
    assert out[-1] == ("dnssearch", [[("str", f"redirect={S}")]])


def test_launcher_rules_without_networks_go_into_the_environment(lab):
    done = lab.run("run", "--redirect", R, lab.qemu)
    assert done.returncode == 0, done.stderr
    assert f"SLIRP_REDIRECT={R}\n" in done.stdout


def test_patched_qemu_is_left_alone(lab):
    words = ["-netdev", f"user,id=n0,redirect={R}", "-netdev",
             '{"type": "user", "redirect": [{"str": "%s"}]}' % S]
    out = lab.dry(lab.patched, *words)
    assert out[:3] == words[:3]
    assert json.loads(out[3]) == json.loads(words[3])


def test_patched_qemu_gets_launcher_rules_as_redirect(lab):
    out = lab.dry(lab.patched, "-nic", f"user,redirect={R}",
                  options=["--redirect", S])
    assert out == ["-nic", f"user,redirect={R},redirect={S}"]


def test_only_a_qemu_is_rewritten(lab):
    words = ["-nic", f"user,redirect={R}"]
    assert lab.dry(lab.client, *words) == words
    assert lab.dry(lab.client, *words, options=["--qemu"]) == [
        "-nic", f"user,{C}{R}"]


REFUSED = {
    "other type": (["-netdev", f"tap,id=t,redirect={R}"],
                   "-netdev id=t: redirect= belongs to type user"),
    "no type": (["-nic", f"model=e1000,redirect={R}"],
                "-nic: redirect= belongs to type user"),
    "other type, JSON": (
        ["-netdev", '{"type":"tap","id":"t","redirect":[]}'],
        "-netdev id=t: redirect: redirect belongs to type user"),
    "no value": (["-nic", "user,redirect"],
                 "-nic: redirect= needs a rule: redirect=RULE"),
    "JSON string": (["-netdev", '{"type":"user","redirect":"x"}'],
                    '-netdev: redirect: is a list of rules: [{"str": "RULE"}]'),
    "JSON strings": (["-netdev", '{"type":"user","redirect":["x"]}'],
                     '-netdev: redirect: is a list of rules: '
                     '[{"str": "RULE"}]'),
    "JSON search domain": (
        ["-netdev", '{"type":"user","dnssearch":1,"redirect":[{"str":"x"}]}'],
        "-netdev: redirect: is a list of rules"),
    "broken JSON": (["-netdev", '{"type":"user","redirect":'], "-netdev: "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(lab, name):
    words, message = REFUSED[name]
    done = lab.run("run", lab.qemu, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("words,source", [
    (["-netdev", "user,id=n0,redirect=tcp:80"], "-netdev id=n0: redirect=: "),
    (["-nic", "user,redirect=tcp:80"], "-nic: redirect=: "),
    (["-nic", f"user,{C}tcp:80"], f"-nic: {C}: "),
    (["-netdev", '{"type":"user","id":"j","redirect":[{"str":"tcp:80"}]}'],
     "-netdev id=j: redirect: "),
])
def test_wrong_rule(lab, words, source):
    done = lab.run("run", lab.qemu, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert source in done.stderr
    assert "tcp:80\n" in done.stderr


def test_empty_rule(lab):
    done = lab.run("run", lab.qemu, "-nic", "user,redirect=,model=e1000")
    assert done.returncode == 2
    assert "-nic: redirect=: " in done.stderr


def test_every_wrong_rule_is_reported(lab):
    done = lab.run("run", lab.qemu, "-nic", "user,redirect=tcp:80", "-nic",
                   "user,redirect=udp:53")
    assert done.returncode == 2
    assert "tcp:80\n" in done.stderr and "udp:53\n" in done.stderr


def test_doubled_comma_is_one_comma_of_the_rule(lab):
    done = lab.run("run", lab.qemu, "-nic", "user,redirect=tcp:1-unix:/a,,b")
    assert done.returncode == 2
    assert "tcp:1-unix:/a,b\n" in done.stderr


def test_warning_goes_on(lab):
    done = lab.run("run", lab.qemu, "-nic",
                   "user,net=10.0.9.0/24,redirect=tcp:80-10.0.9.7:8080")
    assert "warning: " in done.stderr
    assert done.returncode == 0
    assert "argument=-nic\n" in done.stdout


@pytest.mark.parametrize("network", [
    "user,hostfwd=tcp:127.0.0.1:8080-:80,redirect=tcp:80-:8080",
    "user,redirect=tcp:80-:8080,hostfwd=::8080-:80",
    '{"type":"user","redirect":[{"str":"tcp:80-:8080"}],'
    '"hostfwd":[{"str":"tcp::8080-:80"}]}',
])
def test_warning_about_a_loop(lab, network):
    done = lab.run("run", lab.qemu, "-netdev", network)
    assert "warning: " in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("hostfwd", [
    "udp::8080-:80", "tcp::8081-:80", "tcp:x:8080-:80", "tcp:8080", "", "a:b:c",
])
def test_no_warning_about_other_forwards(lab, hostfwd):
    done = lab.run("run", lab.qemu, "-nic",
                   f"user,hostfwd={hostfwd},redirect=tcp:80-:8080")
    assert done.stderr == ""
    assert done.returncode == 0
