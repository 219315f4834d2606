"""What a body is refused by name: the reason and the way out, for every dotted name that people are likely to try.

This file knows names, reasons and fixes. It must not know how a name was come by, nor what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from perdure.errors import SandboxViolation

_STEP: Final = 'move it into a step: `await step.run("name", …)`'


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a body can't have something, and what to do instead."""

    name: str  # dotted, as people write it: "time.sleep"
    why: str
    fix: str = _STEP
    certain: bool = True  # False: merely unvouched; the lenient import only warns

    def error(self, where: str = "") -> SandboxViolation:
        """Make the error that is raised where the name is used at run time."""
        return SandboxViolation(f"{self.name} can't be used in a body.", where=where, why=self.why, fix=self.fix)


def unvouched(name: str) -> Refusal:
    """Make the refusal of something that nobody vouched for."""
    root = name.partition(".")[0]
    return Refusal(
        name,
        "nobody vouched for it: it may read clocks, files or random numbers, which replays don't repeat",
        f'{_STEP}; or, if it is a pure computation, vouch for it: perdure.allow("{root}")',
        certain=False,
    )


_FILES: Final = "it reaches files, and what is in them may differ the next time"
_NETWORK: Final = "it reaches the network, and answers differ the next time"
_PROCESSES: Final = "it reaches other processes, which a replay must not touch again"
_THREADS: Final = "threads run in an order that a replay can't repeat"
_ENTROPY: Final = "it draws from the machine's entropy; a secret that a replay could repeat would be none"
_INTERPRETER: Final = "it leads into the interpreter, past everything that was checked"
_CODE: Final = "it runs code that nobody checked"
_TIMEZONE: Final = "it depends on the machine's time zone"
_LOOP: Final = "a body has an event loop of its own, and no other"
_MACHINE: Final = "it depends on the machine"
_DATABASE: Final = "it reaches a database, and what is in it may differ the next time"

