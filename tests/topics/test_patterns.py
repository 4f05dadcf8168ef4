"""Names of topics, and what patterns match, against a matcher that goes word by word."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorsys import Limits, Topic
from actorsys.limits import DEFAULT_LIMITS
from actorsys.topics.pattern import check_pattern, check_topic, is_pattern, matches

WORDS = st.sampled_from(["a", "b", "c"])
TOPICS = st.lists(WORDS, min_size=1, max_size=5).map(".".join)
PATTERNS = st.tuples(
    st.lists(WORDS | st.just("*"), max_size=4), st.sampled_from([["a"], ["*"], ["**"]])
).map(lambda parts: ".".join(parts[0] + parts[1]))


def matches_naively(pattern: list[str], words: list[str]) -> bool:
    if pattern == ["**"]:
        return bool(words)
    if not pattern or not words:
        return pattern == words
    return pattern[0] in ("*", words[0]) and matches_naively(pattern[1:], words[1:])


@given(PATTERNS, TOPICS)
def test_a_pattern_matches_what_the_naive_matcher_says(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == matches_naively(pattern.split("."), topic.split("."))


@given(TOPICS)
def test_a_name_matches_itself_and_is_no_pattern(topic: str) -> None:
    assert matches(topic, topic)
    assert not is_pattern(topic)
    assert check_pattern(topic, DEFAULT_LIMITS) == topic == check_topic(topic, DEFAULT_LIMITS)


@given(PATTERNS)
def test_a_pattern_can_be_subscribed_to_and_not_published_to(pattern: str) -> None:
    assert check_pattern(pattern, DEFAULT_LIMITS) == pattern
    if "*" in pattern:
        with pytest.raises(ValueError, match="pattern"):
            check_topic(pattern, DEFAULT_LIMITS)


@pytest.mark.parametrize("pattern", ["**.a", "a.**.b", "a*", "*a", "***", "a.***", "a.b*.c"])
def test_a_star_stands_for_whole_words_and_two_only_at_the_end(pattern: str) -> None:
    with pytest.raises(ValueError, match="no pattern"):
        Topic(pattern)


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "a..b", "a\nb", "\x1b[2J", "\ud800"], ids=ascii
)
def test_what_is_no_words_joined_by_dots_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="words joined by dots"):
        Topic(name)


@pytest.mark.parametrize("name", [None, 1, b"a", ["a"], True], ids=repr)
def test_a_name_is_text(name: Any) -> None:
    with pytest.raises(ValueError, match="a topic is"):
        Topic(name)


def test_the_length_of_a_name_is_counted_in_bytes() -> None:
    limits = Limits(max_topic_bytes=4)
    assert check_topic("\u00e4\u00e4", limits)
    with pytest.raises(ValueError, match="at most 4 bytes"):
        check_topic("\u00e4\u00e4a", limits)


def test_a_topic_shows_its_name() -> None:
    assert repr(Topic("a.*")) == "Topic('a.*')"
