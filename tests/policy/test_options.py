"""Wrong options are refused where they are given, by name and with their limit."""

from __future__ import annotations

import re
import ssl

import pytest

from sendoff import (
    Datadog,
    Dispatcher,
    Freshpaint,
    HttpDestination,
    OptionError,
    Retry,
    SendoffError,
    Tuning,
)
from sendoff.option_checks import check_choice, check_number, check_text, check_url
from sendoff.options import (
    BATCH_WORKERS,
    FLUSH_INTERVAL,
    MAX_BATCH_BYTES,
    RATE_LIMIT,
    SINGLE_WORKERS,
    TIMEOUT,
)

NAN, INFINITY = float("nan"), float("inf")
NO_NUMBER = ["5", None, True, [], NAN, INFINITY, -INFINITY]
NO_WHOLE = [1.5, 2.0, *NO_NUMBER]


def datadog(**options):
    return Datadog(**{"api_key": "s3cret", "application_id": "app", **options})


def freshpaint(**options):
    return Freshpaint(**{"token": "s3cret", **options})


def dispatcher(**options):
    return Dispatcher(datadog(), **options)


def cases():
    """(maker, option, a wrong value, what the message says of the limit)."""
    numbers = [
        (Retry, "attempts", NO_WHOLE, [0, -1], "a whole number of at least 1"),
        (Retry, "base", NO_NUMBER, [0, -0.1], "a number above 0"),
        (Retry, "cap", NO_NUMBER, [0.4, 0], "a number of at least 0.5"),
        (Retry, "max_elapsed", NO_NUMBER, [-1], "a number of at least 0"),
        (Retry, "max_retry_after", NO_NUMBER, [-1], "a number of at least 0"),
        (Retry, "hold_interval", NO_NUMBER, [0, -1], "a number above 0"),
    ]
    for maker in (datadog, freshpaint):
        numbers += [
            (
                maker,
                "rate_limit",
                [one for one in NO_WHOLE if one is not None],
                [0, 1_000_001],
                "a whole number of at least 1 and at most 1,000,000",
            ),
            (
                maker,
                "workers",
                NO_WHOLE,
                [0, 10_001],
                "a whole number of at least 1 and at most 10,000",
            ),
            (maker, "timeout", NO_NUMBER, [0, -1, 3_601], "a number above 0 and at most 3,600"),
        ]
    numbers += [
        (
            datadog,
            "max_batch_bytes",
            NO_WHOLE,
            [0, 5_000_001],
            "a whole number of at least 1 and at most 5,000,000",
        ),
        (
            datadog,
            "max_batch_events",
            [one for one in NO_WHOLE if one is not None],
            [0, -1],
            "a whole number of at least 1",
        ),
        (
            datadog,
            "flush_interval",
            NO_NUMBER,
            [-0.1, 3_601],
            "a number of at least 0 and at most 3,600",
        ),
        (dispatcher, "max_queue_events", NO_WHOLE, [0], "a whole number of at least 1"),
        (dispatcher, "max_queue_bytes", NO_WHOLE, [0], "a whole number of at least 1"),
        (dispatcher, "shutdown_timeout", NO_NUMBER, [-1], "a number of at least 0"),
    ]
    for maker, option, wrong, beyond, limit in numbers:
        for value in (*wrong, *beyond):
            yield maker, option, value, limit

    text = "a non-empty str without surrounding blanks or control characters"
    for maker, option in (
        (datadog, "api_key"),
        (datadog, "application_id"),
        (datadog, "id_attribute"),
        (datadog, "name"),
        (freshpaint, "token"),
        (freshpaint, "name"),
    ):
        for value in ("", " ", "a ", "a\n", "a\r\nX-Evil: 1", "a\x00b", "\u2028"):
            yield maker, option, value, text
        for value in (5, b"a", ["a"], *([] if option == "id_attribute" else [None])):
            yield maker, option, value, "a str, not"
    yield datadog, "api_key", "schlüssel", "ASCII"
    yield freshpaint, "token", "schlüssel", "ASCII"

    for value in ("batch", None, "ARRAY", 5):
        yield datadog, "framing", value, "one of 'array', 'ndjson', 'single'"
    for value in ("zstd", "GZIP", True, 5):
        yield datadog, "compression", value, "one of None, 'gzip', 'deflate'"
    for value in ("yes", None, 5):
        yield datadog, "send_time", value, "one of True, False"
    for value in ("drop", None, 5):
        yield dispatcher, "overflow", value, "one of 'drop_newest', 'drop_oldest'"
    for maker in (datadog, freshpaint):
        for value in (5, "fast", {"attempts": 3}, Retry):
            yield maker, "retry", value, "a Retry"
        for value in (
            "",
            "intake.example",
            "ftp://intake.example/",
            "//intake.example",
            "https://",
            "https:///path",
            "http://a:b",
            "http://a:99999/",
            "http://a:0/",
            "http://[::1/",
        ):
            yield maker, "endpoint", value, ""
        for value in (5, b"http://a/"):
            yield maker, "endpoint", value, "a str, not"
        yield maker, "endpoint", "https://user:pass@intake.example/", "must not carry credentials"
        yield maker, "endpoint", "https://user@intake.example/", "must not carry credentials"
        yield maker, "endpoint", "https://intake.example/#top", "must not carry a fragment"
    yield datadog, "endpoint", "http://in take.example/", "URL"
    yield datadog, "endpoint", "http://intake.example/a b", "URL"
    for value in ("usr", "application", "event", "type", "account", "session"):
        yield datadog, "id_attribute", value, "must not be one of ["
    for value in (5, "print", []):
        yield dispatcher, "on_drop", value, "callable"
    yield datadog, "site", "mars", "one of us1 (datadoghq.com), us3"


