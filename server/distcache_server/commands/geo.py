"""The geo commands: a geospatial index is a sorted set whose scores are coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distcache_server.arguments import Args, integer, real
from distcache_server.errors import CommandError, Failure, SyntaxFailure
from distcache_server.events import GENERIC, SORTED_SET
from distcache_server.registry import DENYOOM, ONE_KEY, READONLY, WRITE, Keys, group
from distcache_server.reply import NullArray, Real
from distcache_server.types import geo
from distcache_server.types.sorted_set import SortedSet

if TYPE_CHECKING:
    from distcache_server.client import Client

command = group("geo")

NEAR = (
    "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area "
    "delimited by center and radius and M is the number of items inside the index."
)
AREA = (
    "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around "
    "the shape provided as the filter and M is the number of items inside the shape"
)
SHAPE = (
    "<FROMMEMBER member | FROMLONLAT longitude latitude> "
    "<BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> "
    "[ASC | DESC] [COUNT count [ANY]]"
)
OPTIONS = "[WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]"
STORED = f"{OPTIONS} [STORE key | STOREDIST key]"


class NoNumericRadius(CommandError):
    text = b"ERR need numeric radius"


class NoNumericWidth(CommandError):
    text = b"ERR need numeric width"


class NoNumericHeight(CommandError):
    text = b"ERR need numeric height"


class NoSuchMember(CommandError):
    text = b"ERR could not decode requested zset member"


class UnknownUnit(CommandError):
    text = b"ERR unsupported unit provided. please use M, KM, FT, MI"


def _place(words: Args) -> tuple[float, float]:
    """Longitude and latitude within what the index can hold."""
    longitude, latitude = real(words[0]), real(words[1])
    if not (
        geo.LONGITUDE_MIN <= longitude <= geo.LONGITUDE_MAX
        and geo.LATITUDE_MIN <= latitude <= geo.LATITUDE_MAX
    ):
        raise Failure(f"invalid longitude,latitude pair {longitude:f},{latitude:f}".encode())
    return longitude, latitude


def _unit(word: bytes) -> float:
    unit = geo.UNITS.get(word.lower())
    if unit is None:
        raise UnknownUnit
    return unit


def _radius(words: Args) -> tuple[float, float]:
    """A distance and its unit in metres."""
    distance = real(words[0], NoNumericRadius)
    if distance < 0:
        raise Failure(b"radius cannot be negative")
    return distance, _unit(words[1])


def _box(words: Args) -> tuple[float, float, float]:
    """Width, height and their unit in metres."""
    width = real(words[0], NoNumericWidth)
    height = real(words[1], NoNumericHeight)
    if width < 0 or height < 0:
        raise Failure(b"height or width cannot be negative")
    return width, height, _unit(words[2])


def _place_of(points: SortedSet, member: bytes) -> tuple[float, float]:
    score = points.score(member)
    if score is None:
        raise NoSuchMember
    return geo.decode(score)


@command(
    "GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    WRITE | DENYOOM,
    keys=ONE_KEY,
    since="3.2.0",
    complexity="O(log(N)) for each item added, where N is the number of elements in the sorted "
    "set.",
)
def geoadd(client: Client, words: Args) -> int:
    """Adds one or more members to a geospatial index. The key is created if it doesn't exist."""
    keyspace, key = client.keyspace, words[1]
    options = set()
    at = 2
    while at < len(words) and (option := words[at].upper()) in (b"NX", b"XX", b"CH"):
        options.add(option)
        at += 1
    only_new, only_present = b"NX" in options, b"XX" in options
    if (len(words) - at) % 3 or (only_new and only_present):
        raise SyntaxFailure
    scores = []
    pairs: Args = []
    for start in range(at, len(words), 3):
        score = geo.encode(*_place(words[start : start + 2]))
        scores.append((words[start + 2], score))
        pairs += [b"%d" % score, words[start + 2]]
    if not scores:
        raise SyntaxFailure
    points = keyspace.find_as(key, SortedSet)
    if points is None:
        if only_present:
            return 0
        points = SortedSet()
    added = moved = longest = 0
    for member, score in scores:
        old = points.score(member)
        if old is None and not only_present:
            points.add(member, float(score))
            added += 1
            longest = max(longest, len(member))
        elif old is not None and not only_new and old != score:
            points.add(member, float(score))
            moved += 1
    if added or moved:
        points.grown(longest, keyspace.limits)
        keyspace.replace(key, points)
        client.effect = [b"ZADD", key, *words[2:at], *pairs]
        keyspace.changed(key, b"zadd", SORTED_SET)
    return added + moved if b"CH" in options else added


