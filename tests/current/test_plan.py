"""Which files a merge writes again, and which Hours are read together."""

from __future__ import annotations

from viplake.current.delta import DataFile
from viplake.current.plan import Rewriting, rewriting

MB = 1 << 20
TARGET = 64 * MB


def live(*sizes: int) -> dict[str, DataFile]:
    return {f"{number}.parquet": DataFile(f"{number}.parquet", size, None) for number, size in enumerate(sizes)}


def test_new_rows_get_a_file_of_their_own_beside_one_large_file() -> None:
    assert rewriting(live(60 * MB), (), MB, TARGET).paths == ()


def test_a_third_file_of_a_small_table_is_merged_with_the_smallest() -> None:
    assert rewriting(live(30 * MB, MB), (), MB, TARGET).paths == ("1.parquet",)


def test_files_are_merged_once_the_new_rows_are_an_eighth_of_them() -> None:
    assert rewriting(live(8 * MB), (), MB, TARGET).paths == ("0.parquet",)
    assert rewriting(live(9 * MB), (), MB, TARGET).paths == ()


def test_a_file_of_full_size_is_not_written_again_for_new_rows() -> None:
    assert rewriting(live(63 * MB), (), 10 * MB, TARGET).paths == ()


def test_active_rows_of_a_large_table_leave_the_file_of_the_others() -> None:
    assert rewriting(live(60 * MB), ["0.parquet"], MB, TARGET, active=2 * MB) == Rewriting(
        ("0.parquet",), 61 * MB, apart=True
    )


def test_the_file_of_active_rows_is_written_again_by_itself() -> None:
    assert rewriting(live(60 * MB, MB), ["1.parquet"], MB // 2, TARGET, active=MB) == Rewriting(
        ("1.parquet",), MB + MB // 2, apart=False
    )


def test_rows_are_not_parted_where_most_of_them_are_active() -> None:
    assert not rewriting(live(60 * MB), ["0.parquet"], MB, TARGET, active=30 * MB).apart


def test_a_table_never_has_more_than_twice_the_files_that_it_needs() -> None:
    files: list[int] = []
    for hour in range(500):
        active = hour % 3 == 0
        known = live(*files)
        touched = [min(known, key=lambda path: known[path].size)] if known and active else []
        found = rewriting(known, touched, MB, TARGET, active=MB if active else None)
        left = [file.size for path, file in known.items() if path not in found.paths]
        full, rest = divmod(found.size, TARGET)
        files = [*left, *[TARGET] * full, *([rest] if rest else [])]
        if found.apart:
            files = [*files, MB]
        assert len(files) <= 2 * max(1, -(-sum(files) // TARGET))