def shown(value):
    return repr(value)[:24]


@pytest.mark.parametrize(
    ("maker", "option", "value", "limit"),
    [pytest.param(*case, id=f"{case[0].__name__}-{case[1]}-{shown(case[2])}") for case in cases()],
)
def test_a_wrong_option_raises_and_is_named(maker, option, value, limit):
    """`OptionError`, a `ValueError`, names the option and its limit, where it was given."""
    with pytest.raises(OptionError) as caught:
        maker(**{option: value})
    assert re.match(rf"(Retry\.)?{option} ", str(caught.value))
    assert limit in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, SendoffError)


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        (
            Retry,
            {"attempts": 1, "base": 0.001, "cap": 0.001, "max_elapsed": 0, "max_retry_after": 0},
        ),
        (Retry, {"base": 3, "cap": 3.0, "hold_interval": 1}),
        (
            datadog,
            {"rate_limit": None, "max_batch_events": None, "compression": None, "retry": None},
        ),
        (datadog, {"rate_limit": 1, "workers": 1, "timeout": 0.001, "flush_interval": 0}),
        (
            datadog,
            {"rate_limit": 1_000_000, "workers": 10_000, "timeout": 3_600, "flush_interval": 3_600},
        ),
        (datadog, {"max_batch_bytes": 1, "max_batch_events": 1, "compression": "gzip"}),
        (datadog, {"max_batch_bytes": 5_000_000, "compression": "deflate", "framing": "ndjson"}),
        (datadog, {"endpoint": "HTTP://127.0.0.1:8080"}),
        (datadog, {"endpoint": "https://[::1]:8080/a%20b?x=1"}),
        (freshpaint, {"rate_limit": None, "workers": 10_000, "timeout": 3_600}),
        (dispatcher, {"max_queue_events": 1, "max_queue_bytes": 1, "shutdown_timeout": 0}),
        (dispatcher, {"overflow": "drop_oldest", "on_drop": print}),
    ],
)
def test_the_limits_themselves_are_allowed(maker, options):
    """Each limit belongs to what it bounds."""
    maker(**options)


