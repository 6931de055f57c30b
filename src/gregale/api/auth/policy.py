"""What each role may do: rules with defaults, which a file may override (API spec 3.4; rules as oslo.policy reads them)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache

from gregale import yamltext
from gregale.api.auth.identity import Identity

_READ, _WRITE, _ADMIN = "rule:admin_or_owner", "rule:writer", "rule:admin_only"

BASE = {
    "admin_only": "is_admin:True",
    "admin_or_owner": "rule:admin_only or project_id:%(project_id)s",
    "writer": "rule:admin_only or role:member or role:manager or (rule:admin_or_owner and not role:reader)",
}
"""`reader` may only read. A caller with other roles, or none, may do what its project may, as it always could."""


def _rules() -> dict[str, str]:
    owned = {
        "workbooks": "create delete get list update",
        "actions": "create delete get list update",
        "environments": "create delete get list update",
        "workflows": "create delete get list update",
        "executions": "create delete get list update",
        "tasks": "get list update",
        "action_executions": "create delete get list update",
        "cron_triggers": "create delete get list",
        "event_triggers": "create delete get list update",
        "members": "create delete get list update",
        "notifications": "get list update",
        "events": "list create",
    }
    rules = {
        f"{resource}:{verb}": _READ if verb in ("get", "list") else _WRITE
        for resource, verbs in owned.items()
        for verb in verbs.split()
    }
    for resource in ("workbooks", "actions", "environments", "workflows", "cron_triggers", "event_triggers"):
        rules[f"{resource}:publicize"] = _ADMIN
    for resource in ("workflows", "executions", "cron_triggers", "event_triggers"):
        rules[f"{resource}:list:all_projects"] = _ADMIN
    for resource in ("code_sources", "dynamic_actions"):
        rules |= {f"{resource}:{verb}": _ADMIN for verb in ("create", "delete", "get", "list", "update", "publicize")}
    rules["services:list"] = _READ
    rules["cluster:get"] = _READ
    rules["cluster:update"] = "rule:admin_only or is_operator:True"
    rules["maintenance:get"] = _READ
    rules["maintenance:update"] = "rule:admin_only or is_operator:True"
    return rules


DEFAULTS = _rules()


class BadPolicy(ValueError):
    """The policy file cannot be used: what is wrong in it."""


class Policy:
    """`overrides`: rules by name, as in a policy file. Raises BadPolicy."""

    def __init__(self, overrides: Mapping[str, str] | None = None):
        from oslo_config import cfg  # engines and executors start sooner without
        from oslo_policy import policy

        rules = {**BASE, **DEFAULTS, **(overrides or {})}
        unknown = rules.keys() - BASE.keys() - DEFAULTS.keys()
        if unknown:
            raise BadPolicy(f"No such rule: {', '.join(sorted(unknown))}. The rules are: {', '.join(sorted(DEFAULTS))}")
        conf = cfg.ConfigOpts()
        conf([])
        logging.getLogger("oslo_policy._parser").setLevel(logging.CRITICAL)  # said better below
        parsed = policy.Rules.from_dict(rules)
        for name, text in rules.items():
            if not isinstance(text, str) or (str(parsed[name]) == "!" and text.strip() != "!"):
                raise BadPolicy(f"The rule '{name}' cannot be understood: {text}")
        self._enforcer = policy.Enforcer(conf, use_conf=False)
        self._enforcer.set_rules(parsed, use_conf=False)
        self._decide = lru_cache(maxsize=10_000)(self._enforce)

    @classmethod
    def from_file(cls, path: str | None) -> Policy:
        """A YAML or JSON map of rules. Raises BadPolicy."""
        if path is None:
            return cls()
        try:
            with open(path, encoding="utf-8") as file:
                found = yamltext.parse(file.read()).data
        except (OSError, UnicodeDecodeError, yamltext.YamlError) as e:
            raise BadPolicy(f"The policy file {path} cannot be read: {e}") from None
        if not isinstance(found, dict | None):
            raise BadPolicy(f"The policy file {path} must hold a map of rules")
        return cls(found)

    def allows(self, rule: str, who: Identity) -> bool:
        return self._decide(rule, who.project_id, who.user_id, who.roles, who.operator)

    def _enforce(self, rule: str, project_id: str, user_id: str, roles: tuple[str, ...], operator: bool) -> bool:
        caller = {
            "project_id": project_id,
            "user_id": user_id,
            "roles": list(roles),
            "is_admin": "admin" in roles,
            "is_operator": operator,
        }
        return bool(self._enforcer.enforce(rule, {"project_id": project_id, "user_id": user_id}, caller))