@command(
    "GEOPOS key [member [member ...]]",
    READONLY,
    keys=ONE_KEY,
    since="3.2.0",
    complexity="O(1) for each member requested.",
)
def geopos(client: Client, words: Args) -> Any:
    """Gives the coordinates of members."""
    points = client.keyspace.read_as(words[1], SortedSet)
    scores = [points.score(member) if points else None for member in words[2:]]
    return [NullArray if score is None else _shown(*geo.decode(score)) for score in scores]


def _shown(longitude: float, latitude: float) -> list[Real]:
    return [Real.of(longitude), Real.of(latitude)]


@command(
    "GEOHASH key [member [member ...]]",
    READONLY,
    keys=ONE_KEY,
    since="3.2.0",
    complexity="O(1) for each member requested.",
)
def geohash(client: Client, words: Args) -> Any:
    """Gives the geohashes of members."""
    points = client.keyspace.read_as(words[1], SortedSet)
    scores = [points.score(member) if points else None for member in words[2:]]
    return [None if score is None else geo.geohash(score) for score in scores]


@command("GEODIST key member1 member2 [M | KM | FT | MI]", READONLY, keys=ONE_KEY, since="3.2.0")
def geodist(client: Client, words: Args) -> Any:
    """Measures how far apart two members are."""
    if len(words) > 5:
        raise SyntaxFailure
    unit = _unit(words[4]) if len(words) == 5 else 1.0
    points = client.keyspace.read_as(words[1], SortedSet)
    if points is None:
        return None
    one, two = points.score(words[2]), points.score(words[3])
    if one is None or two is None:
        return None
    return _distance(geo.distance(*geo.decode(one), *geo.decode(two)) / unit)


def _distance(value: float) -> bytes:
    return b"%.4f" % value


@dataclass(slots=True)
class _Query:
    """What a search looks for and how the answer is to look."""

    shape: geo.Shape | None = None
    unit: float = 1.0
    order: bytes = b""
    count: int = 0
    any: bool = False
    with_: frozenset[bytes] = frozenset()
    store: bytes | None = None
    by_distance: bool = False


def _read_options(query: _Query, words: Args, stores: bool) -> None:
    """The options after a GEORADIUS shape."""
    at = 0
    while at < len(words):
        option = words[at].upper()
        following = len(words) - at - 1
        if _common_option(query, option, words, at):
            at += 2 if option == b"COUNT" else 1
        elif option in (b"STORE", b"STOREDIST") and stores and following:
            query.store, query.by_distance = words[at + 1], option == b"STOREDIST"
            at += 2
        else:
            raise SyntaxFailure


def _common_option(query: _Query, option: bytes, words: Args, at: int) -> bool:
    """Take an option that all searches have; False if it is none."""
    if option in (b"WITHDIST", b"WITHHASH", b"WITHCOORD"):
        query.with_ |= {option}
    elif option == b"ANY":
        query.any = True
    elif option in (b"ASC", b"DESC"):
        query.order = option
    elif option == b"COUNT" and at + 1 < len(words):
        query.count = integer(words[at + 1])
        if query.count <= 0:
            raise Failure(b"COUNT must be > 0")
    else:
        return False
    return True


