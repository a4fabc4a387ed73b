"""Points on the earth as scores of a sorted set, and the search for those near a place.

A score is a geohash of 52 bits: 26 of the longitude and 26 of the latitude between each other, the
longitude's first.  Points that share leading bits lie in one cell of a grid, whose members are a
range of scores.  A search takes the finest grid on which the cell of the centre and its eight
neighbours cover the shape, reads those ranges, and measures the distance of each point.

The order of the cells, the constants and the steps of each sum are Redis's (geohash.c,
geohash_helper.c, geo.c), so that replies agree to the last digit and in their order.  Only the
parts of a cell that the shape does not reach are left out, since measuring a point is dear here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from distcache_server.types.sorted_set import Item, SortedSet

LONGITUDE_MIN, LONGITUDE_MAX = -180.0, 180.0
LATITUDE_MIN, LATITUDE_MAX = -85.05112878, 85.05112878
WIDTH, HEIGHT = LONGITUDE_MAX - LONGITUDE_MIN, LATITUDE_MAX - LATITUDE_MIN

UNITS = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
"""Metres in each unit."""

STEPS = 26
"""Bits of each coordinate in a score."""
SIZE = 1 << STEPS
EARTH_RADIUS = 6372797.560856
MERCATOR_MAX = 20037726.37
RADIAN = math.pi / 180.0
ALPHABET = b"0123456789bcdefghjkmnpqrstuvwxyz"
BATCH = 1024
FEW = 32
"""So many points are measured rather than asking which part of their cell they are in."""
MARGIN = 1e-6
"""Degrees; a tenth of a metre, far more than rounding."""

Area: TypeAlias = tuple[float, float, float, float]
"""West, south, east and north."""


Measure: TypeAlias = Callable[[float, float], float | None]
"""Longitude and latitude of a point -> its distance from the centre in metres; None is outside."""


@dataclass(frozen=True, slots=True)
class Circle:
    """Around a place, with a radius in a unit of so many metres."""

    longitude: float
    latitude: float
    radius: float
    unit: float

    def reach(self) -> float:
        """How far the shape goes from its centre, in metres."""
        return self.radius * self.unit

    def half(self) -> tuple[float, float]:
        """Half of its width and of its height, in metres."""
        return self.unit * self.radius, self.unit * self.radius

    def measure(self) -> Measure:
        here, reach = (self.longitude, self.latitude), self.reach()

        def metres(longitude: float, latitude: float) -> float | None:
            found = distance(*here, longitude, latitude)
            return None if found > reach else found

        return metres


@dataclass(frozen=True, slots=True)
class Box:
    """Around a place, with a width and a height in a unit of so many metres."""

    longitude: float
    latitude: float
    width: float
    height: float
    unit: float

    def reach(self) -> float:
        width, height = self.width / 2, self.height / 2
        return math.sqrt(width * width + height * height) * self.unit

    def half(self) -> tuple[float, float]:
        return self.unit * (self.width / 2), self.unit * (self.height / 2)

    def measure(self) -> Measure:
        here, there = self.longitude, self.latitude
        width, height = self.width * self.unit / 2, self.height * self.unit / 2

        def metres(longitude: float, latitude: float) -> float | None:
            if latitude_distance(latitude, there) > height:
                return None
            if distance(longitude, latitude, here, latitude) > width:
                return None
            return distance(here, there, longitude, latitude)

        return metres


Shape: TypeAlias = Circle | Box


class Found(NamedTuple):
    """A member in the shape, and its distance from the centre in metres."""

    member: bytes
    distance: float
    score: float
    longitude: float
    latitude: float


# Scores


def encode(longitude: float, latitude: float) -> int:
    """The score of a point within the limits."""
    return _cell(longitude, latitude, STEPS)


def decode(score: float) -> tuple[float, float]:
    """The longitude and latitude in the middle of what the score stands for."""
    if 0 <= score < 1 << 52:
        # What follows below, without what never happens here.
        digits = f"{int(score):052b}"
        x, y = int(digits[0::2], 2), int(digits[1::2], 2)
        south = LATITUDE_MIN + y / SIZE * HEIGHT
        north = LATITUDE_MIN + (y + 1) / SIZE * HEIGHT
        return LONGITUDE_MIN + (x + 0.5) / SIZE * WIDTH, (south + north) / 2
    west, south, east, north = _bounds(_unsigned(score), STEPS)
    return (
        max(min((west + east) / 2, LONGITUDE_MAX), LONGITUDE_MIN),
        max(min((south + north) / 2, LATITUDE_MAX), LATITUDE_MIN),
    )


def geohash(score: float) -> bytes:
    """The eleven letters by which the rest of the world knows the point."""
    longitude, latitude = decode(score)
    # There the latitude goes from -90 to 90.  52 bits are ten letters and two bits; the last letter
    # is a zero.
    bits = _interleave((latitude + 90) / 180, (longitude + 180) / 360, STEPS)
    return bytes([ALPHABET[bits >> shift & 31] for shift in range(47, 0, -5)]) + b"0"


def _unsigned(score: float) -> int:
    """What C makes of a double that becomes an unsigned integer of 64 bits."""
    top = 1 << 63
    if score < top:
        return int(score) & (1 << 64) - 1 if score >= -top else top
    return int(score) if score < 2 * top else 0


def _interleave(latitude: float, longitude: float, steps: int) -> int:
    """The geohash of two numbers from 0 to 1."""
    # Binary digits read as digits to the base of four stand two bits apart.
    even = int(f"{int(latitude * (1 << steps)):b}", 4)
    return even | int(f"{int(longitude * (1 << steps)):b}", 4) << 1


def _cell(longitude: float, latitude: float, steps: int) -> int:
    """The cell of a point on the grid of so many bits."""
    return _interleave(
        (latitude - LATITUDE_MIN) / HEIGHT,
        (longitude - LONGITUDE_MIN) / WIDTH,
        steps,
    )


def _bounds(cell: int, steps: int) -> Area:
    digits = f"{cell:064b}"
    x, y = int(digits[0::2], 2), int(digits[1::2], 2)
    size = 1 << steps
    # A score that no point has may have all bits set; C's integers of 32 bits begin again at 0.
    return (
        LONGITUDE_MIN + x / size * WIDTH,
        LATITUDE_MIN + y / size * HEIGHT,
        LONGITUDE_MIN + (x + 1 & 0xFFFFFFFF) / size * WIDTH,
        LATITUDE_MIN + (y + 1 & 0xFFFFFFFF) / size * HEIGHT,
    )


# Distances


def distance(
    longitude: float, latitude: float, other_longitude: float, other_latitude: float
) -> float:
    """Metres between two points on a great circle (haversine)."""
    v = math.sin((other_longitude * RADIAN - longitude * RADIAN) / 2)
    if v == 0:
        return latitude_distance(latitude, other_latitude)
    here, there = latitude * RADIAN, other_latitude * RADIAN
    u = math.sin((there - here) / 2)
    root = math.sqrt(u * u + math.cos(here) * math.cos(there) * v * v)
    return 2.0 * EARTH_RADIUS * math.asin(root) if root <= 1 else math.nan


def latitude_distance(latitude: float, other: float) -> float:
    """Metres between two points, one due north of the other."""
    return EARTH_RADIUS * abs(other * RADIAN - latitude * RADIAN)


# The search


def search(points: SortedSet, shape: Shape, limit: int = 0) -> list[Found]:
    """The members in the shape, as they come; with a limit, the first that many."""
    found: list[Found] = []
    metres = shape.measure()
    window = _window(shape)
    for cell, steps in _cells(shape):
        for member, score in _candidates(points, cell, steps, window):
            longitude, latitude = decode(score)
            if (away := metres(longitude, latitude)) is not None:
                found.append(Found(member, away, score, longitude, latitude))
                if len(found) == limit:
                    return found
    return found


def _candidates(points: SortedSet, cell: int, steps: int, window: Area) -> Iterator[Item]:
    """The points in a cell, in order, without most of those that are not in the window."""
    unit = 2 * (STEPS - steps)
    start, stop = points.span_by_score(cell << unit, cell + 1 << unit, high_open=True)
    if stop - start > FEW and steps < STEPS:
        cell_west, cell_south, cell_east, cell_north = _bounds(cell, steps)
        west, south, east, north = window
        if cell_west > east or cell_east < west or cell_south > north or cell_north < south:
            return
        if cell_west < west or cell_east > east or cell_south < south or cell_north > north:
            for quarter in range(4):
                yield from _candidates(points, cell << 2 | quarter, steps + 1, window)
            return
    for at in range(start, stop, BATCH):
        yield from points.items((at, min(at + BATCH, stop)))


def _window(shape: Shape) -> Area:
    """No point outside is in the shape, whatever rounding does."""
    width, height = shape.half()
    up = height / EARTH_RADIUS / RADIAN + MARGIN
    across = 360.0
    farthest = (abs(shape.latitude) + up) * RADIAN
    if farthest < math.pi / 2:
        # The haversine formula, solved for the longitude where a degree of it is shortest.
        ratio = math.sin(min(width / EARTH_RADIUS, math.pi) / 2) / math.cos(farthest)
        if ratio < 1:
            across = 2 * math.asin(ratio) / RADIAN + MARGIN
    west, east = shape.longitude - across, shape.longitude + across
    if west < LONGITUDE_MIN or east > LONGITUDE_MAX:
        west, east = -math.inf, math.inf
    return west, shape.latitude - up, east, shape.latitude + up


def _cells(shape: Shape) -> Iterator[tuple[int, int]]:
    """The cells to look at, and their grid."""
    west, south, east, north = _surroundings(shape)
    longitude, latitude = shape.longitude, shape.latitude
    steps = _steps(shape.reach(), latitude)
    centre = _cell(longitude, latitude, steps)
    if steps > 1 and (
        _bounds(_move(centre, steps, 0, 1), steps)[3] < north
        or _bounds(_move(centre, steps, 0, -1), steps)[1] > south
        or _bounds(_move(centre, steps, 1, 0), steps)[2] < east
        or _bounds(_move(centre, steps, -1, 0), steps)[0] > west
    ):
        steps -= 1
        centre = _cell(longitude, latitude, steps)
    area = _bounds(centre, steps)
    yield centre, steps
    before: int | None = None
    for x, y in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)):
        if steps >= 2 and (
            (x < 0 and area[0] < west)
            or (y < 0 and area[1] < south)
            or (x > 0 and area[2] > east)
            or (y > 0 and area[3] > north)
        ):
            continue
        cell = _move(centre, steps, x, y)
        if cell != before:
            yield cell, steps
            before = cell


def _surroundings(shape: Shape) -> Area:
    """About where the shape ends, by a formula that decides which cells are looked at."""
    width, height = shape.half()
    latitude = height / EARTH_RADIUS / RADIAN
    # The side nearer to a pole is as wide in metres, and so wider in degrees.
    side = shape.latitude + (-latitude if shape.latitude < 0 else latitude)
    shrink = math.cos(side * RADIAN) if math.isfinite(side) else math.nan
    longitude = width / EARTH_RADIUS / shrink / RADIAN
    return (
        shape.longitude - longitude,
        shape.latitude - latitude,
        shape.longitude + longitude,
        shape.latitude + latitude,
    )


def _steps(reach: float, latitude: float) -> int:
    """Bits of each coordinate on the grid to search, at a first guess."""
    if reach == 0:
        return STEPS
    steps = 1
    while reach < MERCATOR_MAX:
        reach *= 2
        steps += 1
    steps -= 2
    if abs(latitude) > 66:
        steps -= 1 + (abs(latitude) > 80)
    return min(max(steps, 1), STEPS)


def _move(cell: int, steps: int, x: int, y: int) -> int:
    """A neighbour of the cell; beyond the edge is the other side."""
    whole = (1 << 2 * steps) - 1
    odd, even = 0xAAAAAAAAAAAAAAAA & whole, 0x5555555555555555 & whole
    # With the other coordinate's bits set, or all clear, a carry passes through them.
    across, up = cell & 0xAAAAAAAAAAAAAAAA, cell & 0x5555555555555555
    if x > 0:
        across += even + 1
    elif x < 0:
        across = (across | even) - (even + 1)
    if y > 0:
        up += odd + 1
    elif y < 0:
        up = (up | odd) - (odd + 1)
    return (across & odd if x else across) | (up & even if y else up)
