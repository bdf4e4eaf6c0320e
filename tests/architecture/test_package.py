import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import kinema
from kinema.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TORCH_FREE = [
    "kinema",
    "kinema.cli.main",
    "kinema.config",
    "kinema.errors",
    "kinema.log",
    "kinema.shapes",
    "kinema.spec",
    "kinema.world.describe",
    "kinema.world.scene",
]


def test_the_public_names_are_sorted_and_all_resolve() -> None:
    assert kinema.__all__ == sorted(kinema.__all__)
    assert dir(kinema) == kinema.__all__
    for name in kinema.__all__:
        assert getattr(kinema, name) is not None


def test_the_public_names_are_those_that_were_agreed(golden: Any) -> None:
    golden.check("public_names.txt", "\n".join(kinema.__all__) + "\n")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Pipelin'"):
        _ = kinema.Pipelin


@pytest.mark.parametrize("module", TORCH_FREE)
def test_these_modules_cost_no_torch(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'transformers', 'av', 'mujoco'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {
        path: path.read_text(encoding="utf-8").count("\n") for path in [*SOURCES, *(ROOT / "tests").rglob("*.py")]
    }
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 500} == {}


def test_no_file_is_called_utils_or_the_like() -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    assert [str(path) for path in SOURCES if path.stem in vague] == []


def test_no_module_shadows_the_standard_library_at_the_top() -> None:
    top = {path.stem for path in (ROOT / "src" / "kinema").glob("*.py")} - {"__init__", "__main__"}
    assert top & set(sys.stdlib_module_names) == set()


def test_changelog_package_and_metadata_agree_on_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == kinema.__version__ == PYPROJECT["project"]["version"] == importlib.metadata.version("kinema")


def test_every_dependency_is_imported_somewhere() -> None:
    """A dependency that no code of the package uses has no business in it."""
    modules = {"pillow": "PIL", "huggingface-hub": "huggingface_hub", "tensorboard": "torch.utils.tensorboard"}
    imported = _imported_modules(SOURCES)
    project = PYPROJECT["project"]
    wanted = [
        *project["dependencies"],
        *project["optional-dependencies"]["train"],
        *project["optional-dependencies"]["world"],
    ]
    for requirement in wanted:
        name = re.split(r"[<>=!~\[]", requirement)[0]
        module = modules.get(name, name)
        assert any(each == module or each.startswith(module + ".") for each in imported), f"{name} is never imported"


def test_every_import_is_a_declared_dependency() -> None:
    modules = {
        "pillow": "PIL",
        "pylance": "lance",
        "scenedetect-headless": "scenedetect",
        "opencv-python-headless": "cv2",
        "c2pa-python": "c2pa",
        "opentelemetry-sdk": "opentelemetry",
    }
    project = PYPROJECT["project"]
    declared = [*project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        if extra != "dev":
            declared += requirements
    names = {re.split(r"[<>=!~\[]", requirement)[0] for requirement in declared}
    allowed = {modules.get(name, name.replace("-", "_")) for name in names} | set(sys.stdlib_module_names) | {"kinema"}
    assert {each.partition(".")[0] for each in _imported_modules(SOURCES)} - allowed == set()


def test_only_the_command_line_knows_its_parser() -> None:
    elsewhere = [path for path in SOURCES if path.parent.name != "cli"]
    assert "tyro" not in {each.partition(".")[0] for each in _imported_modules(elsewhere)}


def test_the_constraints_pin_every_direct_dependency() -> None:
    pins = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    pins = {pin.lower().replace("_", "-") for pin in pins}
    project = PYPROJECT["project"]
    direct = project["dependencies"] + [each for extra in project["optional-dependencies"].values() for each in extra]
    assert {re.split(r"[<>=!~\[]", each)[0].lower() for each in direct} - pins == set()


def test_each_command_has_its_module() -> None:
    for module, _, function in (entry.partition(":") for entry, _ in COMMANDS.values()):
        path = ROOT / "src" / Path(*module.split(".")).with_suffix(".py")
        functions = {
            node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)
        }
        assert function in functions


def test_the_commands_in_the_documentation_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        code = re.findall(r"```(?:bash|sh|console)?\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text)
        for line in (line for block in code for line in block.splitlines()):
            for command in re.findall(r"(?:^|\s|/)kinema ([a-z]+)", line):
                assert command in COMMANDS, f"{page.name}: kinema {command}"
                found += 1
            for target in re.findall(r"^(?:\$ )?make ([a-z-]+)", line):
                assert target in targets, f"{page.name}: make {target}"
                found += 1
    assert found > 5


def test_every_room_has_its_page() -> None:
    rooms = {path.stem for path in (ROOT / "src" / "kinema").iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms -= {"__init__", "__main__", "__pycache__", "weights"}
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert rooms - pages == set()
    assert {page for page in pages - {"index"} if f"({page}.md)" not in index} == set()


def test_the_tree_holds_no_file_that_git_should_not_keep() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    assert [str(path) for path in files if path.suffix in {".mp4", ".pyc"}] == []
    assert [str(path) for path in files if path.stat().st_size > 60 * 2**20] == []
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def _imported_modules(paths: list[Path]) -> set[str]:
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module)
    return found
