"""The SQL that prepares a database of PostgreSQL to tell of changes, for its owner to run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distcache_replication.backing.decoding import identity
from distcache_replication.backing.feed import Wanted
from distcache_replication.backing.inbound import POSITIONS, Rows
from distcache_replication.backing.listening import TRIGGER, TRUNCATED
from distcache_replication.backing.plan import Plan
from distcache_replication.backing.postgres import Postgres
from distcache_replication.backing.postgres_writing import (
    OURS,
    archive_table,
    cache_table_statement,
    grants,
    quoted,
)

_STATE = """
SELECT current_user::text, current_database()::text, current_setting('wal_level'),
       EXISTS (SELECT FROM pg_publication WHERE pubname = $1),
       (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
"""
_FUNCTION = """\
CREATE SCHEMA IF NOT EXISTS distcache;

CREATE OR REPLACE FUNCTION distcache.changed() RETURNS trigger LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp SET bytea_output = 'hex' AS $distcache$
DECLARE  -- TG_ARGV: channel, our stream, table, the columns that make up keys
    told jsonb := jsonb_build_object('t', TG_ARGV[2]);
    row_ jsonb;
    old_ jsonb;
    new_ jsonb;
BEGIN
    IF current_setting('distcache.own', true) = TG_ARGV[1] THEN
        RETURN NULL;  -- the cache knows what it wrote
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        row_ := to_jsonb(OLD);
        old_ := (SELECT jsonb_object_agg(it, row_ ->> it) FROM unnest(TG_ARGV[3:]) AS it);
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') THEN
        row_ := to_jsonb(NEW);
        new_ := (SELECT jsonb_object_agg(it, row_ ->> it) FROM unnest(TG_ARGV[3:]) AS it);
    END IF;
    IF old_ IS NOT NULL AND old_ IS DISTINCT FROM new_ THEN
        told := told || jsonb_build_object('o', old_);
    END IF;
    IF new_ IS NOT NULL THEN
        told := told || jsonb_build_object('n', new_);
    END IF;
    IF octet_length(told::text) > 7900 THEN
        told := jsonb_build_object('t', TG_ARGV[2]);  -- more does not fit: all keys are dropped
    END IF;
    PERFORM pg_notify(TG_ARGV[0], told::text);
    RETURN NULL;
END
$distcache$;
"""


def literal(text: str) -> str:
    """A text as SQL has it, whatever it consists of."""
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        return " E'" + escaped.replace("\\", "\\\\") + "'"
    return f"'{escaped}'"


async def setup_sql(store: Postgres, rows: Rows, wanted: Wanted) -> str:
    """What is to be run for a mode, as a superuser or the owner of the tables."""
    publication = wanted.publication
    ((role, database, level, exists, replicates),) = await store.fetch(_STATE, publication)
    written = [plan for plan in rows.plans if plan.mapping.writes]
    lines = [f"-- Run this in the database {database}, as the owner of its tables.", ""]
    for plan in rows.plans:
        if plan.any_type and await store.describe(plan.table.name) is None:
            lines += _cache_table(plan, quoted((role,)))
    if written:
        lines += list(_ours(written, quoted((role,))))
    if wanted.mode == "no":
        return "\n".join(lines)
    if wanted.mode == "notify":
        return "\n".join(lines + list(_triggers(rows, wanted)))
    if level != "logical":
        lines += [
            f"-- wal_level is {level}. A superuser runs this; then PostgreSQL has to be restarted.",
            "ALTER SYSTEM SET wal_level = logical;",
            "",
        ]
    if not replicates:
        lines += [
            "-- Only a superuser can give this. It allows to read the changes of all databases.",
            f"ALTER ROLE {quoted((role,))} REPLICATION;",
            "",
        ]
    for table in rows.tables:
        known = await identity(store, table)
        if known is not None and known[0] != "f" and set(rows.columns(table)) - known[1]:
            lines += [
                "-- An update must tell the old values of all columns that stand in keys.",
                f"ALTER TABLE {quoted(table)} REPLICA IDENTITY FULL;",
                "",
            ]
    # The position tells which transactions are our own.
    names = [*rows.tables, *([POSITIONS] if written else [])]
    tables = ", ".join(map(quoted, names))
    name = quoted((publication,))
    if exists:
        lines += [f"ALTER PUBLICATION {name} SET TABLE {tables};"]
        lines += [
            f"ALTER PUBLICATION {name} SET"
            " (publish = 'insert, update, delete, truncate', publish_via_partition_root = true);"
        ]
    else:
        lines += [
            f"CREATE PUBLICATION {name} FOR TABLE {tables}"
            " WITH (publish_via_partition_root = true);"
        ]
    lines += [
        "",
        f"-- The cache makes the slot {wanted.slot} itself. It keeps WAL: drop it when the cache is"
        " not to run any more.",
        f"-- SELECT pg_drop_replication_slot({literal(wanted.slot)});",
        "",
    ]
    return "\n".join(lines)


def _cache_table(plan: Plan, role: str) -> list[str]:
    """The table of keys of any type."""
    rights = "SELECT, INSERT, UPDATE, DELETE" if plan.mapping.writes else "SELECT"
    name = plan.table.name
    return [
        f"{cache_table_statement(name)};",
        f"GRANT {rights} ON {quoted(name)} TO {role};",
        "",
    ]


def _ours(written: Sequence[Plan], role: str) -> Iterator[str]:
    """Our own tables, and archives."""
    for statement in OURS:
        yield f"{statement};"
    for statement in grants(role):
        yield f"{statement};"
    for plan in written:
        if plan.mapping.archive:
            yield f"{archive_table(plan)};"
            yield f"GRANT SELECT, INSERT ON {quoted(plan.mapping.archive)} TO {role};"
    yield ""


def _triggers(rows: Rows, wanted: Wanted) -> Iterator[str]:
    yield _FUNCTION
    for table in rows.tables:
        name = quoted(table)
        words = [wanted.slot, wanted.stream, ".".join(table), *rows.columns(table)]
        call = f"EXECUTE FUNCTION distcache.changed({', '.join(map(literal, words))})"
        yield (
            f"CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {name}\n"
            f"    FOR EACH ROW {call};"
        )
        yield (
            f"CREATE OR REPLACE TRIGGER {TRUNCATED} AFTER TRUNCATE ON {name}\n"
            f"    FOR EACH STATEMENT {call};"
        )
        for trigger in (TRIGGER, TRUNCATED):
            yield f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {trigger};"
        yield ""
