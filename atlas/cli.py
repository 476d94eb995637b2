"""The command line: one group whose commands each package registers as entry points of `atlas.commands`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from atlas.db import program_version
from atlas.errors import AtlasError

_EXTRAS = {"ingest": "neuron-atlas[ingest]"}
"""What to install for the commands of a package; the others come with the program itself."""


class MissingExtraError(AtlasError):
    """A command's libraries are not installed."""


def _missing(point: EntryPoint, error: ImportError) -> click.Command:
    """Stands in for a command that cannot be imported: it is listed, and says what to install when it is run."""
    requirement = _EXTRAS.get(point.module.split(".")[0], "neuron-atlas")

    @click.command(
        point.name,
        short_help=f"(not installed: pip install '{requirement}')",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    )
    def command() -> None:
        raise MissingExtraError(
            f"`atlas {point.name}` needs libraries that are not installed ({error}). "
            f"Install them: pip install '{requirement}'"
        )

    return command


class AtlasGroup(click.Group):
    """A group that imports a command when it is asked for, and turns the program's own errors into messages."""

    def _points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group="atlas.commands")}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the registered commands."""
        return sorted(self._points())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, imported now; None if no package registers it."""
        point = self._points().get(cmd_name)
        if point is None:
            return None
        try:
            return point.load()
        except ImportError as error:
            return _missing(point, error)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an AtlasError ends it with its text and status 1, Ctrl-C with status 130."""
        try:
            return super().invoke(ctx)
        except AtlasError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=AtlasGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(program_version(), prog_name="atlas", message="%(prog)s %(version)s")
def main() -> None:
    """Every MLP neuron of a language model on a page: make an atlas, read it, serve it."""
