"""`shibafu overlay`: what is wrong with a command line, or with the agent's configuration."""

from pathlib import Path

import pytest

from support.command_line import call


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("ls", "does not exist"),
        ("run", "does not exist"),
    ],
)
def test_mistakes(tmp_path: Path, words: str, what: str) -> None:
    status, _, said = call("overlay", *words.split(), "--config", f"{tmp_path}/overlay.yaml")
    assert status == 1
    assert what in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("../x", 'argument NETWORK: "../x" is not a valid name'),
        ("blue --network 10.42.0.0/33", "argument --network: '33' is not a valid netmask"),
        ("blue --network 10.42.0.0/29", "argument --network: 10.42.0.0/29 is too small"),
        ("blue --network6 fd42::/125", "argument --network6: fd42::/125 is too small"),
        (
            "blue --subnet-len 17",
            "argument --subnet-len: 10.42.0.0/16 is too small for subnets of the length /17",
        ),
        ("blue --subnet-len 31", "argument --subnet-len: subnets of 10.42.0.0/16 cannot have the length /31"),
        ("blue --subnet-len many", 'argument --subnet-len: "many" is not a whole number from 1 to 32'),
        ("blue --vni 99999999", 'argument --vni: "99999999" is not a whole number from 0 to 16777215'),
        (
            "blue --vni 10000 --network6 fd42::/48",
            "the device flannel-v6.10000 would have more than 15 characters",
        ),
        (
            "blue --backend-port 65536",
            'argument --backend-port: "65536" is not a whole number from 1 to 65535',
        ),
        ("blue --mtu 100", 'argument --mtu: "100" is not a whole number from 576 to 65535'),
        ("blue --endpoints 192.0.2.1", 'argument --endpoints: endpoint "192.0.2.1" lacks http or https'),
        ("blue --prefix blue", 'argument --prefix: prefix "blue" is not a path'),
        ("blue --iface a/b", 'argument --iface: "a/b" is not the name of a link'),
        ("blue --cafile ca.pem", 'argument --cafile: "ca.pem" is not a path of a file that begins with /'),
        ("blue --keyfile /key.pem", "--keyfile also needs --certfile"),
        ("blue --username blue", "--username also needs --password-file"),
    ],
)
def test_mistakes_of_init_name_the_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, what: str
) -> None:
    usual = ["--network", "10.42.0.0/16", "--endpoints", "http://192.0.2.1:1", "--config", f"{tmp_path}/f"]
    status: object
    try:
        status, _, said = call("overlay", "init", *usual, *words.split())
    except SystemExit as error:
        status, said = error.code, capsys.readouterr().err
    assert status == 2
    assert what in said


def test_a_host_is_an_address_or_a_subnet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call("overlay", "rm", "web1")
    assert '"web1" is neither the address nor the subnet of a host' in capsys.readouterr().err


def test_mistakes_of_the_configuration_have_their_line(tmp_path: Path) -> None:
    config = tmp_path / "overlay.yaml"
    config.write_text("networks:\n- name: blue\n  endpoints: [etcd]\n")
    status, _, said = call("overlay", "run", "--config", str(config))
    assert status == 1
    assert f'{config}:3: endpoint "etcd" lacks http or https' in said