_THREADS_FIX: Final = f"use asyncio.gather or asyncio.TaskGroup in the body; for blocking work {_STEP}"
#: Reason and fix by dotted name; a name stands for everything below it as well, the longest one wins.
_BY_REASON: Final[tuple[tuple[str, str, str], ...]] = (
    # builtins
    ("open input", _FILES, _STEP),
    ("exec eval compile __import__", _CODE, "write the code out, or import it at the top of the module"),
    ("globals locals vars dir breakpoint help exit quit copyright credits license __builtins__ __loader__",
     _INTERPRETER, "pass what you need as arguments"),
    ("id", "it is an address, which differs in every process", "compare with `is`, or number the objects yourself"),
    ("memoryview", "it looks into another object's memory", "use bytes"),
    # files
    ("pathlib io.open io.open_code io.FileIO io.TextIOWrapper shutil tempfile glob fileinput mmap zipfile tarfile gzip"
     " bz2 lzma configparser tomllib.load dbm shelve linecache netrc filecmp", _FILES, _STEP),
    ("os.path.exists os.path.isfile os.path.isdir os.path.getsize os.path.getmtime os.path.realpath os.path.abspath"
     " os.path.expanduser os.path.expandvars os.path.samefile os.path.islink os.path.ismount", _FILES, _STEP),
    # network
    ("socket ssl select selectors socketserver http.client http.server http.cookiejar urllib.request urllib.robotparser"
     " ftplib smtplib imaplib poplib telnetlib nntplib xmlrpc webbrowser wsgiref requests httpx aiohttp urllib3"
     " websockets boto3 botocore aioboto3 google grpc paramiko openai anthropic stripe slack_sdk twilio sendgrid zmq"
     " pika kombu celery aiokafka confluent_kafka nats", _NETWORK, _STEP),
    ("sqlite3 duckdb sqlalchemy psycopg psycopg2 asyncpg aiosqlite pymysql mysql pymongo motor redis elasticsearch"
     " peewee django.db", _DATABASE, _STEP),
    # processes and threads
    ("subprocess multiprocessing os.system os.popen os.fork os.kill pty signal", _PROCESSES, _STEP),
    ("threading _thread queue concurrent sched anyio trio gevent eventlet", _THREADS, _THREADS_FIX),
    # the machine
    ("os sys platform locale getpass pwd grp resource sysconfig site psutil", _MACHINE,
     "pass what you need in the workflow's input, or read it in a step"),
    ("os.environ os.getenv os.environb os.getenvb", "the environment may differ the next time",
     "pass the value in the workflow's input, or read it in a step"),
    ("secrets os.urandom os.getrandom random.SystemRandom uuid.getnode ssl.RAND_bytes", _ENTROPY,
     'make secrets in a step; for plain random choices use `random`, for ids `uuid.uuid4()`'),
    # the interpreter
    ("ctypes cffi gc inspect importlib builtins imp pkgutil runpy code codeop ast dis symtable marshal"
     " types.FunctionType types.CodeType types.MethodType types.new_class faulthandler"
     " tracemalloc trace bdb pdb sys.modules zipimport"
     " RestrictedPython perdure.sandbox", _INTERPRETER, "do without it, or move the code into a step"),
    ("pickle copyreg dill cloudpickle shelve jsonpickle", _CODE, "use json; Perdure encodes steps' results itself"),
    ("operator.attrgetter operator.methodcaller", "it reads attributes by name, past the checks",
     "write a lambda: lambda each: each.name"),
    ("functools.wraps functools.update_wrapper", "it copies one object's insides into another",
     "return the inner function as it is"),
    ("functools.singledispatch functools.singledispatchmethod", "it keeps a registry that outlives the run",
     "use match or a dictionary of functions"),
    ("functools.lru_cache functools.cache", "a cache outlives the run, and a replay begins with an empty one",
     "keep a dictionary in the body"),
    ("typing.get_type_hints typing.ForwardRef annotationlib", _CODE, "do without it, or move it into a step"),
    ("string.Formatter collections.UserString", "it reads attributes by name, past the checks",
     "use an f-string or str.format"),
    ("dataclasses.make_dataclass", _CODE, "write the class with @dataclass"),
    ("pydantic.TypeAdapter pydantic.create_model pydantic.validate_call pydantic.v1 pydantic.deprecated"
     " pydantic.parse_obj_as pydantic.ImportString", _CODE, "define a model at the top of the module, and use that"),
    ("weakref", "when an object dies depends on the garbage collector", "hold the object itself"),
    ("contextvars", "a context variable belongs to the process, not to the run", "pass the value as an argument"),
    ("atexit", "it runs when the process ends, not when the run does", "use try/finally"),
    # time
    ("time.sleep", "it would block every run of this process",
     'await asyncio.sleep(…), or await step.sleep("name", …)'),
    ("time.localtime time.mktime time.tzset time.tzname time.timezone time.altzone time.daylight time.ctime",
     _TIMEZONE, "use datetime.now(timezone.utc), or time.gmtime()"),
    ("time.process_time time.process_time_ns time.thread_time time.thread_time_ns time.clock_gettime"
     " time.clock_gettime_ns time.clock_settime time.get_clock_info time.pthread_getcpuclockid", _MACHINE,
     "measure in a step"),
    ("zoneinfo.available_timezones zoneinfo.TZPATH zoneinfo.reset_tzpath", _FILES, _STEP),
    # random numbers in other places
    ("statistics.NormalDist", "its samples() draws from a generator that no replay repeats",
     "use random.gauss(mu, sigma)"),
    ("statistics.kde_random", "it draws from a generator that no replay repeats", "use random.choice"),
    ("random.Random()", "all runs draw from it, and a replay draws other numbers",
     "use the functions of `random`, or make a generator in the body: random.Random(seed)"),
    ("numpy.random", "its generator is not the run's", "use `random`, or draw in a step"),
    # output
    ("logging warnings traceback", "what it writes would be written again by every replay", "use ctx.log, or print"),
    # what belongs to steps and to applications
    ("perdure.current_step perdure.engine.current_step",
     "a body is no step, and what services return changes from one replay to the next",
     'call it in a step: await step.run("name", lambda: current_step().…)'),
    ("perdure.Runtime perdure.client", "it belongs to the application around the runs",
     "start other workflows with step.invoke or step.spawn; for anything else pass the value in the workflow's input"),
    # event loops
    ("asyncio.run asyncio.Runner asyncio.new_event_loop asyncio.get_event_loop asyncio.get_running_loop"
     " asyncio.set_event_loop asyncio.get_event_loop_policy asyncio.set_event_loop_policy"
     " asyncio.run_coroutine_threadsafe asyncio.AbstractEventLoop asyncio.BaseEventLoop"
     " asyncio.SelectorEventLoop asyncio.events asyncio.base_events",
     _LOOP, "await the coroutine; asyncio.gather and asyncio.TaskGroup run several"),
    ("asyncio.to_thread asyncio.wrap_future", _THREADS, _STEP),
    ("asyncio.open_connection asyncio.start_server asyncio.open_unix_connection asyncio.start_unix_server"
     " asyncio.StreamReader asyncio.StreamWriter asyncio.Protocol asyncio.Transport", _NETWORK, _STEP),
    ("asyncio.create_subprocess_exec asyncio.create_subprocess_shell asyncio.subprocess", _PROCESSES, _STEP),
    ("asyncio.all_tasks", "it gives the tasks in no order", "keep a list of the tasks that you create"),
    ("asyncio.eager_task_factory asyncio.create_eager_task_factory", _LOOP, "use asyncio.create_task"),
)  # fmt: skip

REFUSALS: Final[Mapping[str, Refusal]] = {
    name: Refusal(name, why, fix) for names, why, fix in _BY_REASON for name in names.split()
}

#: In a library these only write down what happens; a replay that writes it again does no harm to the run.
_SUSPICIONS: Final = frozenset({"logging", "warnings", "traceback"})


def named(dotted: str) -> Refusal | None:
    """Find the refusal of a dotted name, or of what it belongs to; its `name` is the one asked for."""
    name = dotted
    while name:
        found = REFUSALS.get(name)
        if found is not None:
            return Refusal(dotted, found.why, found.fix, name.partition(".")[0] not in _SUSPICIONS)
        name = name.rpartition(".")[0]
    return None
