"""The libraries that a body may use, member by member: nothing that is not here, unless somebody vouches for it.

A member is listed when it computes from its arguments alone, and neither it nor what it gives leads to a module, a
frame or a way to run code. Members of other Python versions are left out by themselves.

This file knows names. It must not import what it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Every public name of the module (`__all__`, or what has no underscore and is no module), but for these.
WHOLE: Final[Mapping[str, str]] = {
    "__future__": "",
    "bisect": "",
    "cmath": "",
    "collections.abc": "",
    "colorsys": "",
    "fractions": "",
    "heapq": "",
    "html": "",
    "itertools": "",
    "math": "",
    "numbers": "",
    "operator": "attrgetter methodcaller mod imod",
    "re": "purge template",
    "statistics": "NormalDist kde_random",
    "textwrap": "",
    "unicodedata": "",
    "zlib": "",
    "binascii": "",
    "graphlib": "",
    "errno": "",
    "keyword": "",
    "urllib.parse": "",
}

#: These names and no others.
MEMBERS: Final[Mapping[str, str]] = {
    "abc": "ABC abstractmethod",
    "base64": (
        "a85decode a85encode b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode b64encode "
        "b85decode b85encode decodebytes encodebytes standard_b64decode standard_b64encode urlsafe_b64decode "
        "urlsafe_b64encode z85decode z85encode"
    ),
    "calendar": (
        "APRIL AUGUST Calendar DECEMBER Day FEBRUARY FRIDAY IllegalMonthError IllegalWeekdayError JANUARY JULY JUNE "
        "MARCH MAY MONDAY Month NOVEMBER OCTOBER SATURDAY SEPTEMBER SUNDAY THURSDAY TUESDAY WEDNESDAY isleap leapdays "
        "monthcalendar monthrange timegm weekday"
    ),
    "collections": "ChainMap Counter OrderedDict UserDict UserList defaultdict deque namedtuple",
    "contextlib": (
        "AbstractAsyncContextManager AbstractContextManager AsyncExitStack ExitStack aclosing asynccontextmanager "
        "closing contextmanager nullcontext suppress"
    ),
    "copy": "Error copy deepcopy replace",
    "csv": (
        "DictReader DictWriter Error QUOTE_ALL QUOTE_MINIMAL QUOTE_NONE QUOTE_NONNUMERIC QUOTE_NOTNULL QUOTE_STRINGS "
        "excel excel_tab reader unix_dialect writer"
    ),
    "dataclasses": (
        "FrozenInstanceError InitVar KW_ONLY MISSING asdict astuple dataclass field fields is_dataclass replace"
    ),
    "datetime": "MAXYEAR MINYEAR UTC time timedelta timezone tzinfo",
    "decimal": (
        "Clamped Context ConversionSyntax Decimal DecimalException DecimalTuple DivisionByZero DivisionImpossible "
        "DivisionUndefined FloatOperation Inexact InvalidContext InvalidOperation MAX_EMAX MAX_PREC MIN_EMIN "
        "MIN_ETINY Overflow ROUND_05UP ROUND_CEILING ROUND_DOWN ROUND_FLOOR ROUND_HALF_DOWN ROUND_HALF_EVEN "
        "ROUND_HALF_UP ROUND_UP Rounded Subnormal Underflow getcontext localcontext setcontext"
    ),
    "difflib": (
        "Differ IS_CHARACTER_JUNK IS_LINE_JUNK SequenceMatcher context_diff diff_bytes get_close_matches ndiff "
        "restore unified_diff"
    ),
    "enum": (
        "CONFORM CONTINUOUS EJECT Enum EnumCheck Flag FlagBoundary IntEnum IntFlag KEEP NAMED_FLAGS ReprEnum STRICT "
        "StrEnum UNIQUE auto member nonmember property unique verify"
    ),
    "functools": "cached_property cmp_to_key partial partialmethod reduce total_ordering",
    "hashlib": (
        "algorithms_guaranteed blake2b blake2s md5 new pbkdf2_hmac scrypt sha1 sha224 sha256 sha384 sha3_224 sha3_256 "
        "sha3_384 sha3_512 sha512 shake_128 shake_256"
    ),
    "hmac": "HMAC compare_digest digest new",
    "http": "HTTPMethod HTTPStatus",
    "io": "BytesIO StringIO",
    "ipaddress": (
        "AddressValueError IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network "
        "NetmaskValueError collapse_addresses ip_address ip_interface ip_network summarize_address_range"
    ),
    "json": "JSONDecodeError JSONDecoder JSONEncoder dump dumps load loads",
    "json.decoder": "JSONDecodeError JSONDecoder",
    "json.encoder": "JSONEncoder",
    "os.path": (
        "basename commonpath commonprefix dirname extsep isabs join normcase normpath relpath sep split splitdrive "
        "splitext"
    ),
    "posixpath": "basename commonpath commonprefix dirname isabs join normcase normpath sep split splitdrive splitext",
    "pydantic": (
        "AfterValidator AliasChoices AliasGenerator AliasPath AmqpDsn AnyHttpUrl AnyUrl AnyWebsocketUrl AwareDatetime "
        "Base64Bytes Base64Encoder Base64Str Base64UrlBytes Base64UrlStr BaseModel BeforeValidator ByteSize "
        "ConfigDict Discriminator EmailStr EncodedBytes EncodedStr FailFast Field FieldSerializationInfo FileUrl "
        "FiniteFloat FtpUrl FutureDate FutureDatetime HttpUrl IPvAnyAddress IPvAnyInterface IPvAnyNetwork InstanceOf "
        "Json JsonValue NaiveDatetime NameEmail NegativeFloat NegativeInt NonNegativeFloat NonNegativeInt "
        "NonPositiveFloat NonPositiveInt OnErrorOmit PastDate PastDatetime PlainSerializer PlainValidator "
        "PositiveFloat PositiveInt PostgresDsn PrivateAttr RedisDsn RootModel Secret SecretBytes SecretStr "
        "SerializeAsAny SkipValidation Strict StrictBool StrictBytes StrictFloat StrictInt StrictStr "
        "StringConstraints Tag UUID1 UUID3 UUID4 UUID5 UUID6 UUID7 UUID8 ValidationError ValidationInfo WebsocketUrl "
        "WithJsonSchema WrapSerializer WrapValidator computed_field conbytes condate condecimal confloat confrozenset "
        "conint conlist conset constr field_serializer field_validator model_serializer model_validator"
    ),
    "string": (
        "Template ascii_letters ascii_lowercase ascii_uppercase capwords digits hexdigits octdigits printable "
        "punctuation whitespace"
    ),
    "struct": "Struct calcsize error iter_unpack pack pack_into unpack unpack_from",
    "time": "struct_time",
    "types": "EllipsisType GenericAlias MappingProxyType NoneType NotImplementedType SimpleNamespace UnionType",
    "typing": (
        "AbstractSet Annotated Any AnyStr AsyncContextManager AsyncGenerator AsyncIterable AsyncIterator Awaitable "
        "BinaryIO ByteString Callable ChainMap ClassVar Collection Concatenate Container ContextManager Coroutine "
        "Counter DefaultDict Deque Dict Final FrozenSet Generator Generic Hashable IO ItemsView Iterable Iterator "
        "KeysView List Literal LiteralString Mapping MappingView Match MutableMapping MutableSequence MutableSet "
        "NamedTuple Never NewType NoReturn NotRequired Optional OrderedDict ParamSpec ParamSpecArgs ParamSpecKwargs "
        "Pattern Protocol ReadOnly Required Reversible Self Sequence Set Sized SupportsAbs SupportsBytes "
        "SupportsComplex SupportsFloat SupportsIndex SupportsInt SupportsRound TYPE_CHECKING Text TextIO Tuple Type "
        "TypeAlias TypeAliasType TypeGuard TypeIs TypeVar TypeVarTuple TypedDict Union Unpack ValuesView assert_never "
        "assert_type cast dataclass_transform final get_args get_origin is_protocol is_typeddict no_type_check "
        "overload override reveal_type runtime_checkable"
    ),
    "uuid": (
        "NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 RESERVED_FUTURE RESERVED_MICROSOFT RESERVED_NCS "
        "RFC_4122 SafeUUID UUID uuid3 uuid5"
    ),
    "zoneinfo": "InvalidTZPathWarning ZoneInfoNotFoundError",
}

#: Builtins that a module may give another name.
BUILTINS: Final = (
    "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate filter float format "
    "frozenset hash hex int isinstance issubclass len list map max min next object oct ord pow print property "
    "range repr reversed round set slice sorted str sum tuple zip"
)

#: Modules that a body can name though they have little or nothing of their own to give.
PARENTS: Final = ("os", "urllib", "random", "asyncio", "perdure")

#: Public parts of Perdure that a body may hold; the rest of it is the runtime's side.
OWN_MODULES: Final = ("perdure.errors", "perdure.declare", "perdure.core", "perdure.durations", "perdure.strict")
