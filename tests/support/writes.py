"""Random writes of every kind."""

from __future__ import annotations

import random

Words = list[str]


def write(generator: random.Random, keys: int = 12) -> Words:
    """A write, at random, to one of so many keys of each type; sometimes to one of another type."""
    draw = generator.choice

    def key(kind: str) -> str:
        if generator.random() < 0.02:
            kind = draw("slhmzx")
        return f"{kind}{generator.randrange(keys)}"

    kind = draw("slhmzxk")
    number = str(generator.randrange(-5, 40))
    member, other = (str(generator.randrange(30)) for _ in range(2))
    many = [str(generator.randrange(1000)) for _ in range(generator.randrange(1, 40))]
    one, two = key(kind), key(kind)
    options: dict[str, list[Words]] = {
        "s": [
            ["SET", one, member],
            ["SET", one, member, "PX", str(generator.randrange(1, 500))],
            ["SET", one, "x" * generator.randrange(300), "KEEPTTL"],
            ["APPEND", one, member],
            ["SETRANGE", one, str(generator.randrange(50)), member],
            ["SETBIT", one, str(generator.randrange(400)), "1"],
            ["BITFIELD", one, "INCRBY", "u5", "3", "7"],
            ["BITOP", draw(["AND", "OR", "NOT"]), one, two],
            ["INCRBY", one, number],
            ["DECRBY", one, number],
            [draw(["INCR", "DECR"]), one],
            ["SETNX", one, member],
            [draw(["SETEX", "PSETEX"]), one, "1", member],
            ["INCRBYFLOAT", one, "0.1"],
            ["GETDEL", one],
            ["GETEX", one, "PX", "100"],
            ["GETSET", one, member],
            ["MSET", one, member, two, other],
            ["MSETNX", one, member, two, other],
            ["PFADD", f"p{one}", *many],
            ["PFMERGE", f"p{one}", f"p{two}"],
        ],
        "l": [
            ["RPUSH", one, *many],
            ["LPUSH", one, *many],
            [draw(["LPUSHX", "RPUSHX"]), one, member],
            ["RPOPLPUSH", one, two],
            ["BRPOPLPUSH", one, two, "1"],
            ["BLMOVE", one, two, "RIGHT", "LEFT", "1"],
            [draw(["BLPOP", "BRPOP"]), one, two, "1"],
            ["BLMPOP", "1", "2", one, two, "RIGHT", "COUNT", "3"],
            ["LPOP", one],
            ["RPOP", one, "3"],
            ["LMOVE", one, two, "LEFT", "RIGHT"],
            ["LSET", one, "0", member],
            ["LINSERT", one, "BEFORE", member, other],
            ["LREM", one, "1", member],
            ["LTRIM", one, "1", "-2"],
            ["LMPOP", "2", one, two, "LEFT", "COUNT", "2"],
            ["SORT", one, "BY", "nosort", "STORE", two],
        ],
        "h": [
            ["HSET", one, member, other, other, member],
            ["HSETNX", one, member, other],
            ["HDEL", one, member, other],
            ["HINCRBY", one, member, number],
            ["HINCRBYFLOAT", one, member, "0.5"],
            ["HMSET", one, *(many + many)],
            ["HPEXPIRE", one, str(generator.randrange(500)), "FIELDS", "2", member, other],
            ["HEXPIRE", one, "1", "FIELDS", "1", member],
            [draw(["HEXPIREAT", "HPEXPIREAT"]), one, "1700000001", "FIELDS", "1", member],
            ["HPERSIST", one, "FIELDS", "1", member],
        ],
        "m": [
            ["SADD", one, *many],
            ["SREM", one, member, other],
            ["SPOP", one],
            ["SPOP", one, "5"],
            ["SMOVE", one, two, member],
            ["SUNIONSTORE", one, one, two],
            ["SINTERSTORE", one, one, two],
            ["SDIFFSTORE", one, two, one],
        ],
        "z": [
            ["ZADD", one, number, member, "0.1", other],
            ["ZADD", one, *[word for each in many for word in (each, each)]],
            ["ZADD", one, "XX", "GT", "CH", number, member],
            ["ZINCRBY", one, "1.5", member],
            ["ZREM", one, member, other],
            ["ZPOPMIN", one, "2"],
            ["ZPOPMAX", one],
            ["ZREMRANGEBYRANK", one, "0", "1"],
            ["ZREMRANGEBYSCORE", one, "0", number],
            ["ZUNIONSTORE", one, "2", one, two],
            [draw(["ZINTERSTORE", "ZDIFFSTORE"]), one, "2", one, two],
            ["ZREMRANGEBYLEX", one, "[1", "[2"],
            [draw(["BZPOPMIN", "BZPOPMAX"]), one, two, "1"],
            ["BZMPOP", "1", "2", one, two, "MAX"],
            ["GEORADIUS", f"g{one}", "13", "38", "200", "km", "STORE", two],
            ["GEORADIUSBYMEMBER", f"g{one}", member, "200", "km", "STOREDIST", two],
            ["ZRANGESTORE", one, two, "0", "5"],
            ["ZMPOP", "2", one, two, "MIN", "COUNT", "2"],
            ["GEOADD", f"g{one}", "13.3", "38.1", member],
            ["GEOSEARCHSTORE", two, f"g{one}", "FROMMEMBER", member, "BYRADIUS", "9", "km"],
        ],
    }
    options["x"] = stream_writes(generator, one, member, other)
    one, two = key(draw("slhmzx")), key(draw("slhmzx"))
    options["k"] = [
        ["DEL", one, two],
        ["UNLINK", one],
        ["RENAME", one, f"{one[0]}{generator.randrange(keys)}"],
        ["RENAMENX", one, f"{one[0]}{generator.randrange(keys)}"],
        ["COPY", one, f"{one[0]}{generator.randrange(keys)}", "REPLACE"],
        ["COPY", one, one, "DB", "1"],
        ["MOVE", one, "2"],
        ["EXPIRE", one, "1"],
        [draw(["EXPIREAT", "PEXPIREAT"]), one, draw(["1700000001", "1700000000500"])],
        ["PEXPIRE", one, str(generator.randrange(-1, 500))],
        ["PERSIST", one],
        ["TOUCH", one],
    ]
    return draw(options[kind])


