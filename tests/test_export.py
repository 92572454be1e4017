"""``flask --app wsgi export``: what it writes of what is cached, and that it asks Trustpilot nothing."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.export import LONGEST_VALUE, FileTooLarge, Rows, catalog_id, file_name, replaced, row
from tests.api.test_business import get
from tests.running import UNIT, RunningSandbox, flask, proxy_environment, served_here

ODD = 'Größe 42/rot & "blau" + 50%'
SKUS = ["TRUCK-01", "KETTLE-01", "HOSTILE-01", "SPARSE-01", "NEW-00", ODD]


@pytest.fixture(scope="module")
def filled(started_sandbox: RunningSandbox, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    """A file with a few products in it, and what /v1/reviews answers for each."""
    started_sandbox.reset()
    url = f"sqlite:///{tmp_path_factory.mktemp('cache')}/cache.sqlite3"
    with served_here(started_sandbox, CACHE_URL=url) as proxy:
        answers = {sku: get(proxy, "/v1/reviews", sku=sku).content for sku in SKUS}
        # What is cached now, without what was asked for beside it the first time.
        answers |= {sku: get(proxy, "/v1/reviews", sku=sku).content for sku in SKUS}
    return url, answers


def export(sandbox: RunningSandbox, url: str, *arguments: str, **environment: str) -> str:
    done = flask(sandbox, "export", *arguments, CACHE_URL=url, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_csv_has_a_row_per_product_and_costs_no_call(
    sandbox: RunningSandbox, filled: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, answers = filled
    target = tmp_path / "catalog.csv"
    assert "6 written" in export(sandbox, url, str(target))
    with target.open(newline="", encoding="utf-8") as file:
        rows = {found["sku"]: found for found in csv.DictReader(file, strict=True)}
    assert set(rows) == set(SKUS)
    for sku, answer in answers.items():
        block = json.loads(answer)
        assert rows[sku]["id"] == catalog_id(sku)
        assert rows[sku]["total"] == str(block["summary"]["total"])
        assert rows[sku]["average"] == str(block["summary"]["average"] or "")
        assert rows[sku]["disclosure"] == block["disclosure"]
        assert [rows[sku][f"review_{n}_text"] for n in (1, 2, 3)][: block["count"]] == [
            shown["content"][:LONGEST_VALUE] for shown in block["reviews"]
        ]
    assert sandbox.calls() == {}


def test_each_file_is_byte_for_byte_what_the_proxy_answers_and_is_written_only_when_it_changes(
    sandbox: RunningSandbox, filled: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, answers = filled
    assert "6 written" in export(sandbox, url, str(tmp_path / "each"), "--each")
    for sku, answer in answers.items():
        assert (tmp_path / "each" / f"{quote(sku, safe='')}.json").read_bytes() == answer
    assert "0 written, 6 unchanged" in export(sandbox, url, str(tmp_path / "each"), "--each")
    assert sandbox.calls() == {}


def test_json_lines_hold_numbers_and_only_what_changed_where_that_is_wanted(
    sandbox: RunningSandbox, filled: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, _ = filled
    target, few = tmp_path / "catalog.jsonl", tmp_path / "skus.txt"
    few.write_text("TRUCK-01\nNOBODY-01\n")
    printed = export(sandbox, url, str(target), "--skus", str(few), "--query", "limit=1")
    assert "1 written, 0 unchanged, 1 not cached" in printed
    (truck,) = map(json.loads, target.read_text().splitlines())
    assert (truck["id"], truck["total"]) == ("TRUCK-01", 153)
    assert truck["review_1_author"] == "Kevin Bob"
    assert "5 written, 1 unchanged" in export(sandbox, url, str(target), "--query", "limit=1", "--changed")


@pytest.mark.parametrize(
    ("query", "instead"),
    [("sku=TRUCK-01", "--skus"), ("sku=A", "--skus"), (f"business_unit={UNIT}", "--business-unit")],
)
def test_what_an_option_names_is_not_taken_from_the_query(
    sandbox: RunningSandbox, tmp_path: Path, query: str, instead: str
) -> None:
    done = flask(sandbox, "export", str(tmp_path / "a.csv"), "--query", query, CACHE_URL=f"sqlite:///{tmp_path}/a")
    assert (done.returncode, f"is not taken from it; give {instead}" in done.stderr) == (2, True)


def test_where_nothing_is_cached_there_is_no_file_and_no_row(sandbox: RunningSandbox, tmp_path: Path) -> None:
    url, few = f"sqlite:///{tmp_path}/empty.sqlite3", tmp_path / "skus.txt"
    assert "0 written, 0 unchanged, 0 not cached" in export(sandbox, url, str(tmp_path / "each"), "--each")
    assert list((tmp_path / "each").iterdir()) == []
    few.write_text("TRUCK-01")
    assert "0 written, 0 unchanged, 1 not cached" in export(sandbox, url, str(tmp_path / "a.csv"), "--skus", str(few))


def test_a_target_that_can_not_be_written_is_named(
    sandbox: RunningSandbox, filled: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for arguments in ([str(tmp_path / "none" / "a.csv")], [str(tmp_path / "file"), "--each"]):
        done = flask(sandbox, "export", *arguments, CACHE_URL=filled[0])
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert f"{arguments[0]} can't be written" in done.stderr


def test_after_a_damaged_record_of_what_was_exported_all_counts_as_changed(
    sandbox: RunningSandbox, filled: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    for damaged in (b"{", b"[]", b'{"A": 1}', b"\xff"):
        (tmp_path / "a.csv.seen").write_bytes(damaged)
        assert "6 written" in export(sandbox, filled[0], str(tmp_path / "a.csv"), "--changed")


@pytest.mark.parametrize("target", ["each", "catalog.jsonl"])
def test_what_was_exported_is_taken_back_once_when_the_last_review_of_its_product_is_gone(
    sandbox: RunningSandbox, tmp_path: Path, target: str
) -> None:
    url, each = f"sqlite:///{tmp_path}/cache.sqlite3", target == "each"
    arguments = [str(tmp_path / target), "--each" if each else "--changed"]
    # Of many reviews there is more to ask for than a page. A product without any need not be cached.
    [many] = sandbox.generate(1, 150, "MANY-")
    flask(sandbox, "warm", "-", given=f"MUG-01\n{many}", CACHE_URL=url)
    assert "2 written" in export(sandbox, url, *arguments)
    sandbox.put_product("MUG-01", [])
    flask(sandbox, "cache", "clear", CACHE_URL=url)
    assert "1 written, 1 unchanged, 0 not cached" in export(sandbox, url, *arguments, CACHE_MISSING_SECONDS="0")
    shown = json.loads((tmp_path / target / "MUG-01.json" if each else tmp_path / target).read_bytes())
    assert shown.get("review_1_text", shown.get("reviews", [])) in (None, [])
    # Nothing of it is left to be taken back.
    flask(sandbox, "cache", "clear", CACHE_URL=url)
    before = sandbox.calls()["reviews"]
    assert "0 written, 1 unchanged, 0 not cached" in export(sandbox, url, *arguments)
    assert sandbox.calls()["reviews"] == before + 1


def test_what_can_only_be_had_in_part_is_left_out_and_the_last_of_all_is_forgotten_once_it_was_taken_back(
    sandbox: RunningSandbox, tmp_path: Path
) -> None:
    url, target = f"sqlite:///{tmp_path}/cache.sqlite3", tmp_path / "catalog.jsonl"
    [many] = sandbox.generate(1, 150, "MANY-")
    flask(sandbox, "warm", "-", given=many, CACHE_URL=url)
    assert "1 written" in export(sandbox, url, str(target))
    flask(sandbox, "cache", "clear", CACHE_URL=url)
    sandbox.behave("fail", kinds=["summary", "batch_summaries"], status=503)
    assert "0 written, 0 unchanged, 1 not cached" in export(sandbox, url, str(target), "--changed")
    sandbox.put_product(many, [])
    flask(sandbox, "cache", "clear", CACHE_URL=url)
    assert "1 written" in export(sandbox, url, str(target), "--changed")
    assert json.loads(target.with_name("catalog.jsonl.seen").read_bytes()) == {UNIT: {}}


def test_what_stood_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "catalog.csv"
    target.write_text("old")

    def interrupted() -> None:
        with replaced(target) as file:
            file.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_killed_export_leaves_the_old_file_or_the_whole_new_one(
    sandbox: RunningSandbox, filled: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    url, _ = filled
    target, part = tmp_path / "catalog.csv", tmp_path / ".catalog.csv.part"
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "export", str(target)]
    found = []
    for seconds in (0, 0.005):
        target.write_text("old")
        part.unlink(missing_ok=True)
        environment = proxy_environment(sandbox, CACHE_URL=url)
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not part.exists():
                time.sleep(0.0005)
            time.sleep(seconds)
            process.kill()
        found.append(target.read_text())
    export(sandbox, url, str(target))
    assert set(found) <= {"old", target.read_text()}
    with target.open(newline="", encoding="utf-8") as file:
        assert {row["sku"] for row in csv.DictReader(file, strict=True)} == set(SKUS)


def test_a_file_over_what_braze_takes_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("proxy.export.LARGEST_FILE", 100)
    with pytest.raises(FileTooLarge), replaced(tmp_path / "catalog.csv") as file:
        Rows(file, "csv").write({"id": "A", "text": "x" * 100})
    assert not (tmp_path / "catalog.csv").exists()


def test_ids_are_as_braze_takes_them_and_differ_as_the_skus_do() -> None:
    skus = ["A-1_b", "A/1", "A 1", "A.1", "ä" * 200, "ä" * 199]
    ids = [catalog_id(sku) for sku in skus]
    assert ids[0] == "A-1_b"
    assert len(set(ids)) == len(skus)
    assert all(len(one) <= 250 and one.replace("-", "").replace("_", "").isalnum() and one.isascii() for one in ids)
    assert file_name("ä" * 200) is None
    assert file_name(".htaccess") is None


def test_long_texts_are_cut_to_what_braze_takes() -> None:
    review = {"content": "x" * 6000, "author": "Ada", "stars": 5}
    block = {"summary": None, "reviews": [review], "disclosure": "", "links": {"trustpilot": None}}
    printed = row("A", block, 2)
    assert printed["review_1_text"] == "x" * 5000
    assert printed["review_2_text"] is None