def _check(query: _Query, storing: bytes) -> None:
    if query.store is not None and query.with_:
        raise Failure(storing + b" is not compatible with WITHDIST, WITHHASH and WITHCOORD options")
    if query.any and not query.count:
        raise Failure(b"the ANY argument requires COUNT argument")


def _answer(client: Client, points: SortedSet | None, query: _Query, event: bytes) -> Any:
    """Search, then reply or store."""
    found: list[geo.Found] = []
    if points is not None and query.shape is not None:
        found = geo.search(points, query.shape, query.count if query.any else 0)
    order = query.order or (b"ASC" if query.count and not query.any else b"")
    if order:
        found.sort(key=lambda each: each.distance, reverse=order == b"DESC")
    if query.count:
        found = found[: query.count]
    if query.store is not None:
        return _store(client, found, query, event)
    if not query.with_:
        return [each.member for each in found]
    return [_details(each, query) for each in found]


def _details(found: geo.Found, query: _Query) -> list[Any]:
    reply: list[Any] = [found.member]
    if b"WITHDIST" in query.with_:
        reply.append(_distance(found.distance / query.unit))
    if b"WITHHASH" in query.with_:
        reply.append(int(found.score))
    if b"WITHCOORD" in query.with_:
        reply.append(_shown(found.longitude, found.latitude))
    return reply


def _store(client: Client, found: list[geo.Found], query: _Query, event: bytes) -> int:
    keyspace, key = client.keyspace, query.store
    assert key is not None
    if not found:
        if keyspace.remove(key):
            client.effect = [b"DEL", key]
            keyspace.changed(key, b"del", GENERIC)
        return 0
    items = (
        (each.member, each.distance / query.unit if query.by_distance else each.score)
        for each in found
    )
    stored = SortedSet(items, keyspace.limits)
    keyspace.put(key, stored)
    keyspace.changed(key, event, SORTED_SET)
    return len(found)


def _georadius(client: Client, words: Args, stores: bool) -> Any:
    points = client.keyspace.read_as(words[1], SortedSet)
    place = _place(words[2:4])
    radius, unit = _radius(words[4:6])
    query = _Query(shape=geo.Circle(*place, radius, unit), unit=unit)
    _read_options(query, words[6:], stores)
    _check(query, b"STORE option in GEORADIUS")
    return _answer(client, points, query, b"georadiusstore")


def _georadius_by_member(client: Client, words: Args, stores: bool) -> Any:
    points = client.keyspace.read_as(words[1], SortedSet)
    query = _Query()
    if points is not None:
        place = _place_of(points, words[2])
        radius, query.unit = _radius(words[3:5])
        query.shape = geo.Circle(*place, radius, query.unit)
    _read_options(query, words[5:], stores)
    _check(query, b"STORE option in GEORADIUS")
    return _answer(client, points, query, b"georadiusstore")


def _stored_at(first: int) -> tuple[Keys, ...]:
    return (
        ONE_KEY("RO ACCESS"),
        Keys(first=first, keyword="STORE", access="OW UPDATE"),
        Keys(first=first, keyword="STOREDIST", access="OW UPDATE"),
    )


@command(
    f"GEORADIUS key longitude latitude radius <M | KM | FT | MI> {STORED}",
    WRITE | DENYOOM,
    keys=_stored_at(6),
    since="3.2.0",
    complexity=NEAR,
)
def georadius(client: Client, words: Args) -> Any:
    """Queries a geospatial index for members within a distance from a coordinate, optionally
    stores the result.
    """
    return _georadius(client, words, stores=True)


@command(
    f"GEORADIUS_RO key longitude latitude radius <M | KM | FT | MI> {OPTIONS}",
    READONLY,
    keys=ONE_KEY,
    since="3.2.10",
    complexity=NEAR,
)
def georadius_ro(client: Client, words: Args) -> Any:
    """Returns members from a geospatial index that are within a distance from a coordinate."""
    return _georadius(client, words, stores=False)