def stream_writes(generator: random.Random, key: str, member: str, other: str) -> list[Words]:
    """Writes to a stream, of few groups and consumers."""
    draw = generator.choice
    group, consumer = draw(["g", "h"]), draw(["a", "b", "c"])
    read = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "3"]
    claim = [key, group, consumer, "0"]
    ids = f"{member}-1", f"{other}-1"
    return [
        *[["XADD", key, "*", member, other]] * 3,
        *[["XADD", key, f"{member}-*", "field", other]] * 5,
        ["XADD", key, draw(["MAXLEN", "MINID"]), draw(["=", "~"]), member, "*", "field", other],
        ["XTRIM", key, draw(["MAXLEN", "MINID"]), draw(["=", "~"]), member],
        ["XDEL", key, *ids],
        ["XSETID", key, f"{generator.randrange(30, 40)}-1"],
        ["XGROUP", "CREATE", key, group, draw(["0", "$"]), "MKSTREAM"],
        ["XGROUP", "SETID", key, group, draw(["0", "$"])],
        ["XGROUP", "DESTROY", key, group],
        ["XGROUP", "CREATECONSUMER", key, group, consumer],
        ["XGROUP", "DELCONSUMER", key, group, consumer],
        *[[*read, *draw([[], ["NOACK"]]), "STREAMS", key, ">"]] * 3,
        [*read, "BLOCK", "1", "STREAMS", key, ">"],
        [*read, "STREAMS", key, "0"],
        ["XACK", key, group, *ids],
        ["XCLAIM", *claim, *ids, *draw([[], ["FORCE"], ["JUSTID"], ["LASTID", "20"]])],
        ["XAUTOCLAIM", *claim, "0", "COUNT", "3"],
    ]