@pytest.mark.parametrize(
    ("maker", "option", "value"),
    [
        (Retry, "attempts", -(10**400)),
        (Retry, "base", 10**400),
        (datadog, "workers", 10**400),
        (dispatcher, "shutdown_timeout", 10**400),
    ],
    ids=["attempts", "base", "workers", "shutdown_timeout"],
)
def test_a_number_that_no_float_can_hold_is_refused_like_any_other(maker, option, value):
    """By `OptionError` and no other."""
    with pytest.raises(OptionError, match=f"{option} must be a"):
        maker(**{option: value})


def test_the_documented_defaults():
    """5,000 requests a second, 5,000,000 bytes with the token's, and what the docs print."""
    assert datadog().tuning == Tuning(
        rate_limit=5_000,
        max_batch_bytes=5_000_000,
        max_batch_events=None,
        flush_interval=FLUSH_INTERVAL,
        workers=BATCH_WORKERS,
        timeout=TIMEOUT,
        retry=Retry(),
        compression=None,
    )
    assert freshpaint().tuning == Tuning(
        rate_limit=5_000,
        max_batch_bytes=5_000_000 - 2 * 256 - 2,
        max_batch_events=1,
        flush_interval=0.0,
        workers=SINGLE_WORKERS,
        timeout=TIMEOUT,
        retry=Retry(),
        compression=None,
    )
    assert (RATE_LIMIT, MAX_BATCH_BYTES) == (5_000, 5_000_000)


@pytest.mark.parametrize(
    ("maker", "options"),
    [
        (datadog, {"api_key": "s3cret "}),
        (datadog, {"api_key": "s3crét"}),
        (datadog, {"api_key": b"s3cret"}),
        (freshpaint, {"token": "s3cret\n"}),
        (freshpaint, {"token": ["s3cret"]}),
        (datadog, {"endpoint": "https://user:s3cret@intake.example/"}),
        (datadog, {"endpoint": "ftp://user:s3cret@intake.example/"}),
        (datadog, {"endpoint": "https://user:s3cret@/path"}),
        (datadog, {"endpoint": "https://user:s3cret@intake.example:99999/"}),
        (datadog, {"endpoint": "https://user:s3cret/@intake.example/"}),
        (datadog, {"endpoint": "https://user:s3cret@intake.example/ "}),
    ],
)
def test_no_message_shows_a_secret(maker, options):
    """Neither a key or token that is wrong, nor credentials in a URL that is."""
    with pytest.raises(OptionError) as caught:
        maker(**options)
    assert "s3cr" not in str(caught.value)
    assert caught.value.__context__ is None


def test_destinations_are_checked():
    """At least one, each of them one, with different names."""
    for given, message in (
        ((), "destinations must be at least one"),
        (
            (5,),
            "destinations must be destinations such as Datadog(...), one argument each, not int",
        ),
        (("datadog",), "one argument each, not str"),
        (([datadog()],), "one argument each, not list"),
        ((Datadog,), "one argument each, not the class Datadog itself"),
        ((datadog(), datadog()), "destinations must have different names, not datadog, datadog"),
    ):
        with pytest.raises(OptionError) as caught:
            Dispatcher(*given)
        assert str(caught.value).endswith(message)
    Dispatcher(datadog(), datadog(name="second"), freshpaint())


def test_unknown_options_are_unknown():
    """Options are keywords, and a misspelt one is Python's own error."""
    for maker in (datadog, freshpaint, dispatcher, Retry):
        with pytest.raises(TypeError):
            maker(rate_limits=5)
    with pytest.raises(TypeError):
        Retry(5)
    with pytest.raises(TypeError):
        Datadog("key", "app")


def test_values_are_frozen():
    """What was checked stays as it was checked."""
    for value, name in ((Retry(), "attempts"), (Tuning(), "workers")):
        with pytest.raises(AttributeError):
            setattr(value, name, 0)


