"""`shibafu overlay`: what is wrong with a command line, or with the agent's configuration."""

from pathlib import Path

import pytest

from support.command_line import call


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("init blue --network 10.42.0.0/29 --endpoints http://192.0.2.1:1", "10.42.0.0/29 is too small"),
        (
            "init blue --network 10.42.0.0/16 --endpoints 192.0.2.1",
            'endpoint "192.0.2.1" lacks http or https',
        ),
        ("init ../x --network 10.42.0.0/16 --endpoints http://192.0.2.1:1", "is not a valid name"),
        ("init blue --network 10.42.0.0/16 --vni 99999999 --endpoints http://192.0.2.1:1", "VNI"),
        ("ls", "does not exist"),
        ("run", "does not exist"),
    ],
)
def test_mistakes(tmp_path: Path, words: str, what: str) -> None:
    status, _, said = call("overlay", *words.split(), "--config", f"{tmp_path}/overlay.yaml")
    assert status == 1
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
