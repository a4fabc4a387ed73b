"""A short torture: servers that are killed or lose their power, disks that fail.

`make torture` does more of it.  Those who look whether something is lost are tested too: each of
the deliberately broken servers must be found out.
"""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import OURS
from tests.support.waiting import eventually
from tests.torture.faults import FAULTS, Patient, status
from tests.torture.machine import Machine, missing
from tests.torture.rounds import POLICIES, Torture, broken

# On a busy machine it is the starts that take their time.
pytestmark = [pytest.mark.ours("it is about our files"), pytest.mark.timeout(900)]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    if reason := missing():
        pytest.skip(f"no power can be cut: {reason}")
    with Machine(tmp_path) as machine:
        machine.slow(0.02)
        yield machine


@pytest.mark.parametrize("policy", POLICIES)
def test_kills(tmp_path: Path, policy: str) -> None:
    figures = Torture(tmp_path, policy, seed=1, units=200).run(2)
    assert (figures.rounds, figures.lost, figures.wrong) == (2, 0, [])
    assert figures.acknowledged


@pytest.mark.parametrize("policy", POLICIES)
def test_power_cuts(tmp_path: Path, machine: Machine, policy: str) -> None:
    """What is lost under everysec and no is the end; what is left is a state that there was."""
    figures = Torture(tmp_path, policy, seed=1, machine=machine, units=200).run(3)
    assert (figures.rounds, figures.wrong) == (3, [])
    assert figures.acknowledged
    if policy == "always":
        assert figures.lost == 0


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_power_cuts_that_leave_holes(tmp_path: Path, machine: Machine, policy: str) -> None:
    """A later block of what was not flushed is there, and an earlier one is not."""
    machine.slow(0.2)
    # What is flushed together must be more than a block.
    clients = 40 if policy == "always" else 4
    torture = Torture(
        *(tmp_path, policy, 3),
        machine=machine,
        clients=clients,
        units=30 * clients,
        cuts=["holes"],
        kills=0,
    )
    figures = torture.run(3)
    assert (figures.rounds, figures.wrong) == (3, [])
    if policy == "always":
        assert figures.lost == 0


@pytest.mark.parametrize(
    "variant",
    [
        "acknowledges-before-it-writes",
        "applies-half-of-a-transaction",
        "forgets-the-last-write",
        "applies-a-write-twice",
        "forgets-deadlines",
        "stays-in-one-database",
    ],
)
def test_who_is_found_out_by_kills(tmp_path: Path, variant: str) -> None:
    torture = Torture(tmp_path, "everysec", seed=1, command=broken(variant), units=200)
    figures = torture.run(30)
    assert figures.lost or figures.wrong


@pytest.mark.parametrize(
    "variant",
    [
        "acknowledges-before-it-flushes",
        "skips-flushes",
        "skips-flushes-of-folders",
        "forgets-the-new-folder",
        "names-a-base-that-is-not-flushed",
    ],
)
def test_who_is_found_out_by_power_cuts(tmp_path: Path, machine: Machine, variant: str) -> None:
    machine.slow(0 if "base" in variant else 0.1)
    torture = Torture(
        tmp_path,
        "always",
        seed=2,
        machine=machine,
        command=broken(variant),
        units=100,
        cuts=["drop"],
        kills=0,
        actions=[Torture.rewrite],
    )
    figures = torture.run(60)
    assert figures.wrong or figures.lost


@pytest.fixture
def patient(request: pytest.FixtureRequest, tmp_path: Path, machine: Machine) -> Iterator[Patient]:
    machine.slow(0)
    policy, command = request.param
    patient = Patient(machine, tmp_path, policy, command)
    yield patient
    patient.close()


ALL = [(policy, OURS) for policy in ("always", "everysec")]


@pytest.mark.parametrize("patient", ALL, indirect=True, ids=lambda it: it[0])
@pytest.mark.parametrize(("step", "error"), FAULTS)
def test_a_disk_that_fails_and_works_again(patient: Patient, step: str, error: int) -> None:
    patient.fail(step, error)
    assert patient.complaints() == []
    patient.recover()
    assert patient.rest() == []
    assert patient.cut_power("keep") == []


@pytest.mark.parametrize("patient", ALL[:1], indirect=True, ids=lambda it: it[0])
@pytest.mark.parametrize(("step", "error"), FAULTS)
def test_power_that_goes_while_the_disk_fails(patient: Patient, step: str, error: int) -> None:
    patient.fail(step, error)
    assert patient.cut_power() == []


@pytest.mark.parametrize("patient", ALL[:1], indirect=True, ids=lambda it: it[0])
@pytest.mark.parametrize("step", ["rename", "fsyncdir", "flush", "create"])
def test_a_rewrite_that_fails(patient: Patient, step: str) -> None:
    """Writes go on, in the files that there are, or in new ones."""
    server, machine = patient.server, patient.machine

    def rewrites() -> int:
        return int(status(server, "aof_rewrites"))

    with server.wire() as wire:
        for skip in range(3):
            machine.fail(step, errno.EIO, name="appendonlydir", skip=skip, times=1)
            wire.call("BGREWRITEAOF")
            eventually(lambda: status(server, "aof_rewrite_in_progress") == "0")
            assert patient.load.wait_for(20)
            machine.heal()
            eventually(lambda: status(server) == "ok")
            before = rewrites()
            wire.call("BGREWRITEAOF")
            eventually(lambda: rewrites() > before)  # noqa: B023
            assert patient.load.wait_for(20)
    assert patient.cut_power() == []


@pytest.mark.parametrize(
    ("patient", "step"),
    [
        (("always", broken("takes-failed-flushes-for-done")), "fsync"),
        (("always", broken("takes-failed-writes-for-done")), "write"),
    ],
    indirect=["patient"],
    ids=["flush", "write"],
)
def test_who_takes_a_failure_for_success(patient: Patient, step: str) -> None:
    patient.machine.fail(step, errno.EIO, name=".aof")
    patient.load.wait_for(50)
    assert patient.cut_power()


@pytest.mark.parametrize(
    "patient", [("always", broken("does-writes-that-it-refuses"))], indirect=True, ids=["refuses"]
)
def test_who_does_what_it_refuses(patient: Patient) -> None:
    patient.fail("write", errno.ENOSPC)
    # More than were on their way.
    patient.load.wait_for(100)
    patient.recover()
    assert patient.rest()
