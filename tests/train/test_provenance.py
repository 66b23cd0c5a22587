"""What a result was made by: words do not count, every imported file does."""

from __future__ import annotations

import ast
from pathlib import Path

from splitleak.attacks.splitspy import SplitSpy
from splitleak.jobs import making
from splitleak.train import provenance

CODE = """x = "# no comment"  # a comment
def f():
    \"\"\"Words.\"\"\"
    return x

"""


def closure(file: str | Path) -> set[str]:
    return {path.name for path in provenance.closure([Path(file)])}


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    same = CODE.replace("Words.", "Other words,\n    on two lines.").replace("a comment", "another")
    assert provenance.code_only(CODE, ast.parse(CODE)) == provenance.code_only(same, ast.parse(same))
    assert "# no comment" in provenance.code_only(CODE, ast.parse(CODE))
    other = CODE.replace("# no comment", "# a comment")
    assert provenance.code_only(CODE, ast.parse(CODE)) != provenance.code_only(other, ast.parse(other))


def test_the_code_of_a_victim_is_all_that_makes_and_measures_it_and_no_attack() -> None:
    files = closure(making.__file__)
    assert {"loop.py", "victim.py", "federation.py", "secure.py", "nouns.py", "seeds.py", "utility.py"} <= files
    assert {"task_metrics.py", "per_target.py", "channel.py"} <= files  # they decide the utility that is kept with it
    assert not {"evaluate.py", "attempt.py", "worker.py", "table.py", "cli.py"} & files


def test_the_code_of_a_plugin_includes_the_plugins_and_tools_that_it_uses() -> None:
    import inspect

    assert {"splitspy.py", "fsha.py", "networks.py", "view.py"} <= closure(inspect.getfile(SplitSpy))


def test_a_file_beside_a_plugin_counts_and_a_library_does_not(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\nfrom helper import x\n")
    (tmp_path / "helper.py").write_text("x = 1\n")
    (tmp_path / "other.py").write_text("y = 1\n")
    assert closure(tmp_path / "mine.py") == {"mine.py", "helper.py"}
    before = provenance.code_hash([tmp_path / "mine.py"])
    (tmp_path / "helper.py").write_text("x = 22\n")
    assert provenance.code_hash([tmp_path / "mine.py"]) != before


def test_what_is_imported_for_type_checking_alone_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("if TYPE_CHECKING:\n    import helper\n")
    (tmp_path / "helper.py").write_text("")
    assert closure(tmp_path / "mine.py") == {"mine.py"}
