"""Actions: the contract, the standard set, ad-hoc unfolding is the core's, and what installed packages add.

A plain function is enough: `async def restart(host: str, force: bool = False) -> dict`. Its signature is the declared input,
its return value the result; raising, or returning `Result(error=…)`, fails it.
"""

from gregale.actions.contract import Action, ActionContext, ActionError, Result, action
from gregale.actions.registry import Registry, UnknownAction
from gregale.actions.settings import ActionSettings, CommandSettings, HttpSettings

__all__ = [
    "Action",
    "ActionContext",
    "ActionError",
    "ActionSettings",
    "CommandSettings",
    "HttpSettings",
    "Registry",
    "Result",
    "UnknownAction",
    "action",
]