def test_the_checks_name_what_they_check():
    """They serve a third destination's options as well as ours."""
    for check in (
        lambda: check_number("x", 11, least=1, most=10),
        lambda: check_choice("x", 11, (1, 2)),
        lambda: check_text("x", 11),
        lambda: check_url("x", "11"),
        lambda: HttpDestination(name="x", endpoint="x", tuning=Tuning(max_batch_events=1)),
    ):
        with pytest.raises(OptionError, match=r"^(x|endpoint) must be "):
            check()


# --- the way to a vendor --------------------------------------------------------------------------


@pytest.mark.parametrize("maker", [datadog, freshpaint, Tuning])
@pytest.mark.parametrize("value", [False, True, "ca.pem", 0, ssl.CERT_NONE, ssl.SSLContext])
def test_only_a_context_says_how_tls_is_spoken(maker, value):
    """No flag switches verification off; the message says what to pass in its place."""
    with pytest.raises(
        OptionError, match=r"^ssl must be an ssl\.SSLContext or None, not"
    ) as caught:
        maker(ssl=value)
    assert "ssl.create_default_context(cafile=...)" in str(caught.value)


def test_a_servers_context_is_refused():
    """It would fail at every connection, and say so in riddles."""
    with pytest.raises(OptionError, match=r"ssl must be a client's"):
        Tuning(ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


@pytest.mark.parametrize(
    "value",
    [
        "socks5://user:s3cret@proxy.example:1080",
        "proxy.example:3128",
        "//user:s3cret@proxy.example",
        "http://user:s3cret@proxy.example:99999",
        "http://user:s3cret@proxy.example:3128/path",
        "http://user:s3cret@proxy.example:3128/?q",
        "http://user:s3cret@proxy.example:3128/#f",
        "http://user:s3cret@:3128",
        "http://user:s3cr et@proxy.example:3128",
        "http://user:s3cret%E2%82%AC@proxy.example",
        "http://user:s3cret%FF@proxy.example",
        "http://us%3Aer:s3cret@proxy.example",
        "http://[s3cret@proxy.example",
        b"http://user:s3cret@proxy.example",
        5,
        "",
        False,
    ],
)
@pytest.mark.parametrize("maker", [datadog, freshpaint, Tuning])
def test_a_wrong_proxy_is_named_and_not_shown(maker, value):
    """At construction; its credentials stay out of the message, and of what it carries."""
    with pytest.raises(OptionError, match=r"^proxy must") as caught:
        maker(proxy=value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cr" not in f"{error} {error!r}"
        error = error.__context__


@pytest.mark.parametrize(
    "value",
    [
        None,
        "http://proxy.example:3128",
        "https://proxy.example/",
        "http://user:s3cret@proxy.example",
        "http://user:s3cr%3At%C3%A9@[::1]:3128",
    ],
)
def test_a_right_proxy_is_kept_and_not_shown(value):
    """No repr shows it: it may carry a password."""
    given = datadog(proxy=value, ssl=ssl.create_default_context())
    assert given.tuning.proxy == value
    assert "proxy" not in repr((given, given.tuning, given.request([b"{}"])))


@pytest.mark.parametrize(
    ("maker", "option"), [(datadog, "api_key"), (freshpaint, "token")], ids=["key", "token"]
)
def test_a_credential_is_a_text_or_a_plain_callable(maker, option):
    """A coroutine function could not return at once."""

    async def later():
        return "key"

    with pytest.raises(OptionError, match=f"^{option} must be a str or a plain callable"):
        maker(**{option: later})
    with pytest.raises(OptionError, match=f"^{option} must be a str, not int"):
        maker(**{option: 5})
    assert maker(**{option: lambda: "key"}).name in ("datadog", "freshpaint")


def test_a_token_has_a_longest_form():
    """Room is kept for it in every body."""
    assert freshpaint(token="t" * 256).name == "freshpaint"
    with pytest.raises(OptionError, match="token must be at most 256 characters"):
        freshpaint(token="t" * 257)
