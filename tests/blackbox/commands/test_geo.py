"""commands/geo.py"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support import Error, Wire

Ask = Callable[..., Any]
PALERMO = ("13.361389", "38.115556", "Palermo")
CATANIA = ("15.087269", "37.502669", "Catania")


@pytest.fixture
def sicily(wire: Wire) -> Wire:
    assert wire.call("GEOADD", "sicily", *PALERMO, *CATANIA) == 2
    return wire


def test_adding(wire: Wire) -> None:
    assert wire.call("GEOADD", "sicily", *PALERMO) == 1
    assert wire.call("GEOADD", "sicily", *PALERMO) == 0
    assert wire.call("GEOADD", "sicily", "XX", *CATANIA) == 0
    assert wire.call("GEOADD", "sicily", "NX", "CH", *CATANIA) == 1
    assert wire.call("GEOADD", "sicily", "CH", "1", "2", "Palermo") == 1
    assert wire.call("ZCARD", "sicily") == 2
    assert wire.call("GEOADD", "sicily", "NX", "XX", *PALERMO) == b"ERR syntax error"
    assert wire.call("GEOADD", "sicily", "1", "2") == (
        b"ERR wrong number of arguments for 'geoadd' command"
    )
    assert wire.call("GEOADD", "sicily", "a", "2", "x") == b"ERR value is not a valid float"
    assert wire.call("GEOADD", "sicily", "181", "2", "x") == (
        b"ERR invalid longitude,latitude pair 181.000000,2.000000"
    )


def test_places_hashes_and_distances(sicily: Wire) -> None:
    places = sicily.call("GEOPOS", "sicily", "Palermo", "nowhere")
    assert places[1] is None
    assert [float(part) for part in places[0]] == pytest.approx([13.361389, 38.115556], abs=1e-5)
    assert sicily.call("GEOHASH", "sicily", "Palermo", "Catania", "nowhere") == [
        b"sqc8b49rny0",
        b"sqdtr74hyu0",
        None,
    ]
    assert sicily.call("GEODIST", "sicily", "Palermo", "Catania") == b"166274.1516"
    assert sicily.call("GEODIST", "sicily", "Palermo", "Catania", "KM") == b"166.2742"
    assert sicily.call("GEODIST", "sicily", "Palermo", "nowhere") is None
    assert sicily.call("GEODIST", "missing", "a", "b") is None
    assert sicily.call("GEODIST", "sicily", "Palermo", "Catania", "parsec") == (
        b"ERR unsupported unit provided. please use M, KM, FT, MI"
    )
    assert sicily.call("GEOPOS", "missing", "a") == [None]


@pytest.mark.parametrize(
    ("around", "around_member"),
    [("GEORADIUS", "GEORADIUSBYMEMBER"), ("GEORADIUS_RO", "GEORADIUSBYMEMBER_RO")],
)
def test_radius(sicily: Wire, around: str, around_member: str) -> None:
    near = (around, "sicily", "15", "37", "200", "km")
    assert sorted(sicily.call(*near)) == [b"Catania", b"Palermo"]
    assert sicily.call(*near, "ASC") == [b"Catania", b"Palermo"]
    assert sicily.call(*near, "COUNT", "1") == [b"Catania"]
    assert sicily.call(*near, "WITHDIST", "DESC") == [
        [b"Palermo", b"190.4424"],
        [b"Catania", b"56.4413"],
    ]
    assert sicily.call(*near, "WITHHASH", "COUNT", "1") == [[b"Catania", 3479447370796909]]
    assert sicily.call(*near, "ANY") == b"ERR the ANY argument requires COUNT argument"
    assert sicily.call(*near, "COUNT", "0") == b"ERR COUNT must be > 0"
    member = (around_member, "sicily", "Palermo", "100", "km")
    assert sicily.call(*member) == [b"Palermo"]
    assert sicily.call(around_member, "sicily", "nowhere", "1", "km") == (
        b"ERR could not decode requested zset member"
    )
    assert sicily.call(*near[:4], "x", "km") == b"ERR need numeric radius"
    assert sicily.call(*near[:4], "-1", "km") == b"ERR radius cannot be negative"


def test_storing_a_radius(sicily: Wire) -> None:
    near = ("GEORADIUS", "sicily", "15", "37", "200", "km")
    assert sicily.call(*near, "STORE", "to") == 2
    assert sicily.call("GEOHASH", "to", "Palermo") == [b"sqc8b49rny0"]
    assert sicily.call(*near, "STOREDIST", "to") == 2
    assert float(sicily.call("ZSCORE", "to", "Catania")) == pytest.approx(56.4413, abs=1e-3)
    assert isinstance(sicily.call(*near, "STORE", "to", "WITHDIST"), Error)
    assert sicily.call("GEORADIUS_RO", *near[1:], "STORE", "to") == b"ERR syntax error"
    assert sicily.call("GEORADIUSBYMEMBER", "missing", "a", "1", "km", "STORE", "to") == 0
    assert sicily.call("EXISTS", "to") == 0


def test_searching(sicily: Wire) -> None:
    here = ("GEOSEARCH", "sicily", "FROMLONLAT", "15", "37")
    assert sicily.call(*here, "BYRADIUS", "200", "km", "ASC") == [b"Catania", b"Palermo"]
    assert sicily.call(*here, "BYBOX", "400", "400", "km", "DESC") == [b"Palermo", b"Catania"]
    assert sicily.call(*here, "BYBOX", "1", "1", "km") == []
    there = ("GEOSEARCH", "sicily", "FROMMEMBER", "Catania", "BYRADIUS", "1", "km", "WITHCOORD")
    assert sicily.call(*there)[0][0] == b"Catania"
    assert sicily.call(*here, "ASC", "COUNT", "3") == (
        b"ERR exactly one of BYRADIUS and BYBOX can be specified for GEOSEARCH"
    )
    assert sicily.call("GEOSEARCH", "sicily", "BYRADIUS", "1", "km", "ASC", "ANY") == (
        b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH"
    )
    assert sicily.call("GEOSEARCHSTORE", "to", *here[1:], "BYRADIUS", "200", "km") == 2
    assert sicily.call("GEOSEARCHSTORE", "to", *here[1:], "BYRADIUS", "1", "m", "STOREDIST") == 0
    assert sicily.call("EXISTS", "to") == 0


@pytest.mark.parametrize(
    "words",
    [
        ("GEOADD", "key", *PALERMO),
        ("GEOPOS", "key", "a"),
        ("GEOHASH", "key", "a"),
        ("GEODIST", "key", "a", "b"),
        ("GEORADIUS", "key", "1", "1", "1", "km"),
        ("GEORADIUSBYMEMBER", "key", "a", "1", "km"),
        ("GEOSEARCH", "key", "FROMLONLAT", "1", "1", "BYRADIUS", "1", "km"),
        ("GEOSEARCHSTORE", "to", "key", "FROMLONLAT", "1", "1", "BYRADIUS", "1", "km"),
    ],
)
def test_wrong_types_and_missing_words(wire: Wire, words: tuple[str, ...]) -> None:
    wire.call("SET", "key", "value")
    assert wire.call(*words).startswith(b"WRONGTYPE")
    assert wire.call(words[0]).startswith(b"ERR wrong number of arguments")
