"""The benchmarks' arithmetic, and that their filters mean what the service's filters mean."""

import numpy as np
import pytest

from app.attributes.filter import parse_filter
from app.attributes.matches import matches
from bench.measures import (
    Point,
    found,
    growth_beside_log,
    growth_exponent,
    operating_point,
    percentile_ms,
    speed_at,
)
from bench.papers import Columns, Data, as_json, families, grown, normalised, truths


def swept(*recalls: float, fast: tuple[float, ...] = ()) -> list[Point]:
    speeds = fast or tuple(100.0 for _ in recalls)
    return [
        Point(width, recall, speed, 1.0, 2.0, 50)
        for width, (recall, speed) in enumerate(zip(recalls, speeds, strict=True))
    ]


def data(papers: int = 60, queries: int = 8) -> Data:
    rng = np.random.default_rng(0)
    vectors = normalised(rng.standard_normal((papers, 6), dtype=np.float32))
    made = [
        {
            "year": int(rng.integers(2000, 2004)),
            "n_categories": int(rng.integers(1, 3)),
            "primary_cat": "abc"[int(rng.integers(3))],
            "main_categories": sorted({"xyz"[int(at)] for at in rng.integers(0, 3, 2)}),
            "authors": [f"author {int(rng.integers(9))}"],
        }
        for _ in range(papers)
    ]
    return Data(made, vectors, vectors[:queries])


def test_any_of_several_equal_scores_counts_as_found() -> None:
    assert found([0.9, 0.5], last=0.5) == 2
    assert found([0.9, 0.5 - 1e-7], last=0.5) == 2  # the same sum in another order
    assert found([0.9, 0.49], last=0.5) == 1


def test_nothing_is_found_where_nothing_is_due() -> None:
    assert found([0.9], last=float("inf")) == 0


def test_the_operating_point_is_the_smallest_width_that_reaches_the_recall() -> None:
    point, reached = operating_point(swept(0.90, 0.95, 0.99), 0.95)
    assert (point.width, reached) == (1, True)


def test_a_miss_reports_its_best_recall_at_its_best_speed() -> None:
    point, reached = operating_point(swept(0.5, 0.9, 0.9, 0.8, fast=(9, 1, 5, 7)), 0.95)
    assert (point.width, reached) == (2, False)


def test_speed_at_a_recall_is_read_between_the_points_of_the_curve() -> None:
    curve = swept(0.90, 0.98, fast=(1000, 10))
    assert speed_at(curve, 0.94) == pytest.approx(100)
    assert speed_at(curve, 1.00) == pytest.approx(10)  # past its end


def test_a_width_that_gains_no_recall_is_not_on_the_curve() -> None:
    curve = swept(0.90, 0.98, 0.98, 0.97, 0.99, fast=(1000, 100, 40, 50, 10))
    assert speed_at(curve, 0.98) == pytest.approx(100)
    assert speed_at(curve, 0.94) == pytest.approx(1000**0.5 * 100**0.5)


def test_a_filter_made_for_each_query_slows_it_down() -> None:
    point = Point(None, 1.0, per_second=1000, p50_ms=1, p99_ms=1, queries=1, compile_us=1000)
    assert point.per_second_with_compile == pytest.approx(500)


def test_a_percentile_is_a_time_that_was_measured() -> None:
    times = [0.001] * 98 + [0.010, 0.500]
    assert percentile_ms(times, 50) == pytest.approx(1)
    assert percentile_ms(times, 99) == pytest.approx(10)
    assert percentile_ms(times, 100) == pytest.approx(500)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_the_exponent_of_a_power_is_found(exponent: float) -> None:
    sizes = [10.0, 60.0, 240.0]
    assert growth_exponent(sizes, [3 * size**exponent for size in sizes]) == pytest.approx(exponent)


def test_what_grows_like_log_n_stays_level_beside_it() -> None:
    sizes = [10_000, 60_000, 240_000]
    assert growth_beside_log(sizes, 7 * np.log(sizes)) == pytest.approx([1, 1, 1])
    linear = growth_beside_log(sizes, sizes)
    assert linear[0] == 1
    assert linear[2] == pytest.approx(24 * np.log(10_000) / np.log(240_000))


def test_every_family_means_in_columns_what_it_means_to_the_service() -> None:
    papers = data().papers
    columns = Columns(papers)
    for filters in families(data()).values():
        for clauses in filters:
            tree = parse_filter(as_json(clauses) or {})
            expected = [matches(tree, row, paper) for row, paper in enumerate(papers)]
            assert columns.mask(clauses).tolist() == expected


def test_the_truth_is_the_score_of_the_last_result_due() -> None:
    known = data()
    columns = Columns(known.papers)
    drawn = families(known)
    for name, due in truths(known, columns, drawn).items():
        for at, query in enumerate(known.queries):
            mask = columns.mask(drawn[name][at])
            best = sorted((known.vectors[mask] @ query).tolist(), reverse=True)[:10]
            assert due.wanted[at] == len(best)
            assert due.last[at] == pytest.approx(best[-1], abs=1e-6)


def test_grown_data_keeps_what_there_was_and_repeats_papers_nearby() -> None:
    known = data()
    more = grown(known, 150)
    assert len(more.papers) == len(more.vectors) == 150
    assert np.array_equal(more.vectors[:60], known.vectors)
    assert more.papers[60:120] == known.papers
    assert np.allclose(np.linalg.norm(more.vectors, axis=1), 1, atol=1e-5)
    assert 0.7 < np.mean(np.sum(more.vectors[60:120] * known.vectors, axis=1)) < 0.99
