"""``python -m tests.torture``: kill servers, cut their power, and say what came of it."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from tests.support.servers import OURS
from tests.torture.machine import Machine, missing
from tests.torture.rounds import POLICIES, Torture, broken


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, help="of the random choices; printed in any case")
    parser.add_argument("--policy", choices=POLICIES, action="append", help="of appendfsync")
    parser.add_argument("--end", choices=("kill", "power"), action="append", help="how lives end")
    parser.add_argument("--units", type=int, default=1000, help="per life, about (%(default)s)")
    parser.add_argument("--broken", metavar="VARIANT", help="a server of tests/torture/broken.py")
    options = parser.parse_args()
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}")
    command = broken(options.broken) if options.broken else OURS
    ends = options.end or ["kill", "power"]
    if "power" in ends and (reason := missing()):
        print(f"no power cuts: {reason}")
        ends.remove("power")
    well = True
    for end in ends:
        for policy in options.policy or POLICIES:
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                machine = stack.enter_context(Machine(folder)) if end == "power" else None
                if machine is not None:
                    machine.slow(0.02)
                torture = Torture(
                    folder,
                    policy,
                    seed,
                    machine=machine,
                    command=command,
                    units=options.units,
                )
                started_s = monotonic()
                figures = torture.run(options.rounds)
                print(f"\n{end}, appendfsync {policy}: {monotonic() - started_s:.0f} s")
                print("\n".join(f"  {line}" for line in figures.lines()), flush=True)
                well = well and not figures.wrong and (torture.may_lose or not figures.lost)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