@command(
    f"GEORADIUSBYMEMBER key member radius <M | KM | FT | MI> {STORED}",
    WRITE | DENYOOM,
    keys=_stored_at(5),
    since="3.2.0",
    complexity=NEAR,
)
def georadiusbymember(client: Client, words: Args) -> Any:
    """Queries a geospatial index for members within a distance from a member, optionally
    stores the result.
    """
    return _georadius_by_member(client, words, stores=True)


@command(
    f"GEORADIUSBYMEMBER_RO key member radius <M | KM | FT | MI> {OPTIONS}",
    READONLY,
    keys=ONE_KEY,
    since="3.2.10",
    complexity=NEAR,
)
def georadiusbymember_ro(client: Client, words: Args) -> Any:
    """Returns members from a geospatial index that are within a distance from a member."""
    return _georadius_by_member(client, words, stores=False)


def _search(client: Client, words: Args, base: int, store: bytes | None) -> Any:
    """GEOSEARCH and GEOSEARCHSTORE: the shape is among the options."""
    points = client.keyspace.read_as(words[base - 1], SortedSet)
    query = _Query(store=store)
    place: tuple[float, float] | None = None
    circle: tuple[float, float] | None = None
    box: tuple[float, float, float] | None = None
    from_member = from_place = False
    at = base
    while at < len(words):
        option = words[at].upper()
        following = len(words) - at - 1
        if _common_option(query, option, words, at):
            at += 2 if option == b"COUNT" else 1
        elif option == b"STOREDIST" and store is not None:
            query.by_distance = True
            at += 1
        elif option == b"FROMMEMBER" and following >= 1 and not from_place:
            from_member = True
            if points is not None:
                place = _place_of(points, words[at + 1])
            at += 2
        elif option == b"FROMLONLAT" and following >= 2 and not from_member:
            from_place, place = True, _place(words[at + 1 : at + 3])
            at += 3
        elif option == b"BYRADIUS" and following >= 2 and box is None:
            circle = _radius(words[at + 1 : at + 3])
            at += 3
        elif option == b"BYBOX" and following >= 3 and circle is None:
            box = _box(words[at + 1 : at + 4])
            at += 4
        else:
            raise SyntaxFailure
    if query.store is not None and query.with_:
        _check(query, b"GEOSEARCHSTORE")
    if not (from_member or from_place):
        raise Failure(b"exactly one of FROMMEMBER or FROMLONLAT can be specified for %b" % words[0])
    if circle is None and box is None:
        raise Failure(b"exactly one of BYRADIUS and BYBOX can be specified for %b" % words[0])
    _check(query, b"GEOSEARCHSTORE")
    if place is not None:
        if circle is not None:
            query.unit = circle[1]
            query.shape = geo.Circle(*place, *circle)
        elif box is not None:
            query.unit = box[2]
            query.shape = geo.Box(*place, *box)
    return _answer(client, points, query, b"geosearchstore")


@command(
    f"GEOSEARCH key {SHAPE} [WITHCOORD] [WITHDIST] [WITHHASH]",
    READONLY,
    keys=ONE_KEY,
    since="6.2.0",
    complexity=AREA,
    arity=-7,
)
def geosearch(client: Client, words: Args) -> Any:
    """Finds the members within a circle or a box."""
    return _search(client, words, 2, None)


@command(
    f"GEOSEARCHSTORE destination source {SHAPE} [STOREDIST]",
    WRITE | DENYOOM,
    keys=(ONE_KEY("OW UPDATE"), Keys(first=2, access="RO ACCESS")),
    since="6.2.0",
    complexity=AREA,
    arity=-8,
)
def geosearchstore(client: Client, words: Args) -> Any:
    """Queries a geospatial index for members inside an area of a box or a circle, optionally
    stores the result.
    """
    return _search(client, words, 3, words[1])
