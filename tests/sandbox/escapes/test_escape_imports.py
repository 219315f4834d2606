"""Escapes by import: modules by every road, files read through libraries, and modules behind harmless ones."""
# ruff: noqa: E501  # payloads are a table, a row each

import pytest

MODULES = (
    "sys", "subprocess", "socket", "threading", "multiprocessing", "ctypes", "gc", "inspect", "importlib", "builtins", "pickle",
    "signal", "weakref", "contextvars", "shutil", "tempfile", "secrets", "sqlite3", "http.client", "urllib.request", "logging",
    "code", "codeop", "runpy", "marshal", "select", "mmap", "platform", "locale", "atexit",
)  # fmt: skip

PAYLOADS = {
    "__import__": "__import__('sys')",
    "__import__ through builtins": "__builtins__['__import__']('sys')",
    "importlib": """
def attack():
    import importlib
    return importlib.import_module("sys")
""",
    "os environ": """
import os
def attack():
    return os.environ
""",
    "os system": """
from os import system
def attack():
    return system
""",
    "os under another name": """
import os as o
def attack():
    return o.environ
""",
    "os.path's os": """
import os.path
def attack():
    return os.path.os
""",
    "posixpath's os": """
import posixpath
def attack():
    return posixpath.os
""",
    "json's codecs": """
import json
def attack():
    return json.codecs
""",
    "json.decoder": """
import json
def attack():
    return json.decoder
""",
    "json.scanner's re": """
import json
def attack():
    return json.scanner.re
""",
    "collections' sys": """
import collections
def attack():
    return collections._sys
""",
    "random's os": """
import random
def attack():
    return random._os
""",
    "datetime's sys": """
import datetime
def attack():
    return datetime.sys
""",
    "dataclasses' sys": """
import dataclasses
def attack():
    return dataclasses.sys
""",
    "statistics' sys": """
import statistics
def attack():
    return statistics.sys
""",
    "asyncio's sys": """
import asyncio
def attack():
    return asyncio.sys
""",
    "asyncio's events": """
import asyncio
def attack():
    return asyncio.events
""",
    "enum's builtins": """
import enum
def attack():
    return enum.bltns
""",
    "typing's sys": """
import typing
def attack():
    return typing.sys
""",
    "getattr on a module": """
import typing
def attack():
    return getattr(typing, "s" + "ys")
""",
    "uuid's os": """
import uuid
def attack():
    return uuid.os
""",
    "calendar's datetime": """
import calendar
def attack():
    return calendar.datetime
""",
    "re's internals": """
import re
def attack():
    return re._compiler
""",
    "star import": """
from os import *
def attack():
    return environ
""",
    "import in a function": """
def attack():
    import sys
    return sys
""",
    "import of a submodule": """
import os.path
def attack():
    return os.path.genericpath
""",
    "fromlist": """
def attack():
    from os import environ as e
    return e
""",
    "loader": "__loader__.load_module('sys')",
    "spec": """
import json
def attack():
    return json.__spec__.loader.load_module.__globals__
""",
    "module dict": """
import json
def attack():
    return json.__dict__
""",
    "module builtins": """
import json
def attack():
    return json.__builtins__
""",
    "open": """
def attack():
    with open("CANARY") as file:
        return file.read()
""",
    "open by another name": """
o = open
def attack():
    with o("CANARY") as file:
        return file.read()
""",
    "io.open": """
import io
def attack():
    with io.open("CANARY") as file:
        return file.read()
""",
    "pathlib": """
import pathlib
def attack():
    return pathlib.Path("CANARY").read_text()
""",
    "pathlib by member": """
from pathlib import Path
def attack():
    return Path("CANARY").read_text()
""",
    "PurePath's parser": """
import pathlib
def attack():
    pure = pathlib.PurePosixPath("a")
    return getattr(pure, "parser", None) or getattr(pure, "_flavour")
""",
    "PurePath's parser, spelled out": """
import pathlib
def attack():
    return pathlib.PurePosixPath("a").parser.os if hasattr(pathlib.PurePosixPath, "parser") else pathlib.os
""",
    "linecache": """
import linecache
def attack():
    return linecache.getlines("CANARY")
""",
    "fileinput": """
import fileinput
def attack():
    return list(fileinput.FileInput("CANARY"))
""",
    "codecs.open": """
import codecs
def attack():
    return codecs.open("CANARY").read()
""",
    "tokenize.open": """
import tokenize
def attack():
    with tokenize.open("CANARY") as f:
        return f.read()
""",
    "a module behind an unknown one": """
import shlex
def attack():
    return shlex.os
""",
    "zoneinfo reads a file": """
import zoneinfo
def attack():
    return zoneinfo._common.load_tzdata.__globals__
""",
    "importlib.resources": """
import importlib.resources
def attack():
    return importlib.resources.files
""",
    "exec": """
def attack():
    space = {}
    exec("import sys", space)
    return space
""",
    "eval": "eval('__import__(\"sys\")')",
    "compile": "compile('1', '', 'eval')",
    "asyncio runs a process": """
import asyncio
async def attack():
    process = await asyncio.create_subprocess_exec("cat", "CANARY", stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()
""",
    "asyncio thread": """
import asyncio
async def attack():
    def read():
        with open("CANARY") as file:
            return file.read()
    return await asyncio.to_thread(read)
""",
    "asyncio's loop": """
import asyncio
async def attack():
    return await asyncio.get_running_loop().run_in_executor(None, __import__, "sys")
""",
    "the loop behind a task": """
import asyncio
async def attack():
    return await asyncio.current_task().get_loop().run_in_executor(None, __import__, "sys")
""",
    "the loop behind a future": """
import asyncio
async def attack():
    future = asyncio.Future()
    future.set_result(1)
    return await future.get_loop().run_in_executor(None, __import__, "sys")
""",
    "Perdure's own insides": """
from perdure.sandbox import activation
def attack():
    return activation
""",
    "Perdure's modules": """
import perdure
def attack():
    return perdure.sandbox
""",
    "Perdure's errors module": """
import perdure.errors
def attack():
    return perdure.errors.__dict__
""",
}

_BROKEN_NATIVELY = {
    "json.decoder", "PurePath's parser", "codecs.open", "loader", "spec", "json's codecs", "re's internals",
    "importlib.resources", "star import", "datetime's sys",
}  # fmt: skip  # deprecated, or not everywhere


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    "form", ["import {0}\n", "import {0} as m\n", "def attack():\n    import {0} as m\n    return m\n"]
)
def test_modules_that_are_not_allowed_are_not_imported(module, form, contained):
    payload = form.format(module)
    if "def attack" not in payload:
        payload += f"def attack():\n    return {module if ' as ' not in form else 'm'}\n"
    assert contained(payload) in ("PolicyViolation", "SandboxViolation")


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_road_leads_to_a_module_or_a_file(name, contained, finds_loot_natively):
    assert contained(PAYLOADS[name])
    if name not in _BROKEN_NATIVELY:
        assert finds_loot_natively(PAYLOADS[name]), "the payload does not work in plain Python; it proves nothing"
