"""The command line: `cds-service serve | check | explain | synthesize | replay | sources | feedback | database`."""

from importlib import import_module

import click

from cds_service.edge.cycles import keep

#: the module of each command, which has its name there
_MODULES = {
    "serve": "cds_service.edge.command.serve",
    "check": "cds_service.edge.command.knowledge",
    "explain": "cds_service.edge.command.explain",
    "synthesize": "cds_service.edge.command.synthesize",
    "replay": "cds_service.edge.replay.command",
    "sources": "cds_service.edge.command.knowledge",
    "feedback": "cds_service.edge.command.store",
    "database": "cds_service.edge.command.store",
}


class _Commands(click.Group):
    """Imports a command when it is asked for, so that each waits only for what it needs itself."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for name in [cmd_name] if cmd_name in _MODULES else _MODULES:  # all, where click may say which was meant
            self.add_command(getattr(import_module(_MODULES[name]), name))
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands)
@click.version_option(package_name="cds-service")
def main() -> None:
    """Informational CDS Hooks cards on stage IV breast cancer: what five documents say, with citations."""


def run() -> None:
    """The command line in a process of its own."""
    keep()
    main()


if __name__ == "__main__":
    run()
