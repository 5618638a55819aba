"""The models that the embedded stack serves: one bundle, or all of a model store."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slidekin.cli._common import CommandError

_TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class Models:
    """What is to be served."""

    path: Path
    """The bundle, or the store."""
    is_store: bool
    fingerprint: str
    """Of the bundle; of a store those of all bundles, in order, with commas between."""
    random_weights: bool
    """At least one network's weights are random."""

    @property
    def launcher_option(self) -> str:
        """Option of Triton's launcher."""
        return f"--{'store' if self.is_store else 'bundle'}={self.path}"

    @property
    def settings(self) -> dict[str, str]:
        """What the service's settings say of it."""
        return {"store" if self.is_store else "bundle": str(self.path)}


def named_models(bundle: Path | None, store: Path | None) -> Models:
    """What a bundle or a store holds.

    Raises:
        CommandError: Nothing that can be read.
    """
    if store is None:
        assert bundle is not None, "one of them is named"
        path = bundle.resolve()
        fingerprint, random = _facts(path)
        return Models(path, is_store=False, fingerprint=fingerprint, random_weights=random)
    path = store.resolve()
    found = [_facts(file.parent) for file in sorted(path.glob("[!.]*/bundle.yaml"))]
    if not found:
        raise CommandError(
            f"{store} is no model store: none of its folders is a bundle; build one with "
            f"`slidekin-server models build --out {store}/NAME`"
        )
    fingerprints = ",".join(sorted(fingerprint for fingerprint, _ in found))
    return Models(
        path,
        is_store=True,
        fingerprint=fingerprints,
        random_weights=any(random for _, random in found),
    )


def build_bundle(recipe: Path, out: Path, python: Path, environment: Mapping[str, str]) -> None:
    """Makes a bundle of the networks that a file chooses; one that is there already stays.

    Args:
        recipe: The file.
        out: The bundle.
        python: Of an environment with the networks.
        environment: Variables with which it finds the builder.

    Raises:
        CommandError: It could not be made.
    """
    arguments = ["-m", "slidekin_models", "build", f"--config={recipe.resolve()}", f"--out={out}"]
    done = subprocess.run(
        [str(python), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_TAIL_LINES:]
        raise CommandError(
            f"no bundle could be made of {recipe}:\n"
            + "\n".join(said)
            + (
                f"\n{out} holds the bundle of other networks: name another --home, or move it away"
                if (out / "bundle.yaml").is_file()
                else ""
            )
        )


def short(fingerprint: str) -> str:
    """Fingerprints for people."""
    return ", ".join(one[:16] for one in fingerprint.split(","))


def _facts(bundle: Path) -> tuple[str, bool]:
    """A bundle's fingerprint, and whether it has random weights."""
    import yaml  # noqa: PLC0415 - a dependency of the service, without which none of this runs

    from slidekin.cli._plain_yaml import load_yaml  # noqa: PLC0415 - needs it, too

    file = bundle / "bundle.yaml"
    try:
        facts = load_yaml(file.read_text(encoding="utf-8"))
        return str(facts["fingerprint"]), bool(facts["random_weights"])
    except FileNotFoundError:
        raise CommandError(
            f"{bundle} is no model bundle: it has no bundle.yaml; build one with "
            "`slidekin-server models build`"
        ) from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None
