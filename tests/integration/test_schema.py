# SPDX-License-Identifier: Apache-2.0
"""`lb --schema` against the files of tests/config: what lb takes it takes, and what lb refuses it
refuses, but for what a schema cannot say.

A scalar is a text to lb; to an editor it is what YAML makes of it. So each file is judged in both
readings: a good one must pass in both, a bad one must fail in one of them.
"""

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from lbtest import LB, ROOT

CONFIG = ROOT / "tests" / "config"

# Files whose mistakes no schema sees, and why. One that is seen all the same must leave the list.
UNSEEN = {
    "addresses_twice": "two values are compared",
    "alias": "YAML has aliases",
    "files_that_are_none": "a path of any text is one",
    "key_twice": "YAML's readers drop the first one",
    "listener_leads_nowhere": "one of two keys is wanted, or another key's value decides",
    "names_twice": "two values are compared",
    "sources": "two values are compared",
    "tag": "YAML has tags",
    "tls_conflicts": "another key, or its value, decides",
    "tcp_reads_no_request": "another key's value decides",
    "unknown_pool": "two values are compared",
}


class AsText(yaml.SafeLoader):
    """Every scalar is a text, as lb reads it."""


AsText.yaml_implicit_resolvers = {}


def readings(path):
    """The document in both readings; empty where it is no YAML, which every editor says."""
    try:
        text = path.read_bytes()
        return [yaml.load(text, Loader=loader) for loader in (AsText, yaml.SafeLoader)]
    except (yaml.YAMLError, UnicodeDecodeError, ValueError):
        return []


@pytest.fixture(scope="module")
def validator():
    p = subprocess.run([LB, "--schema"], capture_output=True, text=True, timeout=60)
    assert (p.returncode, p.stderr) == (0, "")
    schema = json.loads(p.stdout)
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def files(kind):
    found = sorted((CONFIG / kind).glob("*.yaml"))
    assert found
    return found


GOOD = [*files("good"), *files("warn"), *files("print"), ROOT / "lb.yaml"]


@pytest.mark.parametrize("path", GOOD, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_good_file_is_valid(validator, path):
    both = readings(path)
    assert len(both) == 2
    for document in both:
        errors = [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(document)]
        assert not errors


@pytest.mark.parametrize("path", files("bad"), ids=lambda p: p.stem)
def test_a_bad_file_is_invalid(validator, path):
    is_seen = not readings(path) or any(not validator.is_valid(d) for d in readings(path))
    assert is_seen != (path.stem in UNSEEN), UNSEEN.get(path.stem, "the schema does not see it")


def test_the_list_names_files():
    assert set(UNSEEN) <= {p.stem for p in files("bad")}


def rows(schema, place=""):
    """Every key's place and schema, through maps and lists of maps."""
    for key, row in schema.get("properties", {}).items():
        at = f"{place}.{key}" if place else key
        yield at, row
        yield from rows(row, at)
        items = row.get("items", {})
        for map_ in [items, *items.get("anyOf", [])]:
            yield from rows(map_, at)


def test_every_key_is_described(validator):
    """An editor shows what a key is for and what it is without it."""
    found = dict(rows(validator.schema))
    for at, row in found.items():
        assert row.get("description", "").endswith(".") or "properties" in row, at
        assert "properties" not in row or row["additionalProperties"] is False, at
    assert found["pools.retries"]["default"] == "2"
    assert found["pools.balance"]["enum"][0] == "least_connections"
    assert found["pools.health.interval"]["default"] == "2s"
    assert found["listeners.routes.header"]["type"] == "object"
    assert found["pools.backends"]["items"]["anyOf"][1]["required"] == ["address"]
    assert found["listeners.tls"]["required"] == ["certificates"]
    assert found["listeners.tls.client"]["required"] == ["ca"]
    assert found["listeners.tls.certificates"]["items"]["required"] == ["cert", "key"]
    assert found["listeners.proxy_protocol"]["required"] == ["from"]
    assert "listeners.trusted_proxies" not in found, "what is not supported yet is not offered"
