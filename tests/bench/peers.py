"""Other engines, asked for the receptors of the same patient: set up outside this project's environment, and started.

None of them answers what the service answers; each is given the least that a rule on receptors needs.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from processes import Failure, Server, running

_FILES = Path(__file__).resolve().parent / "peers"
_VERSIONS = {"healthchain": "0.16.1", "ms-cql-sdk": "0.7.1", "cql-execution": "3.3.2", "cql-exec-fhir": "2.2.0"}
_PATH = "/cds-services/receptors"


@dataclass(frozen=True)
class Peer:
    """An engine that runs, and where it takes calls."""

    server: Server
    path: str


def versions() -> dict[str, str]:
    """What the peers are."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return {**_VERSIONS, "node": node}


def peers(folder: Path, logs: Path, stack: ExitStack) -> Iterator[Peer]:
    """Every peer, set up in a folder unless it is there already, and started. Raises Failure where that fails."""

    def start(name: str, command: list[str], **environment: str) -> Server:
        return stack.enter_context(running(name, command, logs, environment))

    yield Peer(start("healthchain", _healthchain(folder)), f"/cds{_PATH}")
    yield Peer(start("ms-cql-sdk", _ms_cql(folder)), _PATH)
    elm, modules = _node(folder)
    for model in ("stock", "cached"):
        command = ["node", str(_FILES / "cql_execution.js")]
        environment = {"ELM": str(elm), "NODE_PATH": str(modules), "MODEL": model}
        yield Peer(start(f"cql-execution-{model}", command, **environment), _PATH)


def _healthchain(folder: Path) -> list[str]:
    python = _environment(folder / "healthchain", f"healthchain=={_VERSIONS['healthchain']}")
    server = [str(python), "-m", "uvicorn", "--host", "127.0.0.1", "--port", "{port}", "--log-level", "warning"]
    return [*server, "--app-dir", str(_FILES), "healthchain_app:app"]


def _ms_cql(folder: Path) -> list[str]:
    same = [f"{name}=={version(name)}" for name in ("flask", "gunicorn")]
    python = _environment(folder / "ms-cql", f"ms-cql-sdk=={_VERSIONS['ms-cql-sdk']}", *same)
    server = [str(python), "-m", "gunicorn", "--worker-class", "gthread", "--threads", "4", "--log-level", "warning"]
    return [*server, "--chdir", str(_FILES), "--bind", "127.0.0.1:{port}", "ms_cql_app:app"]


def _node(folder: Path) -> tuple[Path, Path]:
    """The compiled library and the folder of modules."""
    home = folder / "node"
    home.mkdir(parents=True, exist_ok=True)
    packages = [f"{name}@{_VERSIONS[name]}" for name in ("cql-execution", "cql-exec-fhir")]
    elm = home / "receptors.json"
    if not elm.exists():
        _run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(home), *packages)
        compiler = folder / "ms-cql" / "bin" / "cql-sdk"
        _run(str(compiler), "compile", str(_FILES / "receptors.cql"), "--output", str(elm))
    return elm, home / "node_modules"


def _environment(home: Path, *packages: str) -> Path:
    """The Python of an environment of its own that has these packages."""
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
        (home / "ready").touch()
    return python


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not there; the peers need it") from None
    if done.returncode:
        raise Failure(f"{' '.join(command[:4])} … failed:\n{done.stderr[-1000:]}")
