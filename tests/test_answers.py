"""What answers say: any header and any body can be read, and no value of a person is repeated."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from syncengine.errors import NO_HEADERS, WORDS_CHARACTERS, RejectedError
from syncengine.qomon.answers import is_plain, problem_of, rate_headers, server_date, summary

NOW = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)


def test_the_bucket_is_read_from_its_headers() -> None:
    told = rate_headers(
        {
            "X-Ratelimit-Limit": "burst:100;rate:10.0",
            "X-Ratelimit-Remaining": "99",
            "X-Ratelimit-Cost": "1",
        }
    )
    assert (told.burst, told.rate, told.remaining, told.cost, told.retry_after) == (100, 10, 99, 1, None)


@pytest.mark.parametrize(
    "limit", ["rate=10; burst=100", "Burst:100; Rate: 10", "burst: 100.0,rate:10", "rate:10.0;burst:100;x:1"]
)
def test_other_spellings_of_the_limit_are_understood(limit: str) -> None:
    told = rate_headers({"X-Ratelimit-Limit": limit})
    assert (told.burst, told.rate) == (100, 10)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("1.5", 1.5),
        ("1000000000", 1e9),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    headers = {"Retry-After": text, "Date": format_datetime(NOW, usegmt=True)}
    assert rate_headers(headers).retry_after == seconds


def test_a_retry_after_date_counts_from_the_servers_own_clock() -> None:
    years_off = NOW - timedelta(days=4000)
    headers = {
        "Retry-After": format_datetime(years_off + timedelta(seconds=7), usegmt=True),
        "Date": format_datetime(years_off, usegmt=True),
    }
    assert rate_headers(headers).retry_after == 7
    del headers["Date"]
    assert rate_headers(headers).retry_after is None  # a past date by our clock: no saying how long
    ahead = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 <= (rate_headers({"Retry-After": ahead}).retry_after or 0) <= 60


texts = st.one_of(
    st.text(max_size=60),
    st.integers().map(str),
    st.floats().map(str),
    st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{2,5} \d{1,30}:\d\d:\d\d [+-]?\w{0,6}"),
    st.from_regex(r"(burst|rate)[:=]\d{0,400}\.?\d{0,5};(rate|burst)[:=]\d{0,5}"),
)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(texts, texts, texts, texts, texts)
@example("burst:" + "9" * 400, "-5", "1e999", "Mon, 01 Jan 2020 00:00:99999999999999999999", "")
def test_no_header_raises_and_what_is_read_can_be_counted_with(
    limit: str, remaining: str, cost: str, retry_after: str, date: str
) -> None:
    told = rate_headers(
        {
            "X-Ratelimit-Limit": limit,
            "X-Ratelimit-Remaining": remaining,
            "X-Ratelimit-Cost": cost,
            "Retry-After": retry_after,
            "Date": date,
        }
    )
    for number in (told.burst, told.rate, told.remaining, told.cost, told.retry_after):
        assert number is None or 0 <= number < float("inf")


def test_no_headers_say_nothing() -> None:
    assert rate_headers({}) == NO_HEADERS


@pytest.mark.parametrize(
    ("content_type", "body", "is_whole", "expected"),
    [
        ("", b"", True, True),
        ("text/html", b"", True, True),
        ("application/json", b'{"status":"success"}', True, True),
        ("application/json", b"null", True, True),
        ("application/json", b'{"status":"fail"}', True, False),
        ("application/json", b'{"status":"Error"}', True, False),
        ("text/html; charset=utf-8", b"hello", True, False),
        ("", b"  <!doctype html>", True, False),
        ("application/json", b"<html>", False, False),
        ("text/html", b"x", False, False),
        ("application/json", b'{"a":', True, False),
        ("application/json", b'{"a":', False, True),
        ("application/json", b"[" * 10_000, True, False),
        ("application/json", b"\xff\xfe", True, False),
    ],
)
def test_what_an_api_may_answer(content_type: str, body: bytes, *, is_whole: bool, expected: bool) -> None:
    assert is_plain(content_type, body, is_whole=is_whole) is expected


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.one_of(st.binary(max_size=300), st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["errors", "location", "message", "title", "detail", "value"]), inner, max_size=4),
    max_leaves=12,
)))  # fmt: skip
def test_no_body_of_a_refusal_raises_and_its_reason_holds_field_names_only(answer: object) -> None:
    import json  # noqa: PLC0415 - orjson refuses some of what hypothesis makes

    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    problem = problem_of(body)
    assert summary(422, problem).startswith("HTTP 422")
    assert re.fullmatch(r"HTTP 422(: [\w$.\[\]]+(, [\w$.\[\]]+)*(, …)?)?", summary(422, problem))
    error = RejectedError(summary(422, problem), status=422, problem=problem)
    assert len(error.words) <= WORDS_CHARACTERS


def test_a_place_that_holds_a_value_is_left_out() -> None:
    body = b'{"errors":[{"location":"body.data.mail","message":"m"},{"location":"ada@example.org is bad"}]}'
    problem = problem_of(body)
    assert summary(422, problem) == "HTTP 422: mail"
    assert problem.errors == {"body.data.mail": "m", "ada@example.org is bad": ""}


def test_a_refusal_is_one_error_whatever_its_spelling_and_shows_no_words() -> None:
    whole = (
        b'{"type":"about:blank","title":"Unprocessable Entity","status":422,"detail":"Zebedee is wrong",'
        b'"instance":"/contacts/upsert","errors":[{"location":"body.data.mail","message":"not Zebedee",'
        b'"value":"Zebedee"}]}'
    )
    for body, title, detail, errors in (
        (whole, "Unprocessable Entity", "Zebedee is wrong", {"body.data.mail": "not Zebedee"}),
        (b'{"status":"fail","message":"Zebedee"}', "", "Zebedee", {}),
        (b'{"status":"fail"}', "", "", {}),
        (b'{"status":"fail","data":{"message":"Zebedee"}}', "", "Zebedee", {}),
        (b"Zebedee", "", "Zebedee", {}),
        (b"", "", "", {}),
    ):
        problem = problem_of(body)
        error = RejectedError(summary(422, problem), status=422, problem=problem)
        assert (error.status, error.title, error.detail, dict(error.errors)) == (422, title, detail, errors)
        for text in (str(error), repr(error), repr(error.__dict__)):
            assert "Zebedee" not in text


@pytest.mark.parametrize("limit", ["burst:" + "9" * 306 + ";rate:0." + "0" * 300 + "1", "burst:0;rate:-1"])
def test_an_absurd_bucket_is_none(limit: str) -> None:
    told = rate_headers({"X-Ratelimit-Limit": limit})
    assert (told.burst, told.rate) in {(None, None), (None, 1.0)}


def test_an_exponent_is_part_of_the_number() -> None:
    assert rate_headers({"X-Ratelimit-Limit": "burst:1e3;rate:1E1"}).burst == 1000


def test_messages_of_one_place_are_all_kept() -> None:
    body = b"""{"errors":[{"location":"body","message":"no kind"},{"location":"body","message":"no data"},
               {"message":"a"},{"message":"b"}]}"""
    assert problem_of(body).errors == {"body": "no kind; no data", "": "a; b"}


@pytest.mark.parametrize("name", ["X-Ratelimit-Reset", "X-Ratelimit-ResetTime", "x-ratelimit-RESETTIME"])
def test_both_names_of_the_reset_header_are_read(name: str) -> None:
    assert rate_headers(CIMultiDict({name: "7.5"})).reset == 7.5


def test_the_date_of_an_answer_is_read_or_absent() -> None:
    told = server_date({"Date": "Fri, 20 Nov 2026 19:00:00 GMT"})
    assert told == datetime(2026, 11, 20, 19, tzinfo=UTC)
    assert server_date({"Date": "soon"}) is server_date({}) is None
