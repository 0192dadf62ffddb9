"""What the documents point at is there: tests, decisions and each other."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
# SPEC.md is not among them for its fields' names: they begin like a test's.
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "tests" / "README.md")
)


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def sources():
    return {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}


def test_every_test_a_document_names_is_there():
    named = {
        (name, test)
        for name in DOCUMENTS
        if name != "docs/SPEC.md"
        for test in re.findall(r"`(test_[a-z0-9_]+)`", text(name))
    }
    there = set(re.findall(r"^def (test_\w+)\(", "\n".join(sources().values()), re.MULTILINE))
    assert len(named) > 50
    assert {(name, test) for name, test in named if test not in there} == set()


def test_decisions_have_each_a_number_of_their_own():
    numbers = re.findall(r"^\*\*([0-9]+)\. ", DECISIONS, re.MULTILINE)
    assert len(numbers) > 100
    assert sorted(set(numbers)) == sorted(numbers)


def test_every_decision_that_is_cited_is_there():
    there = set(re.findall(r"^\*\*([0-9]+)\. ", DECISIONS, re.MULTILINE))
    code = [path.read_text(encoding="utf-8") for part in ("host", "simulator") for path in (ROOT / part).rglob("*.py")]
    cited = set(re.findall(r"\bdecision ([0-9]+)", "\n".join([*map(text, DOCUMENTS), *sources().values(), *code])))
    assert cited
    assert cited <= there


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documents_link_to_files_that_are_there(name):
    links = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text(name)) if "://" not in link]
    assert [link for link in links if not ((ROOT / name).parent / link).exists()] == []
