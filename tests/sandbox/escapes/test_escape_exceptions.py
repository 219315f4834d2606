"""Escapes through exception objects, which carry what they were raised about."""

import pytest

PAYLOADS = {
    "AttributeError.obj of a module": """
import json
def attack():
    try:
        json.nothing_of_that_name
    except Exception as error:
        return error.obj
""",
    "AttributeError.obj through getattr": """
import json
def attack():
    try:
        json.nothing_of_that_name
    except Exception as error:
        return getattr(error, "o" + "bj")
""",
    "AttributeError.obj in a pattern": """
import json
def attack():
    try:
        json.nothing_of_that_name
    except Exception as error:
        match error:
            case AttributeError(obj=module):
                return module
""",
    "AttributeError.obj in a format field": """
import os
def attack():
    try:
        os.nothing_of_that_name
    except Exception as error:
        return error.obj.environ
""",
    "the traceback of a caught exception": """
def attack():
    try:
        [].nothing
    except AttributeError as error:
        return error.__traceback__.tb_frame.f_globals
""",
    "the traceback of the context": """
def attack():
    try:
        try:
            1 / 0
        except ZeroDivisionError:
            [].nothing
    except AttributeError as error:
        return error.__context__.__traceback__.tb_frame
""",
    "the traceback of the cause": """
def attack():
    try:
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise ValueError from error
    except ValueError as error:
        return error.__cause__.__traceback__.tb_frame
""",
    "sys.exc_info": """
import sys
def attack():
    try:
        1 / 0
    except ZeroDivisionError:
        return sys.exc_info()[2].tb_frame
""",
    "except star": """
def attack():
    loot = []
    try:
        raise ExceptionGroup("", [ValueError()])
    except* ValueError as group:
        loot.append(group.__traceback__.tb_frame)
    return loot
""",
    "exceptions of a group": """
def attack():
    try:
        raise ExceptionGroup("", [ValueError()])
    except ExceptionGroup as group:
        return group.__traceback__.tb_frame
""",
    "arguments of a library's error": """
import json
def attack():
    try:
        json.dumps(json)
    except Exception as error:
        return [json, *error.args]
""",
    "StopIteration's value": """
import json
def attack():
    def steps():
        yield
        return json
    generator = steps()
    next(generator)
    try:
        next(generator)
    except StopIteration as stop:
        return stop.value
""",
    "ImportError's module": """
def attack():
    try:
        import os
        return os
    except ImportError as error:
        return error
""",
    "exception class with metaclass tricks": """
def attack():
    return type("E", (Exception,), {"leak": property(lambda self: __import__("os"))})().leak
""",
    "with_traceback hands the traceback on": """
def attack():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return ValueError().with_traceback(error.__traceback__).__traceback__.tb_frame
""",
    "traceback module": """
import traceback
def attack():
    try:
        1 / 0
    except ZeroDivisionError as error:
        return list(traceback.walk_tb(error.__traceback__))
""",
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_exceptions_lead_nowhere(name, contained, finds_loot_natively):
    assert finds_loot_natively(PAYLOADS[name]), "the payload does not work in plain Python; it proves nothing"
    assert contained(PAYLOADS[name])
