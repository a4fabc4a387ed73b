"""Get Apache Kafka's jars from Maven Central: python tests/kafka/fetch.py FOLDER

The names and the SHA-256 of the jars are in ``jars.txt``: what Maven finds for
``org.apache.kafka:kafka_2.13`` and ``org.slf4j:slf4j-simple``.  What is there already is kept.
"""

import hashlib
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = "https://repo.maven.apache.org/maven2"
SECONDS = 30
"""How long the repository may be silent."""


def fetch(folder: Path, line: str) -> None:
    """Get one jar.

    Raises OSError where it cannot be had, ValueError where it is not the one that was asked for.
    """
    name, digest = line.split()
    group, artifact, version = name.split(":")
    file = folder / f"{artifact}-{version}.jar"
    if file.exists():
        return
    url = f"{REPOSITORY}/{group.replace('.', '/')}/{artifact}/{version}/{file.name}"
    with urllib.request.urlopen(url, timeout=SECONDS) as response:  # noqa: S310, it is https
        jar = response.read()
    if hashlib.sha256(jar).hexdigest() != digest:
        raise ValueError(f"{url} has another checksum than jars.txt says")
    part = file.with_suffix(".part")
    part.write_bytes(jar)
    part.rename(file)


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    lines = Path(__file__).with_name("jars.txt").read_text().splitlines()
    pool = ThreadPoolExecutor(8)
    try:
        for _ in pool.map(lambda line: fetch(folder, line), lines):
            pass
    except (OSError, ValueError) as error:
        pool.shutdown(cancel_futures=True)
        print(f"no Kafka: {error}", file=sys.stderr)
        return 1
    (folder / "complete").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
