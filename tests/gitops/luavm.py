"""
Argo CD's Lua machine: a script sees one object, and what it returns is read as JSON.

Restricted as Argo CD restricts it: base and table library, of `os` only time and date, and nothing
else; `util/lua/lua.go` and `oslib_safe.go` of Argo CD 3.5 are the model. Knows no script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lupa.lua51 import LuaError, LuaRuntime, lua_type

Json = dict[str, Any]

_RESTRICT = """
getmetatable("").__index = nil
local time, date = os.time, os.date
for _, name in ipairs({"string", "math", "io", "debug", "coroutine", "python"}) do
  _G[name] = nil
  package.loaded[name] = nil
end
os = {time = time, date = date}
package.loaded.os = os
package.path, package.cpath = "", ""
"""


class ScriptError(Exception):
    """A script called `error`, or could not be run; the message is what a person reads."""


def run(script: str, obj: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> Any:
    """
    Run a script on an object and return what it returns, as JSON has it.

    An empty table is an empty list, as Lua cannot tell it from a map.

    Raises:
        ScriptError: It ended with an error.
    """
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    lua.execute(_RESTRICT)
    scope = lua.globals()
    scope.obj = _to_lua(lua, obj)
    scope.actionParams = _to_lua(lua, dict(parameters or {}))
    try:
        return _from_lua(lua.execute(script))
    except LuaError as error:
        raise ScriptError(str(error)) from error


def health(script: str, obj: Mapping[str, Any]) -> tuple[str, str]:
    """Return status and message that a health script gives an object."""
    told = run(script, obj)
    assert set(told) == {"status", "message"}, told
    return told["status"], told["message"]


def patch(script: str, obj: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> Json:
    """Return the merge patch by which Argo CD carries out what an action returns."""
    return _difference(obj, _cleaned(run(script, obj, parameters), obj))


def _to_lua(lua: LuaRuntime, value: Any) -> Any:
    match value:
        case dict():
            pairs = {key: _to_lua(lua, item) for key, item in value.items()}
            return lua.table_from({key: item for key, item in pairs.items() if item is not None})
        case list() | tuple():
            return lua.table_from([_to_lua(lua, item) for item in value])
    return value


def _from_lua(value: Any) -> Any:
    if lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys == list(range(1, len(keys) + 1)):
        return [_from_lua(value[key]) for key in keys]
    return {key: _from_lua(value[key]) for key in keys}


def _cleaned(new: Any, old: Any) -> Any:
    """Give back to an empty list what it was before Lua: an empty map."""
    if isinstance(old, dict):
        if new == []:
            return {}
        return {key: _cleaned(item, old.get(key)) for key, item in new.items()}
    if isinstance(old, list) and isinstance(new, list):
        rest = new[len(old) :]
        return [_cleaned(*pair) for pair in zip(new, old, strict=False)] + rest
    return new


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """Return the JSON merge patch (RFC 7386) from one object to the other."""
    found: Json = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            if inner := _difference(before, value):
                found[key] = inner
        elif before != value:
            found[key] = value
    return found
