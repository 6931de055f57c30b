"""`python -m gregale.bench expressions|core|api|goals|check`"""

from __future__ import annotations

import typer

from gregale.bench import api, check, core, expressions, goals

app = typer.Typer(help="Measurements. Each prints a table; --json for machines.", no_args_is_help=True)
app.command("expressions")(expressions.main)
app.command("core")(core.main)
app.command("api")(api.main)
app.command("goals")(goals.main)
app.command("check")(check.main)

if __name__ == "__main__":
    app()
