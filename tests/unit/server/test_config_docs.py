"""docs/configuration.md says what the declarations say."""

from pathlib import Path

import pytest
from distcache_server.config import Config, docs
from distcache_server.config.store import declared

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_up_to_date() -> None:
    if PAGE.read_text() != docs.page():
        pytest.fail("docs/configuration.md is old: run `make docs`")


def test_every_setting_has_a_row() -> None:
    page = docs.page()
    for setting in declared(Config):
        assert (f"| `{setting.name}`" in page) is not setting.hidden


def test_cells_have_no_stray_bars() -> None:
    rows = [line for line in docs.page().splitlines() if line.startswith("| `")]
    assert rows
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}
