"""A witness's command line and its directory: what is refused before it answers anybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.witness import witness
from cli.witness_cosigner import Cosigner
from cli.witness_directory import WitnessDirectory, WitnessUnusable
from proofs.note import VerifierKey
from tasks.errors import HoneyflowError
from tests.witness import Log

LOG = Log()
OTHER = Log(origin="other.example/log")
KEYS = {log.origin: [log.vkey] for log in (LOG, OTHER)}
NAME = "friend.example/witness"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory of a witness that has cosigned two logs."""
    with opened(tmp_path / "w") as cosigner:
        assert cosigner.add_checkpoint(LOG.request(0, 8))[0] == 200
        assert cosigner.add_checkpoint(OTHER.request(0, 9))[0] == 200
    return tmp_path / "w"


class opened:  # noqa: N801 - reads as a function
    """A witness on a directory, without a server."""

    def __init__(self, place: Path) -> None:
        self._files = WitnessDirectory(place)

    def __enter__(self) -> Cosigner:
        self._files.open()
        signer, vkey = self._files.identity(NAME, default_name=lambda: "none")
        return Cosigner(directory=self._files, signer=signer, name=vkey.name, log_keys=KEYS)

    def __exit__(self, *_: object) -> None:
        self._files.close()


def _states(place: Path) -> Iterator[Path]:
    return iter(sorted((place / "logs").iterdir()))


def _cut(place: Path) -> None:
    state = next(_states(place))
    state.write_bytes(state.read_bytes()[:20])


def _empty(place: Path) -> None:
    next(_states(place)).write_bytes(b"")


def _swap(place: Path) -> None:
    one, two = _states(place)
    one.write_bytes(two.read_bytes())


def _link_the_key(place: Path) -> None:
    (place / "witness_key").rename(place / "elsewhere")
    (place / "witness_key").symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("harm", "code", "named"),
    [
        (_cut, "WITNESS_STATE_DAMAGED", "logs"),
        (_empty, "WITNESS_STATE_DAMAGED", "logs"),
        (_swap, "WITNESS_STATE_DAMAGED", "it is of the log"),
        (lambda place: (place / "witness_key").write_bytes(b"x"), "WITNESS_STATE_DAMAGED", "_key"),
        (lambda place: (place / "witness_key").unlink(), "WITNESS_STATE_DAMAGED", "missing"),
        (lambda place: (place / "witness_key").chmod(0o640), "KEY_UNUSABLE", "mode 0640"),
        (_link_the_key, "KEY_UNUSABLE", "symbolic link"),
        (lambda place: (place / "vkey").write_text(LOG.vkey.text), "WITNESS_STATE_DAMAGED", "vkey"),
        (lambda place: (place / "vkey").write_bytes(b"\xff"), "WITNESS_STATE_DAMAGED", "vkey"),
    ],
)
def test_a_directory_that_was_tampered_with_is_refused(
    place: Path, harm: object, code: str, named: str
) -> None:
    """Never taken for a fresh one: that would let a log show another history."""
    assert callable(harm)
    harm(place)
    with pytest.raises(HoneyflowError, match=named) as refused, opened(place):
        pass
    assert refused.value.code == code


def test_a_vkey_that_is_lost_can_be_named_again(place: Path) -> None:
    """The key is what counts; its public form is made anew."""
    (place / "vkey").unlink()
    with opened(place) as cosigner:
        assert cosigner.add_checkpoint(LOG.request(8, 9))[0] == 200
    assert VerifierKey.parse((place / "vkey").read_text().strip()).name == NAME


def test_a_file_where_the_directory_should_be_is_refused(tmp_path: Path) -> None:
    """With the file's name."""
    (tmp_path / "w").write_text("")
    with pytest.raises(WitnessUnusable, match="cannot hold"), opened(tmp_path / "w"):
        pass


def test_a_checkpoint_that_cannot_be_stored_is_not_cosigned(place: Path) -> None:
    """Nor is it taken for the newest afterwards."""
    with opened(place) as cosigner:
        (place / "logs").rename(place / "away")
        with pytest.raises(FileNotFoundError):
            cosigner.add_checkpoint(LOG.request(8, 20))
        (place / "away").rename(place / "logs")
        assert cosigner.add_checkpoint(LOG.request(20, 21))[2] == b"8\n"
        assert cosigner.add_checkpoint(LOG.request(8, 10))[0] == 200


def run(place: Path, *, listen: str = "127.0.0.1:0", **options: object) -> str:
    """The code with which the command refuses."""
    given: dict[str, object] = {"name": None, "log": [LOG.vkey.text], "logs": None, **options}
    with pytest.raises(WitnessUnusable) as refused:
        witness(place, listen, **given)  # type: ignore[arg-type]
    assert refused.value.message.endswith(".")
    return str(refused.value.code)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "another.example"}, "WITNESS_NAME_TAKEN"),
        ({"listen": "127.0.0.1"}, "WITNESS_ADDRESS_UNUSABLE"),
        ({"listen": ":8000"}, "WITNESS_ADDRESS_UNUSABLE"),
        ({"listen": "127.0.0.1:http"}, "WITNESS_ADDRESS_UNUSABLE"),
        ({"listen": "127.0.0.1:99999"}, "WITNESS_ADDRESS_UNUSABLE"),
        ({"listen": "192.0.2.1:0"}, "WITNESS_ADDRESS_UNUSABLE"),
        ({"log": ["no key"]}, "WITNESS_LOG_INVALID"),
        ({"log": []}, "WITNESS_LOG_INVALID"),
        ({"logs": Path("/nowhere")}, "WITNESS_UNUSABLE"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(
    place: Path, options: dict[str, object], code: str
) -> None:
    """In one sentence, with a code and what to do."""
    assert run(place, **options) == code  # type: ignore[arg-type]


def test_a_witnesss_key_is_no_logs(place: Path) -> None:
    """It would cosign what another witness says."""
    text = (place / "vkey").read_text().strip()
    assert run(place, log=[text]) == "WITNESS_LOG_INVALID"


def test_a_name_that_no_line_can_hold_is_refused(tmp_path: Path) -> None:
    """A space or a plus sign would end it."""
    assert run(tmp_path / "new", name="my witness") == "WITNESS_NAME_INVALID"


def test_a_directory_on_which_a_witness_runs_is_refused(place: Path) -> None:
    """Two would sign past each other."""
    with opened(place):
        assert run(place) == "WITNESS_RUNNING"
