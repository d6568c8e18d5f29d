"""Every error that the code raises for a user says what the user can do."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ERRORS = {"NightreelError", "InputError", "AuditError", "BusyError", "DatabaseAwayError", "failure"}
# Texts put together from several problems, which end with the remedy.
SAID_INSIDE = {
    "InputError(_explain(error, file))",
    "InputError(f'What was delivered cannot be read: {refused}')",
}


def test_every_error_is_raised_with_a_remedy() -> None:
    without, seen = [], 0
    for package in ("nightreel", "pipelines", "scoring", "feature_repo"):
        for module in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ERRORS:
                    seen += 1
                    remedy = [*node.args, *(word.value for word in node.keywords)][1:]
                    empty = not remedy or ast.unparse(remedy[0]) in ("''", "None")
                    if empty and ast.unparse(node) not in SAID_INSIDE:
                        without.append(f"{module.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert seen > 50
    assert without == []
