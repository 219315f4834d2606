"""What restricted code holds in place of a module of the author's, or of an object whose property it assigns.

This file knows how to ask a realm. It must not know how that answers.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from perdure.errors import SandboxViolation

if TYPE_CHECKING:
    from perdure.sandbox.reach import Realm


class UserModule:
    """A module of the author's as restricted code sees it: every member through the realm."""

    __slots__ = ("_UserModule__module", "_UserModule__realm")
    __module: ModuleType
    __realm: Realm

    def __init__(self, module: ModuleType, realm: Realm) -> None:
        object.__setattr__(self, "_UserModule__module", module)
        object.__setattr__(self, "_UserModule__realm", realm)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__realm.replacement(getattr(self.__module, name))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise SandboxViolation(f".{name} of a module can't be changed in a body.", fix="use a variable of the body")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<module {self.__module.__name__!r}, as a body sees it>"


class PropertyView:
    """Stands for an object whose property is about to be assigned, so that the setter's twin runs."""

    __slots__ = ("_PropertyView__holder", "_PropertyView__member", "_PropertyView__realm")
    __holder: Any
    __member: property
    __realm: Realm

    def __init__(self, realm: Realm, holder: Any, member: property) -> None:
        for name, value in (("realm", realm), ("holder", holder), ("member", member)):
            object.__setattr__(self, f"_PropertyView__{name}", value)

    def __setattr__(self, name: str, value: object) -> None:
        self.__realm.replacement(self.__member.fset)(self.__holder, value)

    def __getattr__(self, name: str) -> object:
        return self.__realm.attribute(self.__holder, name)
