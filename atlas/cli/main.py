"""The command line: one group. Each package registers its commands as entry points of `atlas.commands`."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from atlas.cli import streams
from atlas.core.db import program_version
from atlas.core.display import visible_lines
from atlas.core.errors import AtlasError

_EXTRAS = {"ingest": "neuron-atlas[ingest]"}
"""The extra to install for the commands of a package; other commands come with the program itself."""


class MissingExtraError(AtlasError):
    """The libraries of a command are not installed."""


def _missing(point: EntryPoint, error: ImportError) -> click.Command:
    """Placeholder for a command that cannot be imported: it is listed, and running it says which extra to install."""
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
    """A group that imports a command on first use and turns the program's own errors into messages."""

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

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the program. The exit status is 1 if its output cannot be written."""
        streams.settle()
        try:
            return super().main(*args, **options)
        except OSError as error:  # Raised by click's own output; `invoke` handles that of commands.
            streams.give_up(error)
            raise SystemExit(1) from None
        finally:
            streams.finish()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that are not text: neither DuckDB nor the libraries open a file of such a name."""
        for argument in args:
            if not argument.isprintable() and any("\ud800" <= char <= "\udfff" for char in argument):
                raise click.ClickException(
                    f"The argument {argument!r} is not text in the encoding of this system "
                    f"({sys.getfilesystemencoding()}). Rename the file, or set a locale of UTF-8 (LC_ALL=C.UTF-8)."
                )
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. An AtlasError or an error of the operating system ends it with a message and status 1,
        Ctrl-C with status 130."""
        try:
            return super().invoke(ctx)
        except AtlasError as error:
            # Escape control characters, so that a file's content or name cannot command the terminal.
            raise click.ClickException(visible_lines(str(error))) from error
        except OSError as error:
            if error.filename == streams.STDOUT:
                streams.give_up(error)
                ctx.exit(1)
            raise click.ClickException(streams.refusal(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(130)


@click.group(cls=AtlasGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(program_version(), prog_name="atlas", message="%(prog)s %(version)s")
def main() -> None:
    """Make, read and serve an atlas: a page for every MLP neuron of a language model."""
