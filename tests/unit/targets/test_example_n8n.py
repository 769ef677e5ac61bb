"""examples/n8n: the workflow accepts the real requests of the webhook target.

Node.js runs the workflow's code. The tests evaluate its expressions on the result.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tomllib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dolt_watch.config import load
from dolt_watch.core.model.target_answers import Accepted, Refused
from dolt_watch.targets.webhook import Webhook, read_answer
from dolt_watch.targets.webhook_settings import WebhookSettings
from tests.stubs.beads import task
from tests.stubs.server import Recorded
from tests.stubs.webhook import OLD_SECRET, SECRET, WebhookStub
from tests.support.servers import tool

EXAMPLE = Path(__file__).parents[3] / "examples/n8n"
WORKFLOW = json.loads((EXAMPLE / "workflow.json").read_text("utf-8"))
NODES = {node["name"]: node for node in WORKFLOW["nodes"]}

HARNESS = """
const given = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const AsyncFunction = (async () => {}).constructor;
const item = { json: { headers: given.headers, params: {}, query: {}, body: {} } };
const self = { helpers: { getBinaryDataBuffer: async () => Buffer.from(given.body, 'base64') } };
new AsyncFunction('$input', '$env', 'require', given.code)
  .call(self, { first: () => item }, given.env, require)
  .then((items) => console.log(JSON.stringify(items)));
"""
"""Script that runs a Code node with the n8n objects that the example uses.

The raw body is in the binary property 'data'.
"""


def sent(**more: Any) -> Recorded:
    """Return a request that the webhook target really sent."""
    with WebhookStub() as stub:
        settings = WebhookSettings(
            "n8n", url=f"{stub.url}/webhook/dolt-watch", **{"secret": SECRET, **more}
        )
        with closing(Webhook(settings)) as target:
            assert target.dispatch(task(title="Größe 👍"), "token-1") == Accepted("run-1", 202)
        return stub.requests[0]


def verify(
    request: Recorded, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Any:
    """Return the result of the node 'Verify'."""
    node = tool("node", "the workflow's code was not run")
    given = {
        "code": NODES["Verify"]["parameters"]["jsCode"],
        "env": {"BEAD_WEBHOOK_SECRET": SECRET},
        "headers": {**request.headers, **(headers or {})},
        "body": base64.b64encode(request.body if body is None else body).decode(),
    }
    done = subprocess.run(
        [node, "-e", HARNESS], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    [item] = json.loads(done.stdout)
    return item["json"]


def test_each_connection_leads_to_a_node_and_each_node_is_reached() -> None:
    links = [
        link
        for node in WORKFLOW["connections"].values()
        for outlet in node["main"]
        for link in outlet
    ]
    assert {link["node"] for link in links} | {"Webhook"} == set(NODES)
    assert set(WORKFLOW["connections"]) <= set(NODES)


def test_a_real_webhook_is_genuine_and_fills_every_expression() -> None:
    told = verify(sent())
    assert told["genuine"] is True
    values = {
        each["name"]: each["value"]
        for each in NODES["Task"]["parameters"]["assignments"]["assignments"]
    }
    found = {}
    for name, expression in values.items():
        path = re.fullmatch(r"=\{\{ \$\('Verify'\)\.first\(\)\.json\.([\w.]+) \}\}", expression)
        assert path, expression
        value = told
        for key in path[1].split("."):
            value = value[key]
        found[name] = value
    assert found == {
        "bead": "bd-1",
        "token": "token-1",
        "title": "Größe 👍",
        "criteria": "the query is named",
    }


def test_one_that_is_signed_with_two_secrets_is_genuine_too() -> None:
    assert verify(sent(previous_secret=OLD_SECRET))["genuine"] is True


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b'{"subject":"bd-666"}'),
        ({"webhook-id": "token-2"}, None),
        ({"webhook-timestamp": "1"}, None),
        ({"webhook-timestamp": "soon"}, None),
        ({"webhook-signature": ""}, None),
        ({"webhook-signature": "v1,AAAA v2,x"}, None),
    ],
)
def test_a_forged_one_is_refused(headers: dict[str, str], body: bytes | None) -> None:
    assert verify(sent(), headers, body) == {"genuine": False, "event": None}


def test_its_answers_mean_what_they_should() -> None:
    from dolt_watch.targets.http_client import HttpResult

    taken, refused = (NODES[name]["parameters"] for name in ("Taken", "Refused"))
    body = re.fullmatch(r"=\{\{ (.*) \}\}", taken["responseBody"])
    assert body
    answer = body[1].replace("$execution.id", '"77"').encode()
    assert read_answer(
        HttpResult(taken["options"]["responseCode"], {}, answer), "token-1"
    ) == Accepted("77", 202)
    stopped = read_answer(
        HttpResult(refused["options"]["responseCode"], {}, refused["responseBody"].encode()), "t"
    )
    assert isinstance(stopped, Refused) and stopped.halts_rule


def test_the_settings_it_shows_can_be_read(tmp_path: Path) -> None:
    text = (EXAMPLE / "README.md").read_text("utf-8")
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block
    assert tomllib.loads(block[1])
    (tmp_path / "dolt_watch.toml").write_text(block[1], "utf-8")
    (tmp_path / "webhook-secret").write_text(SECRET, "utf-8")
    made = load({"database": "dolt://h/d"}, {}, tmp_path).targets["n8n"]
    assert isinstance(made, WebhookSettings)
    path = NODES["Webhook"]["parameters"]["path"]
    assert made.url.endswith(f"/webhook/{path}") and made.secret == SECRET
