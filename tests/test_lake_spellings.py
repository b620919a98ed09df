"""A lake as people write it is understood, or refused with the right spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from viplake.config import WrongLakeError, absolute, load, parsed_lake_url
from viplake.errors import SettingsError

UNDERSTOOD = {
    "s3://bucket": "s3://bucket",
    "s3://bucket/": "s3://bucket",
    "s3://bucket/some/prefix/": "s3://bucket/some/prefix",
    "S3://bucket": "s3://bucket",
    "s3a://bucket/prefix": "s3://bucket/prefix",
    "arn:aws:s3:::bucket": "s3://bucket",
    "arn:aws:s3:::bucket/*": "s3://bucket",
    "arn:aws-cn:s3:::bucket/prefix": "s3://bucket/prefix",
    "s3://arn:aws:s3:::bucket": "s3://bucket",
    "/data/my lake/": "file:///data/my%20lake",
    "file:///data/lake/": "file:///data/lake",
    "file:/data/lake": "file:/data/lake",
}

REFUSED = {
    "bucket": "Write it as s3://bucket if it is a bucket, ./bucket if it is a folder.",
    "data/lake": "Write it as s3://data/lake if it is a bucket, ./data/lake if it is a folder.",
    "https://bucket.s3.eu-west-1.amazonaws.com/": "Write it as s3://bucket",
    "https://bucket.s3.amazonaws.com/prefix/": "Write it as s3://bucket/prefix",
    "https://s3.eu-west-1.amazonaws.com/bucket/prefix": "Write it as s3://bucket/prefix",
    "https://s3-eu-west-1.amazonaws.com/bucket": "Write it as s3://bucket",
    "https://my.bucket.s3.dualstack.eu-west-1.amazonaws.com": "Write it as s3://my.bucket",
    "https://s3.console.aws.amazon.com/s3/buckets/bucket?region=eu-west-1": "Write it as s3://bucket",
    "https://eu-west-1.console.aws.amazon.com/s3/buckets/bucket?tab=objects": "Write it as s3://bucket",
    "s3:/bucket": "Write it as s3://bucket",
    "s3:bucket": "Write it as s3://bucket",
    "s3://bucket//prefix": "Write it as s3://bucket/prefix",
    "'s3://bucket'": "Write it without the quotes: s3://bucket",
    "s3://B": "The name of a bucket has 3 to 63 characters of a-z, 0-9, . and -. 'B' is none.",
    "arn:aws:s3:eu-west-1:123456789012:accesspoint/name": "",
    "https://example.com/bucket": "",
    "$HOME/lake": "",
    "'s3://key:password@bucket'": "",
}


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_a_lake_as_people_write_it_is_understood(text: str) -> None:
    assert parsed_lake_url(text) == UNDERSTOOD[text]


@pytest.mark.parametrize("text", REFUSED)
def test_a_lake_that_cannot_be_known_is_refused_with_its_right_spelling(text: str) -> None:
    with pytest.raises(WrongLakeError) as error:
        parsed_lake_url(text)
    assert error.value.hint == REFUSED[text]


@pytest.mark.parametrize("text", ["./lake", "file:./lake", "file://./lake", "../here/lake", "./here/../lake"])
def test_a_relative_folder_begins_at_the_working_directory(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here" if text.startswith("..") else tmp_path)
    assert parsed_lake_url(absolute(text)) == f"file://{tmp_path}/{'here/' * text.startswith('..')}lake"


@pytest.mark.parametrize("text", ["~/lake", "file:~/lake"])
def test_a_folder_below_home_is_understood(text: str) -> None:
    assert absolute(text) == str(Path.home() / "lake")


def test_settings_with_a_wrong_lake_have_the_right_spelling_in_their_hint() -> None:
    for name in ("lake", "history"):
        with pytest.raises(SettingsError) as error:
            load(flags={name: "bucket"}, environ={"VIPLAKE_ENVIRONMENT": "Prod"})
        assert error.value.hint == REFUSED["bucket"]
        assert error.value.message.startswith(f"--{name} is neither s3://bucket[/prefix] nor file:///absolute/folder")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("s3://lake/My Data", "s3://lake/My%20Data"),
        ("s3://lake/My%20Other Data", "s3://lake/My%20Other%20Data"),
        ("s3:/lake/jos\u00e9", "s3://lake/jos%C3%A9"),
        ("s3://lake/a%00", None),
        ("s3://lake/a//../b", None),
        ("s3://lake/\udce9", None),
        ("s3://lake/\x1b[31m", None),
    ],
)
def test_E11_a_spelling_is_suggested_only_where_it_is_accepted(text: str, right: str | None) -> None:
    with pytest.raises(WrongLakeError) as error:
        parsed_lake_url(text)
    assert error.value.hint == ("" if right is None else f"Write it as {right}")
    if right is not None:
        assert parsed_lake_url(right) == right
